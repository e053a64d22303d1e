//! Chains behind one trait.
