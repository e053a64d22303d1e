//! What the end-to-end suites share: swarm processes with homes, ports and logs of their own.
