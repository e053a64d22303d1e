//! End-to-end suites: separate processes on loopback, driven through the public command line alone.

mod demo;
mod edges;
mod faults;
mod gateway;
mod swarm;
mod world;
