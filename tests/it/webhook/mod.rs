//! `changes --webhook`, with receivers that fail. What it posts does not depend on the database.

mod receiver;

use std::{fs, process::Stdio, sync::Arc, time::Duration};

use device_assignment::service::begin_history;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, pem::PemObject},
    },
};

use self::receiver::{OLD_SECRET, Posted, Receiver, Reply, SECRET, Script, accepted};
use crate::{
    changes::{follower::get, world},
    support::{
        Api, Kind, Suite, TestDatabase, TestServer,
        load::eventually,
        new_key, organization,
        program::{Log, command, finish, refused, sentence, stderr, stdout},
        seed,
        tls::Authority,
    },
};

const ANN: &str = "ann@example.com";
const HANGS: Duration = Duration::from_secs(60);

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "webhook::a_change_is_posted_until_it_is_accepted", posts);
    suite.on(Kind::Sqlite, "webhook::kills_and_failures_lose_nothing", kills);
    suite.on(Kind::Sqlite, "webhook::a_rejection_ends_the_command", rejections);
    suite.on(Kind::Sqlite, "webhook::a_cursor_is_of_one_log", cursors);
    suite.on(Kind::Sqlite, "webhook::certificates_are_checked", certificates);
    suite.test("webhook::mistakes_are_explained", mistakes);
}

/// What the tests run: the command with a webhook and a cursor of its own.
struct Sender {
    folder: TempDir,
    server: String,
    key: String,
    url: String,
}

impl Sender {
    fn new(server: &TestServer, key: &str, receiver: &Receiver) -> Self {
        Self {
            folder: TempDir::new().expect("a folder"),
            server: format!("http://{}", server.grpc),
            key: key.to_owned(),
            url: format!("http://{}/hook?a=b", receiver.address),
        }
    }

    fn command(&self, arguments: &str) -> Command {
        let words: Vec<&str> = ["changes"].into_iter().chain(arguments.split_whitespace()).collect();
        let mut command = command(&words);
        command
            .args([
                "--webhook",
                &self.url,
                "--cursor",
                "cursor",
                "--webhook-timeout",
                "300ms",
            ])
            .current_dir(self.folder.path())
            .env("DEVICE_ASSIGNMENT_SERVER", &self.server)
            .env("DEVICE_ASSIGNMENT_API_KEY", &self.key)
            .env("DEVICE_ASSIGNMENT_WEBHOOK_SECRET", SECRET);
        command
    }

    fn follow(&self) -> (Child, Log) {
        let mut command = self.command("--follow");
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a program");
        let log = Log::of(&mut child);
        (child, log)
    }
}

async fn posts(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let script = Script::default();
    let receiver = Receiver::start(&script).await;
    let sender = Sender::new(&server, &key, &receiver);
    script.reply([
        Reply::Fail(429, Some("1")),
        Reply::Fail(500, None),
        Reply::Cut,
        Reply::Hang,
    ]);
    let (mut program, log) = sender.follow();
    let posted = script.accepted(4).await;
    let revisions: Vec<u64> = posted.iter().map(Posted::revision).collect();
    assert_eq!(revisions, [1, 1, 1, 1, 1, 2, 3, 4]);
    assert!(
        posted[1].at - posted[0].at >= Duration::from_secs(1),
        "Retry-After is honoured"
    );
    // The id says whose change it is, and the body is the change as the API has it.
    let rest = server.client(Api::Rest, &key);
    let page = get(&rest, "after=0").await.ok();
    let changes = page.body["changes"].as_array().expect("changes");
    let credentials = rest.request(Method::GET, "/api/ext-v1/credentials");
    let credentials = rest.send(credentials).await.ok();
    let organization = credentials.body["organizationId"].as_str().expect("an id");
    let history = page.body["history"].as_str().expect("an id");
    for posted in &posted {
        let revision = posted.revision();
        assert_eq!(posted.change, changes[usize::try_from(revision).expect("small") - 1]);
        assert_eq!(posted.id, format!("{organization}:{history}:{revision}"));
    }
    // The receiver is away for a while.
    let address = receiver.address;
    drop(receiver);
    let client = server.client(Api::Grpc, &key);
    client.assign(ANN, &["SN-3"]).await.ok();
    eventually("a failure", HANGS, async || log.so_far().contains("change 5: ")).await;
    let receiver = Receiver::start_at(address, None, &script).await;
    script.accepted(5).await;
    // The command is killed before it has an answer.
    script.reply([Reply::Hang]);
    let before = script.posted.borrow().len();
    client.unassign(ANN, &["SN-3"]).await.ok();
    script.posted(before + 1).await;
    program.kill().await.expect("killed");
    let log = log.whole().await;
    for line in [
        "change 1: 500 Internal Server Error; trying again in ",
        "change 1: no response within 300ms; trying again in ",
        "change 1: 429 Too Many Requests; trying again in 1.",
        "change 1: delivered\n",
        "change 5: delivered\n",
    ] {
        assert!(log.contains(line), "{line:?} in {log}");
    }
    assert!(!log.contains("change 2"), "{log}");
    let output = finish(sender.command("")).await;
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(0), ""),
        "{output:?}"
    );
    let posted = script.posted.borrow()[before..].to_vec();
    let ids: Vec<&str> = posted.iter().map(|posted| posted.id.as_str()).collect();
    assert_eq!((ids.len(), ids[0]), (2, ids[1]));
    assert_eq!(accepted(&posted), [6]);
    // There is nothing more to post.
    let output = finish(sender.command("")).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(script.posted.borrow().len(), before + 2);
    drop(receiver);
    server.stop().await;
}

/// Changes are made while the receiver fails and the command is killed at random.
async fn kills(database: &TestDatabase) {
    const LAST: u64 = 16;
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let script = Script::default();
    let receiver = Receiver::start(&script).await;
    let sender = Sender::new(&server, &key, &receiver);
    let client = server.client(Api::Grpc, &key);
    let mut random = StdRng::seed_from_u64(seed());
    let (mut program, mut log) = sender.follow();
    for revision in 5..=LAST {
        let reply = match random.random_range(0..8) {
            0 => Reply::Fail(503, Some("0")),
            1 => Reply::Cut,
            2 => Reply::Hang,
            _ => Reply::Accept,
        };
        script.reply([Reply::Accept, reply]);
        if revision % 2 == 1 {
            client.assign(ANN, &["SN-3"]).await.ok();
        } else {
            client.unassign(ANN, &["SN-3"]).await.ok();
        }
        if random.random_bool(0.4) {
            let count = script.posted.borrow().len();
            script.posted(count + usize::from(random.random_bool(0.5))).await;
            program.kill().await.expect("killed");
            log.whole().await;
            (program, log) = sender.follow();
        }
    }
    let posted = script.accepted(LAST).await;
    program.kill().await.expect("killed");
    // At any time, a change is posted whose predecessor has been accepted.
    let mut last_accepted = 0;
    for posted in &posted {
        let revision = posted.revision();
        assert!(
            revision == last_accepted || revision == last_accepted + 1,
            "{revision} after {last_accepted}"
        );
        if posted.reply == Reply::Accept {
            last_accepted = revision;
        }
    }
    let mut revisions = accepted(&posted);
    revisions.dedup();
    assert_eq!(revisions, (1..=LAST).collect::<Vec<_>>());
    drop(receiver);
    server.stop().await;
}

async fn rejections(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let script = Script::default();
    let receiver = Receiver::start(&script).await;
    let sender = Sender::new(&server, &key, &receiver);
    for (status, text) in [
        (410, "410 Gone"),
        (301, "301 Moved Permanently"),
        (401, "401 Unauthorized"),
    ] {
        script.reply([Reply::Fail(status, None)]);
        let said = sentence(&finish(sender.command("")).await, 1);
        let expected = format!("change 1 was not delivered: the receiver rejected it: {text}; fix that");
        assert!(said.contains(&expected), "{said}");
    }
    // The position of the start is kept before the first change is delivered, and another `--after` does not change it.
    let cursor = sender.folder.path().join("cursor");
    fs::remove_file(&cursor).expect("a cursor");
    script.reply([Reply::Fail(410, None)]);
    let said = sentence(&finish(sender.command("--after 2")).await, 1);
    assert!(said.contains("change 3 was not delivered"), "{said}");
    // While a new secret is introduced, both are used. With names, the change has them.
    let secrets = sender.folder.path().join("secrets");
    fs::write(&secrets, format!("{OLD_SECRET}\n{SECRET}\n")).expect("written");
    let output = finish(sender.command("--names --webhook-secret-file secrets")).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let posted = script.posted.borrow().clone();
    assert_eq!(accepted(&posted), [3, 4]);
    assert_eq!(posted[4].change["customers"][0]["email"], "bob@example.com");
    drop(receiver);
    server.stop().await;
}

async fn cursors(database: &TestDatabase) {
    let key = world(database).await;
    let other = organization(database, "third").await;
    let server = TestServer::start(database).await;
    let script = Script::default();
    let receiver = Receiver::start(&script).await;
    let mut sender = Sender::new(&server, &key, &receiver);
    let (mut program, log) = sender.follow();
    script.accepted(4).await;
    let said = sentence(&finish(sender.command("")).await, 1);
    assert!(said.contains("cursor: another process uses this cursor"), "{said}");
    program.kill().await.expect("killed");
    log.whole().await;
    // Another key of the same organization goes on.
    sender.key = new_key(database, "acme", None).await.secret.reveal().to_owned();
    let output = finish(sender.command("")).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    sender.key = other;
    let said = sentence(&finish(sender.command("")).await, 1);
    assert!(said.contains("cursor: the cursor belongs to org_"), "{said}");
    sender.key = key;
    let opened = database.open().await;
    begin_history(&opened).await.expect("a history");
    opened.close().await;
    eventually("the new history", HANGS, async || {
        let output = finish(sender.command("")).await;
        output.status.code() == Some(1) && stderr(&output).contains("delete the cursor file")
    })
    .await;
    assert_eq!(accepted(&script.posted.borrow()), [1, 2, 3, 4]);
    fs::write(sender.folder.path().join("cursor"), "4\n").expect("written");
    let said = sentence(&finish(sender.command("")).await, 1);
    assert!(said.contains("cursor: the file is not a cursor"), "{said}");
    drop(receiver);
    server.stop().await;
}

async fn certificates(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let script = Script::default();
    let authority = Authority::new("webhooks");
    let identity = authority.issue("receiver");
    let private_key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![identity.der()], private_key)
        .expect("an identity");
    let tls = TlsAcceptor::from(Arc::new(config));
    let receiver = Receiver::start_at(([127, 0, 0, 1], 0).into(), Some(tls), &script).await;
    let mut sender = Sender::new(&server, &key, &receiver);
    sender.url = sender.url.replace("http:", "https:");
    fs::write(sender.folder.path().join("ca.pem"), authority.pem()).expect("written");
    let (mut program, log) = sender.follow();
    let problem = "change 1: cannot be reached (the server's certificate is not signed by a trusted authority";
    eventually("a rejected certificate", HANGS, async || log.so_far().contains(problem)).await;
    program.kill().await.expect("killed");
    log.whole().await;
    assert_eq!(script.posted.borrow().len(), 0);
    let output = finish(sender.command("--webhook-ca ca.pem")).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(accepted(&script.posted.borrow()), [1, 2, 3, 4]);
    drop(receiver);
    server.stop().await;
}

async fn mistakes() {
    let to = "--webhook http://127.0.0.1:1/ --cursor /dev/null";
    let cases: [(&str, &str, i32, &str); 10] = [
        (
            to,
            "",
            2,
            "the webhook secret is missing; set DEVICE_ASSIGNMENT_WEBHOOK_SECRET, or name a file",
        ),
        (to, "s3cret", 2, "a webhook secret begins with whsec_; give one in"),
        (to, "whsec_s3cretss", 2, "a webhook secret has 24 to 64 bytes"),
        (
            "--webhook ftp://host/ --cursor c",
            SECRET,
            2,
            "--webhook: the URL must start with http:// or https://",
        ),
        (
            "--webhook http://a:s3cret@host/ --cursor c",
            SECRET,
            2,
            "--webhook: the URL must not contain a user",
        ),
        (
            "--webhook https://host/ --cursor c --webhook-ca /dev/null",
            SECRET,
            2,
            "--webhook-ca: the file has no certificate",
        ),
        (
            "--webhook http://127.0.0.1:1/",
            SECRET,
            2,
            "--webhook (from the command line): needs --cursor (DEVICE_ASSIGNMENT_CURSOR)",
        ),
        (
            "--cursor c",
            SECRET,
            2,
            "--cursor (from the command line): needs --webhook (DEVICE_ASSIGNMENT_WEBHOOK)",
        ),
        ("--names", SECRET, 2, "--names needs --json or --webhook"),
        (to, SECRET, 1, "http://127.0.0.1:9 cannot be reached: "),
    ];
    for (arguments, secret, code, problem) in cases {
        let words: Vec<&str> = ["changes"].into_iter().chain(arguments.split_whitespace()).collect();
        let mut command = command(&words);
        command
            .env("DEVICE_ASSIGNMENT_SERVER", "http://127.0.0.1:9")
            .env("DEVICE_ASSIGNMENT_API_KEY", "tlm_x")
            .env("DEVICE_ASSIGNMENT_WEBHOOK_SECRET", secret);
        let said = refused(&finish(command).await, code);
        assert!(said.contains(problem), "{arguments}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}
