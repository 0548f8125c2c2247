//! Assigns devices to their owners in bulk: `AssignDevicesToOwner` over gRPC, with a REST gateway, on SQLite or
//! PostgreSQL.
//!
//! ```text
//! JSON → gateway → grpc (authenticate, parse) → service → writer queue → storage (find → apply → write, commit)
//!      → outcome → grpc → gateway → JSON
//! ```
//!
//! Modules, from the inside out; inner ones do not use outer ones:
//!
//! - [`domain`]: ids, emails, identifiers, the command, the plan, the outcome and the error. Pure.
//! - [`storage`]: connections, schema, entities, statements, and the writer workers that commit batches.
//! - [`service`]: the use cases: authenticates, parses, and hands commands to the writer.
//! - [`pb`]: the generated messages, client and server.
//! - [`grpc`]: the gRPC API, with the policies that apply to every call.
//! - [`gateway`]: the REST API, a client of the gRPC API and nothing else.
//! - [`admin`]: liveness, readiness and metrics for operators.
//! - [`supervision`]: keeps the long-running tasks of a process running.
//! - [`telemetry`]: metrics and traces.
//! - [`log_sampler`]: limits the log lines about unauthenticated calls.
//! - [`error_chain`]: the text of an error with its sources; [`code`] and [`reason`]: the names of errors.
//! - [`server`]: composition of all of these.
//! - [`client`]: bulk assignment through any running service.
//! - [`mcp`]: tools for AI assistants, through any running service.
//! - [`webhook`]: posts changes to a receiver over HTTP.
//! - [`list`]: reads CSV files and plain lists.
//! - [`config`]: the settings; [`cli`]: the subcommands.
//!
//! `ARCHITECTURE.md` describes how a request passes through them, and which module may use which.

// The futures of calls are nested. Only optimized builds notice when they exceed the default of 128.
#![recursion_limit = "256"]

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
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "server")]
pub mod gateway;
#[cfg(feature = "server")]
pub mod grpc;
#[cfg(feature = "client")]
mod key_headers;
#[cfg(feature = "client")]
pub mod list;
#[cfg(feature = "server")]
pub mod log_sampler;
#[cfg(feature = "server")]
pub mod mcp;
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
pub mod supervision;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod webhook;
