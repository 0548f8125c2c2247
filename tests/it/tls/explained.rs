//! Failed handshakes are explained to the operator: by `assign`, by a gateway, and for a database.

use std::time::Duration;

use rcgen::IsCa;

use super::{gateway::Gateway, serve};
use crate::support::{
    Kind, Suite, TestDatabase, devices,
    load::eventually,
    organization,
    program::{command, finish, sentence},
    tls::{Authority, Folder, HandshakeServer, Identity},
};

pub fn register(suite: &mut Suite) {
    suite.test("tls::failed_handshakes_are_explained", explained);
    suite.test("tls::a_server_without_tls_is_named", without_tls);
    suite.on(
        Kind::Sqlite,
        "tls::a_self_signed_certificate_that_is_no_ca_is_accepted",
        self_signed,
    );
}

/// Certificates that fail: what clients trust, whether it becomes version 1, and what the error says.
fn cases() -> Vec<(Identity, String, bool, &'static str)> {
    let authority = Authority::new("authority");
    let self_signed = Identity::self_signed(IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let version_1 = authority.issue("version 1");
    let expired = authority.issue_as("expired", |params| {
        params.not_after = rcgen::date_time_ymd(2020, 2, 3);
    });
    let future = authority.issue_as("future", |params| {
        params.not_before = rcgen::date_time_ymd(4000, 2, 3);
    });
    let elsewhere = authority.issue_as("elsewhere", |params| {
        params.subject_alt_names = ["a.example", "b.example"]
            .map(|name| rcgen::SanType::DnsName(name.try_into().expect("a name")))
            .to_vec();
    });
    let nameless = authority.issue_as("nameless", |params| params.subject_alt_names.clear());
    let client = authority.issue_as("client", |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    let namesake = Authority::new("authority");
    let own = self_signed.certificate.clone();
    vec![
        (
            expired,
            authority.pem(),
            false,
            "expired at 2020-02-03T00:00:00Z; renew it",
        ),
        (
            future,
            authority.pem(),
            false,
            "is not valid before 4000-02-03T00:00:00Z",
        ),
        (
            elsewhere,
            authority.pem(),
            false,
            "is not valid for localhost, but for a.example, b.example",
        ),
        (nameless, authority.pem(), false, "it has no subject alternative name"),
        (client, authority.pem(), false, "is not for servers"),
        (
            authority.issue("good"),
            Authority::new("other").pem(),
            false,
            "is not signed by a trusted authority; name the file of its CA certificate",
        ),
        (
            authority.issue("good"),
            namesake.pem(),
            false,
            "not signed by the trusted CA, but by another one of the same name",
        ),
        (self_signed, own, false, "uses a CA certificate as its own"),
        (version_1, authority.pem(), true, "has the old format X.509 version 1"),
    ]
}

async fn explained() {
    let folder = Folder::new();
    for (identity, trusted, is_version_1, words) in cases() {
        let certificate = if is_version_1 {
            identity.as_version_1()
        } else {
            identity.der()
        };
        let ca = folder.put("ca.crt", &trusted);
        let service = HandshakeServer::start(certificate.clone(), &identity.key, false).await;
        let url = format!("https://localhost:{}", service.port);

        let mut assign = command(&[
            "assign",
            "--server",
            &url,
            "--ca",
            &ca,
            "--customer",
            "ann@example.com",
            "SN-1",
        ]);
        assign.env("DEVICE_ASSIGNMENT_API_KEY", "any");
        let said = sentence(&finish(assign).await, 1);
        assert!(said.contains(words), "{words}: {said}");

        let gateway = Gateway::at(&url, &["--upstream-ca", &ca]).await;
        let within = Duration::from_secs(60);
        eventually(words, within, async || {
            gateway.log.so_far().contains("the upstream is not ready")
        })
        .await;
        let log = gateway.log.so_far();
        assert!(log.contains(words), "{words}: {log}");

        let database = HandshakeServer::start(certificate, &identity.key, true).await;
        // Such a certificate fails even where none is verified.
        let modes: &[&str] = if is_version_1 {
            &["verify-full", "prefer"]
        } else {
            &["verify-full"]
        };
        for mode in modes {
            let url = format!(
                "postgres://app@localhost:{}/devices?sslmode={mode}&sslrootcert={ca}",
                database.port
            );
            let list = command(&[
                "organization",
                "list",
                "--connect-timeout",
                "1ms",
                "--database-url",
                &url,
            ]);
            let said = sentence(&finish(list).await, 1);
            assert!(said.contains(words), "{words}: {said}");
            assert!(!said.contains("invalid peer certificate"), "{said}");
        }
    }
}

async fn without_tls() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let _plain = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.expect("a connection");
            let answer = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
            tokio::io::AsyncWriteExt::write_all(&mut client, answer).await.ok();
        }
    });
    let url = format!("https://localhost:{port}");
    let mut assign = command(&["assign", "--server", &url, "--customer", "ann@example.com", "SN-1"]);
    assign.env("DEVICE_ASSIGNMENT_API_KEY", "any");
    let said = sentence(&finish(assign).await, 1);
    assert!(said.contains("the server does not speak TLS at this address"), "{said}");
}

/// As the explanation of a CA certificate that is used by a server advises.
async fn self_signed(database: &'static TestDatabase) {
    let folder = Folder::new();
    let [certificate, _] = folder.put_identity("server", &Identity::self_signed(IsCa::ExplicitNoCa));
    let service = serve(database, &folder, &[]).await;
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1"]).await;
    let url = format!("https://localhost:{}", service.grpc.port());
    let mut assign = command(&[
        "assign",
        "--server",
        &url,
        "--ca",
        &certificate,
        "--customer",
        "ann@example.com",
        "SN-1",
    ]);
    assign.env("DEVICE_ASSIGNMENT_API_KEY", key);
    let output = finish(assign).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    service.terminate().await;
}
