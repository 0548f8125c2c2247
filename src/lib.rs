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
//! - [`grpc`]: the RPC and the policies that every call passes.
//! - [`gateway`]: the REST face, a client of the RPC and nothing else.
//! - [`admin`]: what operators ask a running process.
//! - [`telemetry`]: figures for operators, which every room may use as it uses `tracing`.
//! - [`server`]: puts them together.
//! - [`client`]: assigns in bulk at any running service.
//! - [`list`]: lists as people keep them.
//! - [`config`]: what the program is told; [`cli`]: its subcommands.
//!
//! `ARCHITECTURE.md` walks one request through all of it.

pub mod admin;
pub mod cli;
pub mod client;
pub mod config;
pub mod domain;
pub mod gateway;
pub mod grpc;
pub mod list;
mod peer;
mod request_id;
pub mod server;
pub mod service;
pub mod storage;
pub mod telemetry;
