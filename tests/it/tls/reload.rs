//! Certificates that change while they are in use.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{Tunnels, serve};
use crate::metrics::Metrics;
use crate::support::{
    Api, Kind, Load, Program, Suite, TestDatabase,
    effects::faults,
    load::{Call, clients, create, eventually, tally},
    organization,
    program::command,
    tls::{Authority, Folder, HTTP_1_1, Identity, Peer, agreed, connect},
};

/// The reload interval in these tests.
const INTERVAL: Duration = Duration::from_millis(100);
const EXPIRY: &str = "device_assignment_tls_certificate_expiry_timestamp_seconds";
/// How long a change may take to be used.
const SEEN: Duration = Duration::from_secs(20);

pub fn register(suite: &mut Suite) {
    for (name, swap) in [
        ("written_over", Swap::WrittenOver),
        ("renamed", Swap::Renamed),
        ("linked_anew_as_on_kubernetes", Swap::LinkedAnew),
    ] {
        suite.on(
            Kind::Sqlite,
            &format!("tls::a_certificate_changes_under_load::{name}"),
            move |database| under_load(database, swap),
        );
    }
    suite.on(Kind::Sqlite, "tls::invalid_new_files_change_nothing", broken);
    suite.on(
        Kind::Sqlite,
        "tls::a_certificate_that_expires_soon_is_logged",
        ends_soon,
    );
    suite.on(Kind::Sqlite, "tls::the_authority_of_clients_changes", client_authority);
    suite.on(Kind::Sqlite, "tls::the_metrics_tell_when_certificates_expire", expiries);
}

/// Ways to change the files.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Swap {
    WrittenOver,
    Renamed,
    LinkedAnew,
}

impl Swap {
    fn put(self, folder: &Folder, round: u32, identity: &Identity) {
        let files = [("server.crt", &identity.certificate), ("server.key", &identity.key)];
        match self {
            Self::WrittenOver => {
                for (name, content) in files {
                    fs::write(folder.path(name), content).expect("written");
                }
            }
            Self::Renamed => {
                for (name, content) in files {
                    folder.put(name, content);
                }
            }
            // server.crt -> data/server.crt, data -> round-1: one rename changes all files at once.
            Self::LinkedAnew => {
                let data = format!("round-{round}");
                fs::create_dir(folder.path(&data)).expect("a folder");
                for (name, content) in files {
                    folder.put(&format!("{data}/{name}"), content);
                    if round == 0 {
                        symlink(format!("data/{name}"), folder.path(name)).expect("a link");
                    }
                }
                symlink(&data, folder.path("new")).expect("a link");
                fs::rename(folder.path("new"), folder.path("data")).expect("renamed");
            }
        }
    }
}

fn interval() -> String {
    format!("{}ms", INTERVAL.as_millis())
}

async fn under_load(database: &'static TestDatabase, swap: Swap) {
    const ROUNDS: u32 = 3;
    let key = organization(database, "acme").await;
    let authority = Authority::new("authority");
    let folder = Folder::new();
    let first = authority.issue("round 0");
    swap.put(&folder, 0, &first);
    let arguments = ["--tls-reload-interval", &interval(), "--head-timeout", "2m"];
    let program = serve(database, &folder, &arguments).await;
    let tunnels = Arc::new(Tunnels::to(&program, &Peer::new(&authority)).await);

    // One connection that is there from the beginning to the end.
    let peer = Peer {
        protocols: &[HTTP_1_1],
        ..Peer::new(&authority)
    };
    let mut old = connect(program.rest, peer.config()).await.expect("a connection");
    let load = Load::start("load", clients(8, |api| tunnels.client(api, &key)));
    let stop = Arc::new(AtomicBool::new(false));
    let newcomers = [Api::Grpc, Api::Rest].map(|api| {
        tokio::spawn(call_on_new_connections(
            Arc::clone(&tunnels),
            api,
            key.clone(),
            Arc::clone(&stop),
        ))
    });
    load.succeeds(16).await;
    for round in 1..=ROUNDS {
        let identity = authority.issue(&format!("round {round}"));
        swap.put(&folder, round, &identity);
        shows(&program, &authority, &identity).await;
        assert_eq!(
            ask(&mut old).await,
            "HTTP/1.1 404 Not Found",
            "the old connection lives"
        );
        assert_eq!(agreed(&old).certificate, first.der());
        load.succeeds(16).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut calls = load.finish().await;
    for newcomer in newcomers {
        let made = newcomer.await.expect("no panic");
        assert!(made.len() > 3, "{} calls on new connections", made.len());
        calls.extend(made);
    }
    println!("{}", tally(&calls));
    assert!(calls.iter().all(|call| call.is(&["OK"])), "{}", tally(&calls));
    for tunnel in [&tunnels.grpc, &tunnels.rest] {
        let mut certificates: Vec<CertificateDer<'_>> =
            tunnel.agreed().into_iter().map(|agreed| agreed.certificate).collect();
        certificates.dedup();
        assert!(certificates.len() > 1, "some came before a change, and some after one");
    }
    drop(old);
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0));
    assert_eq!(count(&log, "has changed; new connections"), ROUNDS as usize, "{log}");
    assert!(log.contains("\"expires\":\"4096-01-01T00:00:00Z\""), "{log}");
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

async fn call_on_new_connections(tunnels: Arc<Tunnels>, api: Api, key: String, stop: Arc<AtomicBool>) -> Vec<Call> {
    let mut calls = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let client = tunnels.client(api, &key);
        let name = api.name().replace('_', "-");
        let email = format!("new-{name}-{}@example.com", calls.len());
        calls.push(create(&client, email).await);
    }
    calls
}

/// Waits until new connections to gRPC and REST use a certificate.
async fn shows(program: &Program, authority: &Authority, identity: &Identity) {
    for address in [program.grpc, program.rest] {
        eventually("new connections see the new certificate", SEEN, async || {
            let stream = connect(address, Peer::new(authority).config()).await;
            agreed(&stream.expect("a connection")).certificate == identity.der()
        })
        .await;
    }
}

/// Requests an unknown path, and returns the status line.
async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> String {
    let request = b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).await.expect("a request");
    let mut answer = String::new();
    while !answer.ends_with("}\n") {
        let mut buffer = [0; 1024];
        let count = stream.read(&mut buffer).await.expect("an answer");
        assert!(count > 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
    }
    answer.lines().next().expect("a line").to_owned()
}

fn count(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

async fn broken(database: &TestDatabase) {
    let authority = Authority::new("authority");
    let folder = Folder::new();
    let good = authority.issue("good");
    folder.put_identity("server", &good);
    let program = serve(database, &folder, &["--tls-reload-interval", &interval()]).await;
    let other = authority.issue("other");
    let expired = authority.issue_as("expired", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let breaks: [(&str, &dyn Fn()); 4] = [
        ("does not belong to", &|| drop(folder.put("server.key", &other.key))),
        ("expired at 2020-01-01T00:00:00Z", &|| {
            drop(folder.put("server.crt", &expired.certificate))
        }),
        ("has no certificate", &|| drop(folder.put("server.crt", ""))),
        ("cannot be read", &|| {
            fs::remove_file(folder.path("server.crt")).expect("removed")
        }),
    ];
    for (number, (words, change)) in (1..).zip(breaks) {
        change();
        eventually(words, SEEN, async || count(&program.logged(), words) > 0).await;
        // Time for more errors; there must be none.
        tokio::time::sleep(INTERVAL * 5).await;
        let log = program.logged();
        assert_eq!(count(&log, "ERROR"), number, "one a change: {log}");
        shows(&program, &authority, &good).await;
    }
    // The same content as before is no change. The key first: the certificate is still missing.
    folder.put("server.key", &good.key);
    folder.put("server.crt", &good.certificate);
    tokio::time::sleep(INTERVAL * 5).await;
    let log = program.logged();
    assert_eq!(count(&log, "ERROR"), 4, "{log}");
    assert_eq!(count(&log, "has changed; new connections"), 0, "{log}");
    folder.put_identity("server", &other);
    shows(&program, &authority, &other).await;
    program.terminate().await;
}

/// Once, in the last tenth of its life.
async fn ends_soon(database: &TestDatabase) {
    let authority = Authority::new("authority");
    let folder = Folder::new();
    let lives = |since: time::Duration, for_another: time::Duration| {
        authority.issue_as("service", |params| {
            let now = time::OffsetDateTime::now_utc();
            (params.not_before, params.not_after) = (now - since, now + for_another);
        })
    };
    let (day, hour) = (time::Duration::DAY, time::Duration::HOUR);
    folder.put_identity("server", &lives(day, hour));
    let program = serve(database, &folder, &["--tls-reload-interval", &interval()]).await;
    let soon = "expires soon and has not been renewed";
    eventually(soon, SEEN, async || count(&program.logged(), soon) > 0).await;
    // Time for more warnings; there must be none.
    tokio::time::sleep(INTERVAL * 5).await;
    let young = lives(hour, hour);
    folder.put_identity("server", &young);
    shows(&program, &authority, &young).await;
    tokio::time::sleep(INTERVAL * 5).await;
    let (_, log) = program.terminate().await;
    assert_eq!(count(&log, soon), 1, "{log}");
}

async fn client_authority(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let (authority, old, new) = (Authority::new("service"), Authority::new("old"), Authority::new("new"));
    let folder = Folder::new();
    folder.put_identity("server", &authority.issue("service"));
    let ca = folder.put("clients.crt", &old.pem());
    let arguments = ["--tls-client-ca", &ca, "--tls-reload-interval", &interval()];
    let program = serve(database, &folder, &arguments).await;
    let (of_old, of_new) = (old.issue("client"), new.issue("client"));
    // Clients keep TLS sessions, which must not outlive their authority.
    let of_old = Tunnels::to(&program, &Peer::with(&authority, &of_old)).await;
    let of_new = Tunnels::to(&program, &Peer::with(&authority, &of_new)).await;
    let mut number = 0;
    let mut calls = async |tunnels: &Tunnels, api: Api| {
        number += 1;
        let client = tunnels.client(api, &key);
        create(&client, format!("call-{number}@example.com")).await.is_ok()
    };
    let stays = of_old.client(Api::Grpc, &key);
    stays.create("stays@example.com", &["SN-1"]).await.ok();
    for api in [Api::Grpc, Api::Rest] {
        assert!(calls(&of_old, api).await);
        assert!(!calls(&of_new, api).await);
    }
    folder.put("clients.crt", &format!("{}{}", old.pem(), new.pem()));
    for api in [Api::Grpc, Api::Rest] {
        eventually("the new one is let in", SEEN, async || calls(&of_new, api).await).await;
        assert!(calls(&of_old, api).await);
    }
    folder.put("clients.crt", &new.pem());
    for api in [Api::Grpc, Api::Rest] {
        eventually("the old one is not", SEEN, async || !calls(&of_old, api).await).await;
        assert!(calls(&of_new, api).await);
    }
    stays.create("stays@example.com", &["SN-2"]).await.ok();
    program.terminate().await;
}

/// Of a service and of a gateway, with client certificates, before and after a change.
async fn expiries(database: &TestDatabase) {
    let folder = Folder::new();
    let authority = Authority::new("authority");
    let until = |year: i32| {
        authority.issue_as("identity", |params| {
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
        })
    };
    folder.put_identity("server", &until(2101));
    let [certificate, private_key] = folder.put_identity("gateway", &until(2102));
    // Of several authorities the first to expire counts, wherever it is in the file.
    let later = until(2110).certificate;
    let sooner = until(2103).certificate;
    let clients = folder.put("clients.crt", &format!("{later}{sooner}"));
    let ca = folder.put("ca.crt", &until(2104).certificate);

    let arguments = ["--tls-client-ca", &clients, "--tls-reload-interval", &interval()];
    let service = serve(database, &folder, &arguments).await;
    let mut gateway = command(&["gateway", "--upstream", "https://localhost:1"]);
    gateway.args(["--rest-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"]);
    gateway.args([
        "--upstream-ca",
        &ca,
        "--upstream-cert",
        &certificate,
        "--upstream-key",
        &private_key,
    ]);
    let gateway = Program::serving(gateway, Some(service.grpc)).await;
    let expires = async |program: &Program, certificate: &str, year: i32| {
        let series = format!("{EXPIRY}{{certificate=\"{certificate}\"}}");
        let expected = rcgen::date_time_ymd(year, 1, 1).unix_timestamp();
        Metrics::of(program.admin).await.get(&series) == expected as f64
    };
    for (program, certificate, year) in [
        (&service, "listeners", 2101),
        (&service, "client_ca", 2103),
        (&gateway, "upstream", 2102),
        (&gateway, "upstream_ca", 2104),
    ] {
        assert!(expires(program, certificate, year).await, "{certificate}");
    }
    let metrics = Metrics::of(service.admin).await;
    assert!(
        metrics.text.contains(&format!("# TYPE {EXPIRY} gauge")),
        "{}",
        metrics.text
    );
    assert!(metrics.text.contains(&format!("# HELP {EXPIRY} ")), "{}", metrics.text);

    folder.put_identity("server", &until(2105));
    folder.put("clients.crt", &later);
    for (certificate, year) in [("listeners", 2105), ("client_ca", 2110)] {
        eventually(certificate, SEEN, async || expires(&service, certificate, year).await).await;
    }
    gateway.terminate().await;
    service.terminate().await;
}
