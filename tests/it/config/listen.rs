//! The addresses of listeners: IP:PORT, HOST:PORT and :PORT.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{file, mistakes};
use crate::support::{
    Api, Client, Kind, Program, Suite, TestDatabase, organization,
    program::{command, finish, refused, run, stderr},
};

const LISTENERS: [(&str, &str); 4] = [
    ("serve", "grpc-addr"),
    ("serve", "rest-addr"),
    ("serve", "admin-addr"),
    ("gateway --upstream http://127.0.0.1:1", "rest-addr"),
];

pub fn register(suite: &mut Suite) {
    suite.on(
        Kind::Sqlite,
        "config::listeners_take_host_names_and_bare_ports",
        host_names_and_ports,
    );
    suite.test("config::an_invalid_address_names_its_setting", invalid);
    suite.test("config::an_address_is_judged_by_what_it_resolves_to", resolved);
}

async fn host_names_and_ports(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let (_folder, path) = file("grpc-addr = \"localhost:0\"\nplaintext = true");
    let mut serve = command(&["serve", "--rest-addr", ":0"]);
    serve.args(["--database-url", database.url()]);
    serve.env("CONFIG_FILE", &path).env("ADMIN_ADDR", "localhost:0");
    let service = Program::serving(serve, None).await;
    assert!(service.grpc.ip().is_loopback(), "{}", service.grpc);
    assert!(service.rest.ip().is_unspecified(), "{}", service.rest);
    service
        .client(Api::Grpc, &key)
        .create("john@example.com", &["SN-1"])
        .await
        .ok();
    let mut interfaces = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, service.rest.port()))];
    if service.rest.is_ipv6() {
        interfaces.push((Ipv6Addr::LOCALHOST, service.rest.port()).into());
    }
    for address in interfaces {
        let client = Client::new(Api::Rest, address, &key);
        client.create("john@example.com", &["SN-1"]).await.ok();
    }
    let admin = format!("localhost:{}", service.admin.port());
    let health = run(&["health", "--admin-addr", &admin]).await;
    assert_eq!(health.status.code(), Some(0), "{}", stderr(&health));

    let mut gateway = command(&["gateway", "--rest-addr", "localhost:0", "--admin-addr", ":0"]);
    gateway.args(["--upstream", &format!("http://{}", service.grpc)]);
    let gateway = Program::serving(gateway, Some(service.grpc)).await;
    assert!(gateway.rest.ip().is_loopback(), "{}", gateway.rest);
    assert!(gateway.admin.ip().is_unspecified(), "{}", gateway.admin);
    gateway
        .client(Api::Rest, &key)
        .create("john@example.com", &["SN-1"])
        .await
        .ok();
    gateway.terminate().await;
    service.terminate().await;
}

async fn invalid() {
    let form = "must be an address with a port, as in 127.0.0.1:8080, localhost:8080 or :8080";
    let unresolved = "the host name does not resolve (";
    // The resolver rejects a part of more than 63 characters without asking a server.
    let no_name = format!("{}.invalid:8080", "a".repeat(64));
    for (address, problem) in [
        ("nowhere", form),
        ("8080", form),
        (":", form),
        (":65536", form),
        ("localhost:", form),
        ("localhost:http", form),
        ("::1:8080", form),
        ("http://localhost:8080", form),
        (no_name.as_str(), unresolved),
    ] {
        for (subcommand, setting) in LISTENERS {
            let found = mistakes(&format!("{subcommand} --{setting}={address}"));
            let start = format!("--{setting} (from the command line): {problem}");
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(&start), "{address}: {found:?}");
        }
    }
}

async fn resolved() {
    let unencrypted = |address: &str| format!("API keys would cross the network unencrypted to {address}; ");
    let taken = "both are 127.0.0.1:8080; ".to_owned();
    for (address, problem) in [
        // The resolver reads a number as an IPv4 address, on every machine.
        ("0:8081", Some(unencrypted("0.0.0.0:8081"))),
        (":8081", Some(unencrypted("[::]:8081"))),
        ("localhost:8080", Some(taken)),
        ("localhost:8081", None),
        ("127.1:8081", None),
        ("[::1]:8081", None),
    ] {
        let arguments = ["config", "check", "serve", "--grpc-addr", address];
        let output = run(&arguments).await;
        let Some(problem) = problem else {
            assert_eq!(output.status.code(), Some(0), "{address}: {}", stderr(&output));
            continue;
        };
        // A machine without IPv6 listens on all addresses of IPv4.
        let said = refused(&output, 2).replace("0.0.0.0:8081", "[::]:8081");
        assert!(
            said.contains(&problem.replace("0.0.0.0:8081", "[::]:8081")),
            "{address}: {said}"
        );
        assert!(
            said.starts_with("device-assignment: --grpc-addr (from the command line)"),
            "{said}"
        );
        let mut plaintext = command(&arguments);
        plaintext.arg("--plaintext");
        let code = finish(plaintext).await.status.code();
        assert_eq!(code, Some(if address.ends_with(":8080") { 2 } else { 0 }), "{address}");
    }
}
