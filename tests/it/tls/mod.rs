//! TLS: handshakes, certificates that change, a gateway in front of a service, invalid files, and what errors say.

mod explained;
mod gateway;
mod handshake;
mod refusals;
mod reload;
mod tools;

use crate::support::{
    Api, Client, Program, Suite, TestDatabase,
    program::command,
    tls::{Folder, Peer, Tunnel},
};

pub fn register(suite: &mut Suite) {
    explained::register(suite);
    gateway::register(suite);
    handshake::register(suite);
    refusals::register(suite);
    reload::register(suite);
    tools::register(suite);
}

/// Starts `serve` on the certificate `server.crt` of the folder, with more arguments.
async fn serve(database: &TestDatabase, folder: &Folder, arguments: &[&str]) -> Program {
    let mut serve = command(&["serve", "--database-url", database.url()]);
    serve.arg("--tls-cert").arg(folder.path("server.crt"));
    serve.arg("--tls-key").arg(folder.path("server.key"));
    serve.args(arguments);
    Program::spawn(serve).await
}

/// A tunnel to each API, for clients without TLS.
struct Tunnels {
    grpc: Tunnel,
    rest: Tunnel,
}

impl Tunnels {
    async fn to(program: &Program, peer: &Peer<'_>) -> Self {
        Self {
            grpc: Tunnel::to(program.grpc, peer).await,
            rest: Tunnel::to(program.rest, peer).await,
        }
    }

    fn client(&self, api: Api, key: &str) -> Client {
        let tunnel = if api == Api::Grpc { &self.grpc } else { &self.rest };
        Client::new(api, tunnel.address, key)
    }
}
