//! End-to-end suites: separate processes on loopback, driven through the public command line alone.

mod channels;
mod demo;
mod edges;
mod embed;
mod faults;
mod gateway;
mod restart;
mod staking;
mod swarm;
mod world;
