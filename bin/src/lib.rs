//! Wiring, configuration, command line, gateway and demo of the swarm.
