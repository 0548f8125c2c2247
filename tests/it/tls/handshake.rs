//! Handshakes: who is accepted and who is not.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::rustls::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

use super::{Tunnels, serve};
use crate::support::{
    Api, Kind, Load, Suite, TestDatabase,
    effects::faults,
    load::{clients, tally},
    organization,
    tls::{Agreed, Authority, Folder, HTTP_1_1, HTTP_2, Peer, agreed, connect},
};

/// The handshake timeout in these tests.
const PATIENCE: Duration = Duration::from_millis(500);
/// How much longer it may take.
const MARGIN: Duration = Duration::from_secs(5);

/// Clients that speak one version only.
const ONLY: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "tls::versions_and_protocols_of_each_listener", versions);
    suite.on(Kind::Sqlite, "tls::version_1_1_is_rejected", version_1_1);
    suite.on(
        Kind::Sqlite,
        "tls::clients_need_a_certificate_if_set",
        client_certificates,
    );
    suite.on(Kind::Sqlite, "tls::a_silent_peer_is_disconnected", silent_peers);
    suite.on(Kind::Sqlite, "tls::a_handshake_counts_as_a_connection", takes_a_place);
    suite.on(Kind::Sqlite, "tls::a_stop_under_load_loses_no_call", stop_under_load);
}

async fn versions(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let authority = Authority::new("authority");
    let folder = Folder::new();
    let identity = authority.issue("service");
    folder.put_identity("server", &identity);
    let program = serve(database, &folder, &[]).await;

    for versions in ONLY {
        let peer = Peer {
            versions,
            ..Peer::new(&authority)
        };
        // Real calls over gRPC and REST, by clients without ALPN.
        let tunnels = Tunnels::to(&program, &peer).await;
        for (api, tunnel) in [(Api::Grpc, &tunnels.grpc), (Api::Rest, &tunnels.rest)] {
            let email = format!("{}-{:?}@example.com", api.name(), versions[0].version);
            let email = email.to_lowercase().replace('_', "-");
            tunnels.client(api, &key).create(&email, &[&email]).await.ok();
            let expected = Agreed {
                certificate: identity.der(),
                version: versions[0].version,
                protocol: None,
            };
            assert_eq!(tunnel.agreed(), [expected]);
        }
        for (address, offered, taken) in [
            (program.grpc, &[HTTP_2][..], Some(HTTP_2)),
            (program.grpc, &[HTTP_1_1, HTTP_2], Some(HTTP_2)),
            (program.grpc, &[HTTP_1_1], None),
            (program.rest, &[HTTP_2], Some(HTTP_2)),
            (program.rest, &[HTTP_1_1], Some(HTTP_1_1)),
            (program.rest, &[HTTP_1_1, HTTP_2], Some(HTTP_2)),
            (program.rest, &[b"ftp"], None),
        ] {
            let peer = Peer {
                protocols: offered,
                ..peer
            };
            match connect(address, peer.config()).await {
                Ok(stream) => assert_eq!(agreed(&stream).protocol.as_deref(), taken),
                Err(error) => assert!(taken.is_none(), "{offered:?}: {error}"),
            }
        }
    }
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0));
    // Network scanners cause thousands of failed handshakes.
    assert!(!log.contains("handshake") && !log.contains("WARN"), "{log}");
}

/// No current client offers this version, so the bytes are written by hand.
async fn version_1_1(database: &TestDatabase) {
    let authority = Authority::new("authority");
    let folder = Folder::new();
    folder.put_identity("server", &authority.issue("service"));
    let program = serve(database, &folder, &[]).await;
    let hello = |version: u8| {
        let mut hello = vec![3, version];
        hello.extend([7; 32]); // random
        hello.extend([0]); // no session
        hello.extend([0, 4, 0xc0, 0x09, 0xc0, 0x2b]); // ECDHE with ECDSA: one suite from before 1.2, one of 1.2
        hello.extend([1, 0]); // no compression
        let extensions: [&[u8]; 3] = [
            &[0, 10, 0, 4, 0, 2, 0, 23], // groups: P-256
            &[0, 11, 0, 2, 1, 0],        // points as they are
            &[0, 13, 0, 4, 0, 2, 4, 3],  // signatures: ECDSA on P-256 with SHA-256
        ];
        let extensions = extensions.concat();
        hello.extend(u16::try_from(extensions.len()).expect("short").to_be_bytes());
        hello.extend(extensions);
        let length = u16::try_from(hello.len()).expect("short");
        let mut record = vec![22, 3, 1];
        record.extend((length + 4).to_be_bytes());
        record.extend([1, 0]);
        record.extend(length.to_be_bytes());
        record.extend(hello);
        record
    };
    for address in [program.grpc, program.rest] {
        for (version, kind) in [(3, 22), (2, 21), (1, 21)] {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(&hello(version)).await.expect("a hello");
            let mut head = [0; 1];
            stream.read_exact(&mut head).await.expect("an answer");
            // 22 is a handshake that goes on, as it does with the same words for 1.2; 21 an alert.
            assert_eq!(head[0], kind, "TLS 1.{}", version - 1);
        }
    }
    program.terminate().await;
}

async fn client_certificates(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let authority = Authority::new("of the service");
    let clients_authority = Authority::new("of the clients");
    let folder = Folder::new();
    let service = authority.issue("service");
    folder.put_identity("server", &service);
    let ca = folder.put("clients.crt", &clients_authority.pem());
    let program = serve(database, &folder, &["--tls-client-ca", &ca]).await;

    let known = clients_authority.issue("client");
    let tunnels = Tunnels::to(&program, &Peer::with(&authority, &known)).await;
    for api in [Api::Grpc, Api::Rest] {
        let email = format!("{}@example.com", api.name().replace('_', "-"));
        tunnels.client(api, &key).create(&email, &[&email]).await.ok();
    }
    let expired = clients_authority.issue_as("expired", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let unknown = Authority::new("of nobody").issue("client");
    for peer in [
        Peer::new(&authority),
        Peer::with(&authority, &unknown),
        Peer::with(&authority, &service),
        Peer::with(&authority, &expired),
    ] {
        for versions in ONLY {
            let peer = Peer { versions, ..peer };
            for address in [program.grpc, program.rest] {
                assert!(is_refused(address, &peer).await, "{versions:?}");
            }
        }
    }
    program.terminate().await;
}

/// In TLS 1.3 a client learns this only with the first response.
async fn is_refused(address: SocketAddr, peer: &Peer<'_>) -> bool {
    let Ok(mut stream) = connect(address, peer.config()).await else {
        return true;
    };
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    match stream.read(&mut [0; 1024]).await {
        Ok(count) => count == 0,
        Err(error) => {
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::InvalidData | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
                ),
                "{error}"
            );
            true
        }
    }
}

async fn silent_peers(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let authority = Authority::new("authority");
    let folder = Folder::new();
    folder.put_identity("server", &authority.issue("service"));
    let program = serve(database, &folder, &["--tls-handshake-timeout", "500ms"]).await;
    let tunnels = Tunnels::to(&program, &Peer::new(&authority)).await;
    let load = Load::start("load", clients(4, |api| tunnels.client(api, &key)));
    load.succeeds(8).await;

    // Nothing at all, the beginning of a hello, one of which a byte comes now and then, and what is no TLS.
    let begun: &[u8] = &[22, 3, 1, 2, 0, 1, 0];
    let greetings: [(&[u8], bool); 4] = [
        (b"", false),
        (begun, false),
        (begun, true),
        (b"GET / HTTP/1.1\r\n\r\n", false),
    ];
    let mut peers: Vec<(SocketAddr, &[u8], bool)> = Vec::new();
    for address in [program.grpc, program.rest] {
        peers.extend(greetings.map(|(greeting, drips)| (address, greeting, drips)));
        peers.extend(std::iter::repeat_n::<(SocketAddr, &[u8], bool)>(
            (address, b"", false),
            200,
        ));
    }
    let peers = peers
        .into_iter()
        .zip(0..)
        .map(async |((address, greeting, drips), number)| {
            // Not all in the same instant: the system's own queue for connections is short.
            tokio::time::sleep(Duration::from_micros(300) * number).await;
            until_closed(address, greeting, drips).await
        });
    let closed = join_all(peers).await;
    println!("closed after {:?} at the latest", closed.iter().max());
    load.succeeds(8).await;
    let calls = load.finish().await;
    assert!(calls.iter().all(|call| call.is(&["OK"])), "{}", tally(&calls));
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0));
    assert!(!log.contains("handshake") && !log.contains("WARN"), "{log}");
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

async fn until_closed(address: SocketAddr, greeting: &[u8], drips: bool) -> Duration {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let start = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(greeting).await.expect("written");
    let dripping = async {
        while writer.write_all(if drips { &[0] } else { &[] }).await.is_ok() {
            tokio::time::sleep(PATIENCE / 10).await;
        }
        std::future::pending::<()>().await;
    };
    let closed = async {
        let _ = reader.read_to_end(&mut Vec::new()).await;
    };
    tokio::select! {
        () = closed => start.elapsed(),
        () = dripping => unreachable!("it never ends"),
        () = tokio::time::sleep(PATIENCE + MARGIN) => panic!("still open after {:?}", start.elapsed()),
    }
}

async fn takes_a_place(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let authority = Authority::new("authority");
    let folder = Folder::new();
    folder.put_identity("server", &authority.issue("service"));
    // One address that is no proxy could have half of them.
    let arguments = [
        "--tls-handshake-timeout",
        "500ms",
        "--max-connections",
        "2",
        "--trusted-proxies",
        "127.0.0.1",
    ];
    let program = serve(database, &folder, &arguments).await;
    let tunnels = Tunnels::to(&program, &Peer::new(&authority)).await;
    let _first = TcpStream::connect(program.rest).await.expect("a connection");
    let _second = TcpStream::connect(program.rest).await.expect("a connection");
    // Both are accepted before anybody else, and let go of after a while.
    let start = Instant::now();
    let client = tunnels.client(Api::Rest, &key);
    client.create("john@example.com", &["SN-1"]).await.ok();
    assert!(start.elapsed() >= PATIENCE / 2, "{:?}", start.elapsed());
    program.terminate().await;
}

async fn stop_under_load(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let authority = Authority::new("authority");
    let folder = Folder::new();
    folder.put_identity("server", &authority.issue("service"));
    let program = serve(database, &folder, &["--tls-handshake-timeout", "1h"]).await;
    let tunnels = Tunnels::to(&program, &Peer::new(&authority)).await;
    let load = Load::start("load", clients(16, |api| tunnels.client(api, &key)));
    load.succeeds(16).await;
    // A stuck handshake does not delay the end.
    let _silent = TcpStream::connect(program.grpc).await.expect("a connection");
    let asked = Instant::now();
    let (code, log) = program.terminate().await;
    let took = asked.elapsed();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("did not finish in time"), "{log}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let calls = load.finish().await;
    println!("gone after {took:?}: {}", tally(&calls));
    let owned = crate::support::effects::owned(database).await;
    for call in calls.iter().filter(|call| call.is_lost()) {
        assert!(
            !owned.contains_key(&call.email),
            "carried out, but not answered: {call:?}"
        );
    }
    assert_eq!(faults(database, &calls).await, [""; 0]);
}
