//! What the tests stand on: real databases, the real server, real clients.

pub mod client;
pub mod database;
pub mod postgres;
pub mod program;
pub mod server;
pub mod suite;

pub use client::{Answer, Client, PATH};
pub use database::{Kind, TestDatabase};
pub use postgres::PostgresServer;
pub use program::Program;
pub use server::{Face, TestServer, devices, organization};
pub use suite::Suite;
