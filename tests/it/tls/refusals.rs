//! Invalid files and settings: the program says why in one sentence, and changes nothing.

use std::process::Stdio;

use crate::support::{
    Suite,
    program::{Log, command, finish, refused, sentence},
    tls::{Authority, Folder},
};

pub fn register(suite: &mut Suite) {
    suite.test("tls::invalid_files_are_rejected", files);
    suite.test("tls::conflicting_settings_are_rejected", settings);
    suite.test("tls::listening_in_public_needs_tls_or_plaintext", in_public);
}

const SERVE: &str = "serve --grpc-addr 127.0.0.1:0 --rest-addr 127.0.0.1:0 --admin-addr off";
const GATEWAY: &str = "gateway --rest-addr 127.0.0.1:0 --admin-addr off --upstream";

/// Runs the program in a folder that is empty before and after; returns what it said.
async fn refuse(arguments: &str, code: i32) -> String {
    let folder = Folder::new();
    let parts: Vec<&str> = arguments.split_whitespace().collect();
    let mut command = command(&parts);
    command.current_dir(folder.0.path());
    let said = sentence(&finish(command).await, code);
    let made = folder.0.path().read_dir().expect("a folder").count();
    assert_eq!(
        made, 0,
        "{arguments}: there is no database, and so no key that nobody was shown"
    );
    println!("{said}");
    said
}

async fn files() {
    let authority = Authority::new("authority");
    let folder = Folder::new();
    let good = authority.issue("good");
    let [cert, key] = folder.put_identity("good", &good);
    let past = authority.issue_as("past", |params| params.not_after = rcgen::date_time_ymd(2020, 2, 3));
    let [past, past_key] = folder.put_identity("past", &past);
    let future = authority.issue_as("future", |params| params.not_before = rcgen::date_time_ymd(4000, 2, 3));
    let [future, future_key] = folder.put_identity("future", &future);
    let [_, other_key] = folder.put_identity("other", &authority.issue("other"));
    let ca = folder.put("ca.crt", &authority.pem());
    let empty = folder.put("empty", "");
    let missing = folder.path("missing").display().to_string();
    let directory = folder.0.path().display().to_string();
    let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let damaged = folder.put("damaged", &pem("CERTIFICATE"));
    let cut = folder.put("cut", &good.certificate[..100]);
    let encrypted = folder.put("encrypted", &pem("ENCRYPTED PRIVATE KEY"));
    let damaged_key = folder.put("damaged.key", &pem("PRIVATE KEY"));

    let mut cases: Vec<(String, &str, &str)> = Vec::new();
    for (certificate, key, named, words) in [
        (&missing, &key, &missing, "cannot be read"),
        (&directory, &key, &directory, "cannot be read"),
        (&cert, &missing, &missing, "cannot be read"),
        (&empty, &key, &empty, "has no certificate in PEM format"),
        (&key, &key, &key, "has no certificate in PEM format"),
        (&damaged, &key, &damaged, "invalid certificate"),
        (&cut, &key, &cut, "invalid certificate"),
        (&cert, &cert, &cert, "has no private key in PEM format"),
        (&cert, &encrypted, &encrypted, "or only an encrypted one"),
        (&cert, &damaged_key, &damaged_key, "invalid or of an unsupported kind"),
        (&cert, &other_key, &other_key, "does not belong to"),
        // The CA certificate comes first: wrong order.
        (&ca, &key, &ca, "does not belong to"),
        (&past, &past_key, &past, "expired at 2020-02-03T00:00:00Z; renew it"),
        (&future, &future_key, &future, "not valid before 4000-02-03T00:00:00Z"),
    ] {
        cases.push((
            format!("{SERVE} --tls-cert {certificate} --tls-key {key}"),
            named,
            words,
        ));
        cases.push((
            format!("{GATEWAY} http://localhost:1 --tls-cert {certificate} --tls-key {key}"),
            named,
            words,
        ));
        cases.push((
            format!("{GATEWAY} https://localhost:1 --upstream-cert {certificate} --upstream-key {key}"),
            named,
            words,
        ));
    }
    for (file, words) in [
        (&missing, "cannot be read"),
        (&empty, "has no certificate in PEM format"),
        (&damaged, "invalid certificate"),
    ] {
        cases.push((
            format!("{SERVE} --tls-cert {cert} --tls-key {key} --tls-client-ca {file}"),
            file,
            words,
        ));
        cases.push((
            format!("{GATEWAY} https://localhost:1 --upstream-ca {file}"),
            file,
            words,
        ));
    }
    for (arguments, named, words) in cases {
        let said = refuse(&arguments, 1).await;
        assert!(said.contains(words), "{words}: {said}");
        assert!(said.contains(named), "{named}: {said}");
        assert!(!said.contains("AAAA"), "nothing of a file is shown: {said}");
    }
}

async fn settings() {
    for (arguments, words) in [
        (
            format!("{SERVE} --tls-cert a"),
            "--tls-cert (from the command line): needs --tls-key (TLS_KEY), too",
        ),
        (
            format!("{SERVE} --tls-key a"),
            "--tls-key (from the command line): needs --tls-cert (TLS_CERT), too",
        ),
        (
            format!("{SERVE} --tls-client-ca a"),
            "--tls-client-ca (from the command line): needs",
        ),
        (
            format!("{SERVE} --plaintext --tls-cert a --tls-key b"),
            "contradict each other",
        ),
        (
            format!("{GATEWAY} http://localhost:1 --tls-key a"),
            "--tls-key (from the command line): needs",
        ),
        (
            format!("{GATEWAY} https://localhost:1 --upstream-cert a"),
            "--upstream-cert (from the command line): needs",
        ),
        (
            format!("{GATEWAY} https://localhost:1 --upstream-key a"),
            "--upstream-key (from the command line): needs",
        ),
        (
            format!("{GATEWAY} http://localhost:1 --upstream-ca a"),
            "--upstream-ca (from the command line): needs an --upstream",
        ),
        (
            format!("{GATEWAY} http://localhost:1 --upstream-cert a --upstream-key b"),
            "--upstream-cert (from the command line): needs an --upstream",
        ),
        (
            format!("{GATEWAY} ftp://localhost:1"),
            "must start with http:// or https://",
        ),
    ] {
        let said = refuse(&arguments, 2).await;
        assert!(said.contains(words), "{words}: {said}");
    }
    for setting in [
        "--tls-handshake-timeout 0s",
        "--tls-reload-interval 0s",
        "--tls-reload-interval often",
    ] {
        let arguments = format!("{SERVE} {setting}");
        let parts: Vec<&str> = arguments.split_whitespace().collect();
        refused(&finish(command(&parts)).await, 2);
    }
}

async fn in_public() {
    let private = "127.0.0.1:0";
    let public = ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"];
    for address in public {
        for (grpc, rest, named) in [(address, private, "--grpc-addr"), (private, address, "--rest-addr")] {
            let said = refuse(
                &format!("serve --grpc-addr {grpc} --rest-addr {rest} --admin-addr off"),
                2,
            )
            .await;
            assert!(said.contains(named) && said.contains(address), "{said}");
            assert!(said.contains("--tls-cert") && said.contains("--plaintext"), "{said}");
        }
        let said = refuse(
            &format!("gateway --upstream http://localhost:1 --rest-addr {address}"),
            2,
        )
        .await;
        assert!(said.contains("--rest-addr") && said.contains("--plaintext"), "{said}");
    }

    let authority = Authority::new("authority");
    let folder = Folder::new();
    let [cert, key] = folder.put_identity("server", &authority.issue("service"));
    for (arguments, has_tls) in [
        (vec!["--plaintext"], false),
        (vec!["--tls-cert", &cert, "--tls-key", &key], true),
    ] {
        let mut child = command(&["serve", "--grpc-addr", "0.0.0.0:0", "--rest-addr", "0.0.0.0:0"])
            .args(["--admin-addr", "off"])
            .args(arguments)
            .current_dir(folder.0.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let listening = Log::of(&mut child).listening("grpc").await;
        assert!(listening.address.ip().is_unspecified(), "{listening:?}");
        assert_eq!(listening.tls, has_tls);
        child.kill().await.expect("killed");
    }
    // Loopback has several addresses, and needs no TLS.
    for address in ["127.0.0.2:0", "[::ffff:127.0.0.1]:0"] {
        let mut child = command(&["serve", "--grpc-addr", address, "--rest-addr", "127.0.0.1:0"])
            .args(["--admin-addr", "off"])
            .current_dir(folder.0.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        Log::of(&mut child).listening("grpc").await;
        child.kill().await.expect("killed");
    }
}
