//! What the tests stand on: real databases, the real server, real clients.

pub mod browser;
pub mod citus;
pub mod client;
pub mod collector;
pub mod database;
pub mod effects;
pub mod example;
pub mod http1;
pub mod load;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod server;
pub mod suite;
pub mod tls;
pub mod wire;

pub use browser::Browser;
pub use client::{
    ASSIGN_ONE_PATH, Answer, Client, INVALID_KEY, MISSING_KEY, PATH, TRANSFER_PATH, UNASSIGN_ONE_PATH, UNASSIGN_PATH,
};
pub use collector::Collector;
pub use database::{Kind, TestDatabase};
pub use load::Load;
pub use postgres::PostgresServer;
pub use program::Program;
pub use proxy::Proxy;
pub use server::{Api, TestServer, devices, new_key, organization, read_key};
pub use suite::Suite;
pub use wire::Wire;

/// The seed of a test that acts at random: printed, so that a failure can be run again with `TEST_SEED`.
pub fn seed() -> u64 {
    let seed = std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("TEST_SEED={seed}");
    seed
}
