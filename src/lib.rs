//! Assigns devices to their owners in bulk: `AssignDevicesToOwner` over gRPC, with a REST gateway, on SQLite or
//! PostgreSQL.
//!
//! ```text
//! JSON → gateway → grpc (authenticate, parse) → service → writer queue → storage (find → domain::plan → write, commit)
//!      → outcome → grpc → gateway → JSON
//! ```
//!
//! Inner modules never name outer ones. From the inside out:
//!
//! - [`domain`]: ids, emails, identifiers; the command, the plan, the outcome, the error. Pure.
//! - [`storage`]: connections, schema, entities, statements, and the lanes that write in batches.
//! - [`service`]: the use cases: who is calling, what is asked, handed to the writer.
//! - [`pb`]: the messages of the contract, its client and its server, generated.
//! - [`grpc`]: the RPC and the policies that every call passes.
//! - [`gateway`]: the REST face, a client of the RPC and nothing else.
//! - [`admin`]: what operators ask a running process.
//! - [`telemetry`]: figures for operators, which every room may use as it uses `tracing`.
//! - [`log_sampler`]: how much is logged about calls without a known caller.
//! - [`server`]: puts them together.
//! - [`client`]: assigns in bulk at any running service.
//! - [`list`]: lists as people keep them.
//! - [`config`]: the settings; [`cli`]: the subcommands.
//!
//! `ARCHITECTURE.md` walks one request through all of it.

#[cfg(feature = "server")]
pub mod admin;
#[cfg(feature = "server")]
mod body;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "client")]
pub mod code;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod domain;
#[cfg(feature = "server")]
mod duration;
#[cfg(feature = "client")]
pub mod error_chain;
#[cfg(feature = "server")]
pub mod gateway;
#[cfg(feature = "server")]
pub mod grpc;
#[cfg(feature = "client")]
pub mod list;
#[cfg(feature = "server")]
pub mod log_sampler;
#[cfg(feature = "server")]
mod network;
pub mod pb;
#[cfg(feature = "server")]
mod peer;
#[cfg(feature = "server")]
pub mod reason;
#[cfg(feature = "server")]
mod request_id;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
mod shares;
#[cfg(feature = "server")]
pub mod storage;
#[cfg(feature = "server")]
pub mod telemetry;
