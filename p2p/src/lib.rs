//! The libp2p node, its protocols, the requester's client and the provider service.
