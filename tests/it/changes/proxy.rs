//! nginx between followers and the service, with the documented settings.

use std::{fs, net::SocketAddr, process::Stdio};

use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command};

use super::{
    BOB,
    follower::{Event, Follower, From, list, revision},
    world,
};
use crate::support::{Api, Client, Suite, TestDatabase, TestServer};

const GUIDE: &str = include_str!("../../../docs/CHANGES.md");

pub fn register(suite: &mut Suite) {
    suite.on_sqlite_unless("changes::nginx_passes_streams_on", missing, passes_on);
}

fn missing() -> Option<String> {
    let has_nginx = crate::support::program::is_on_path("nginx") || fs::exists("/usr/sbin/nginx").unwrap_or(false);
    (!has_nginx).then(|| "nginx is not there".to_owned())
}

/// The documented locations, for the addresses of this test.
fn locations(rest: SocketAddr, grpc: SocketAddr) -> String {
    let (_, block) = GUIDE.split_once("```nginx\n").expect("a block");
    let (block, _) = block.split_once("```").expect("its end");
    let block = block.replace("127.0.0.1:8080", &rest.to_string());
    assert!(
        block.contains("127.0.0.1:50051") && block.contains(&rest.to_string()),
        "{block}"
    );
    block.replace("127.0.0.1:50051", &grpc.to_string())
}

async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address")
}

async fn passes_on(database: &'static TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let (rest, grpc) = (free_address().await, free_address().await);
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().display();
    let locations = locations(server.rest, server.grpc);
    let settings = format!(
        "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log; events {{}}\n\
         http {{ access_log off; client_body_temp_path {path}; proxy_temp_path {path}; fastcgi_temp_path {path};\n\
         uwsgi_temp_path {path}; scgi_temp_path {path};\n\
         server {{ listen {rest}; {locations} }}\n\
         server {{ listen {grpc} http2; {locations} }} }}"
    );
    let file = folder.path().join("nginx.conf");
    fs::write(&file, settings).expect("a file");
    let program = if fs::exists("/usr/sbin/nginx").unwrap_or(false) {
        "/usr/sbin/nginx"
    } else {
        "nginx"
    };
    let mut nginx = Command::new(program)
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        // What outlived the test would keep the output of the tests open.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("nginx");
    for address in [rest, grpc] {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            let ended = nginx.try_wait().expect("a status");
            let log = fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
            assert!(ended.is_none(), "nginx ended: {log}");
            tokio::task::yield_now().await;
        }
    }
    let writer = server.client(Api::Grpc, &key);
    for client in [Client::new(Api::Rest, rest, &key), Client::new(Api::Grpc, grpc, &key)] {
        let last = list(&client, &From::after(0), 0, 0)
            .await
            .ok()
            .revision
            .expect("a revision");
        let mut follower = Follower::start(&client, &From::after(last)).await.expect("a stream");
        // At once, and after a pause.
        for _ in 0..2 {
            assert_eq!(follower.next().await, Some(Event::Heartbeat(last)));
        }
        writer.assign(BOB, &["SN-3"]).await.ok();
        assert_eq!(revision(&follower.change().await), last + 1);
        let waiting = tokio::spawn(async move { list(&client, &From::after(last + 1), 0, 50).await });
        writer.unassign(BOB, &["SN-3"]).await.ok();
        assert_eq!(
            waiting.await.expect("no panic").ok().body["revision"],
            (last + 2).to_string()
        );
    }
    nginx.kill().await.expect("stopped");
    let left = tokio::net::TcpStream::connect(rest).await;
    assert!(left.is_err(), "a process of nginx outlives the test");
    server.stop().await;
}
