//! Calls with curl and grpcurl.

use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use crate::{
    start::{Welcome, paste, welcome},
    support::{
        PATH, Program, Suite,
        program::{command, stderr, stdout},
        tls::{Authority, Folder},
    },
};

pub fn register(suite: &mut Suite) {
    suite.test("tls::curl_checks_the_certificate", curl);
    suite.test("tls::curl_shows_a_certificate", curl_with_certificate);
    suite.test("tls::the_printed_curl_line_works_as_pasted", printed_curl);
    suite.with_grpcurl("tls::grpcurl_checks_the_certificate", grpcurl);
    suite.with_grpcurl("tls::grpcurl_shows_a_certificate", grpcurl_with_certificate);
    suite.with_grpcurl("tls::the_printed_grpcurl_line_works_as_pasted", printed_grpcurl);
}

const METHOD: &str = "telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner";

/// A fresh service that speaks TLS, in a folder with files for its clients.
struct Fresh {
    folder: Folder,
    program: Program,
    welcome: Welcome,
}

impl Fresh {
    async fn start(clients_need_certificates: bool) -> Self {
        let authority = Authority::new("authority");
        let folder = Folder::new();
        folder.put("ca.crt", &authority.pem());
        folder.put_identity("server", &authority.issue("service"));
        folder.put_identity("client", &authority.issue("client"));
        folder.put_identity("stranger", &Authority::new("other").issue("stranger"));
        let mut serve = command(&["serve", "--tls-cert", "server.crt", "--tls-key", "server.key"]);
        if clients_need_certificates {
            serve.args(["--tls-client-ca", "ca.crt"]);
        }
        serve.current_dir(folder.0.path());
        let mut program = Program::on_terminal(serve).await;
        let welcome = welcome(&mut program).await;
        Self {
            folder,
            program,
            welcome,
        }
    }

    async fn run(&self, program: &str, options: &[&str], arguments: &[String]) -> Output {
        let mut command = Command::new(program);
        // No proxy of this machine stands between it and itself.
        command
            .env("NO_PROXY", "*")
            .current_dir(self.folder.0.path())
            .args(options)
            .args(arguments);
        command.output().await.expect("the program runs")
    }

    /// Makes a call with curl, which prints the version of HTTP and the status.
    async fn curl(&self, scheme: &str, options: &[&str]) -> Output {
        let body = r#"{"customerEmail": "john@example.com", "deviceIdentifiers": ["SN-1"], "autoCreateDevices": true, "deviceType": "sensor"}"#;
        let arguments = [
            "--silent",
            "--output",
            "answer",
            "--write-out",
            "%{http_version} %{http_code}",
            "--header",
            &format!("x-api-key: {}", self.welcome.key),
            "--header",
            "content-type: application/json",
            "--data",
            body,
            &format!("{scheme}://localhost:{}{PATH}", self.program.rest.port()),
        ];
        self.run("curl", options, &arguments.map(str::to_owned)).await
    }

    async fn grpcurl(&self, options: &[&str]) -> Output {
        let body = r#"{"customer_email": "john@example.com", "device_identifiers": ["SN-1"], "auto_create_devices": true, "device_type": "sensor"}"#;
        let arguments = [
            "-max-time",
            "20",
            "-H",
            &format!("x-api-key: {}", self.welcome.key),
            "-d",
            body,
            &format!("localhost:{}", self.program.grpc.port()),
            METHOD,
        ];
        self.run("grpcurl", options, &arguments.map(str::to_owned)).await
    }
}

#[track_caller]
fn assert_called(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
    let answer: Value = serde_json::from_str(&stdout(output)).expect("JSON");
    assert_eq!(answer["success"], true, "{answer}");
}

#[track_caller]
fn assert_fails(output: &Output) {
    assert!(!output.status.success(), "{}", stdout(output));
}

async fn curl() {
    let fresh = Fresh::start(false).await;
    for (options, printed) in [
        (&["--cacert", "ca.crt"][..], "2 200"),
        (&["--cacert", "ca.crt", "--http1.1"], "1.1 200"),
        (&["--cacert", "ca.crt", "--tls-max", "1.2"], "2 200"),
        (&["--cacert", "ca.crt", "--tlsv1.3"], "2 200"),
    ] {
        let output = fresh.curl("https", options).await;
        assert_eq!(stdout(&output), printed, "{options:?}: {}", stderr(&output));
    }
    // 60: curl does not know the authority.
    assert_eq!(fresh.curl("https", &[]).await.status.code(), Some(60));
    assert_fails(&fresh.curl("http", &[]).await);
    assert_fails(&fresh.curl("https", &["--cacert", "ca.crt", "--tls-max", "1.1"]).await);
    let (code, log) = fresh.program.terminate().await;
    assert_eq!(code, Some(0));
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

async fn curl_with_certificate() {
    let fresh = Fresh::start(true).await;
    let known = ["--cacert", "ca.crt", "--cert", "client.crt", "--key", "client.key"];
    let stranger = ["--cacert", "ca.crt", "--cert", "stranger.crt", "--key", "stranger.key"];
    assert_eq!(stdout(&fresh.curl("https", &known).await), "2 200");
    for options in [&stranger[..], &stranger[..2]] {
        let output = fresh.curl("https", options).await;
        assert_fails(&output);
        assert_eq!(stdout(&output), "0 000");
    }
    fresh.program.terminate().await;
}

async fn printed_curl() {
    for clients_need_certificates in [false, true] {
        let fresh = Fresh::start(clients_need_certificates).await;
        let line = &fresh.welcome.curl;
        let start = format!("https://{}/", fresh.program.rest);
        assert!(line.contains(&start), "{line}");
        let folder = fresh.folder.0.path().display();
        assert_called(&paste(&format!("cd '{folder}' && {line}")).await);
        fresh.program.terminate().await;
    }
}

async fn grpcurl() {
    let fresh = Fresh::start(false).await;
    assert_called(&fresh.grpcurl(&["-cacert", "ca.crt"]).await);
    assert_called(&fresh.grpcurl(&["-insecure"]).await);
    assert_fails(&fresh.grpcurl(&["-connect-timeout", "2"]).await);
    assert_fails(&fresh.grpcurl(&["-plaintext", "-connect-timeout", "2"]).await);
    fresh.program.terminate().await;
}

async fn grpcurl_with_certificate() {
    let fresh = Fresh::start(true).await;
    let known = ["-cacert", "ca.crt", "-cert", "client.crt", "-key", "client.key"];
    let stranger = ["-cacert", "ca.crt", "-cert", "stranger.crt", "-key", "stranger.key"];
    assert_called(&fresh.grpcurl(&known).await);
    for options in [&stranger[..], &stranger[..2]] {
        assert_fails(&fresh.grpcurl(&[options, &["-connect-timeout", "2"]].concat()).await);
    }
    fresh.program.terminate().await;
}

async fn printed_grpcurl() {
    for clients_need_certificates in [false, true] {
        let fresh = Fresh::start(clients_need_certificates).await;
        let folder = fresh.folder.0.path().display();
        let line = &fresh.welcome.grpcurl;
        assert_called(&paste(&format!("cd '{folder}' && {line}")).await);
        fresh.program.terminate().await;
    }
}
