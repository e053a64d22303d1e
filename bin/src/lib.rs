//! The `swarm` program: wiring, configuration, command line, gateway and demo.
//!
//! This crate knows every other one of the workspace and none of them knows it. It decides nothing that two peers must agree
//! on; it reads what a person wants, starts the parts, and shows what they do.
//!
//! Modules in reading order:
//!
//! 1. [`environment`], [`home`], [`config`], [`keystore`]: what a node is told and what it owns.
//! 2. [`failure`], [`output`], [`logging`], [`metrics`]: how it answers.
//! 3. [`cli`], [`app`], [`context`], [`commands`]: what it can be asked.
//! 4. [`chain`], [`deployment`], `network`, [`models`]: where money lies, what a network has there once, and where models come from.
//! 5. [`attest`]: keys for attestations, and the proving of certificates beside other work.
//! 6. [`query`], [`control`]: what a ledger can be asked, by this process or by another one.
//! 7. [`wiring`], [`gateway`], [`story`]: the running node, its OpenAI-compatible face, and how what it does is told.

pub mod config;
pub mod environment;
pub mod home;
pub mod keystore;

pub mod failure;
pub mod logging;
pub mod metrics;
pub mod output;

pub mod app;
pub mod cli;
pub mod commands;
pub mod context;
pub mod signals;

pub mod chain;
pub mod deployment;
pub mod models;
mod network;

pub mod attest;

pub mod control;
pub mod query;

pub mod gateway;
pub mod story;
pub mod wiring;

mod durable;
