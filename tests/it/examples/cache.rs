//! The caches in `examples/`: they follow the changes of a running service.

use std::{process::Stdio, time::Duration};

use device_assignment::service::begin_history;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{
    changes::world,
    support::{Api, Program, TestDatabase, example::Example, load::eventually, program::command},
};

/// The timeout for something that takes a second or two on an idle machine.
const HANGS: Duration = Duration::from_secs(60);

/// A running cache, which answers a line for each line.
struct Cache {
    _child: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Cache {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the example runs");
        Self {
            questions: child.stdin.take().expect("a pipe"),
            answers: BufReader::new(child.stdout.take().expect("a pipe")).lines(),
            _child: child,
        }
    }

    async fn ask(&mut self, identifier: &str) -> Option<String> {
        let question = format!("{identifier}\n");
        self.questions.write_all(question.as_bytes()).await.expect("written");
        self.answers.next_line().await.expect("text")
    }

    async fn answers(&mut self, identifier: &str, owner: &str) {
        let expected = format!("{identifier} {owner}");
        let asking = async || self.ask(identifier).await.as_ref() == Some(&expected);
        eventually(&expected, HANGS, asking).await;
    }
}

pub async fn follows(database: &TestDatabase, example: Example) {
    let key = world(database).await;
    let server = Program::serve(database.url()).await;
    let mut cache = Cache::start(example.command(&server, &key, &[]).await);
    let customer = async |email: &str| {
        let unchanged = server.client(Api::Grpc, &key).assign(email, &["SN-1"]).await.ok();
        unchanged.body["customerId"].as_str().expect("an id").to_owned()
    };
    let answer = cache.ask("SN-1").await.expect("an answer");
    let ann = customer("ann@example.com").await;
    assert_eq!(answer, format!("SN-1 {ann}"));
    for (identifier, answer) in [("SN-3", "SN-3 no owner"), ("SN-9", "SN-9 unknown")] {
        assert_eq!(cache.ask(identifier).await.as_deref(), Some(answer));
    }
    let client = server.client(Api::Grpc, &key);
    client.assign("ann@example.com", &["SN-3"]).await.ok();
    cache.answers("SN-3", &ann).await;
    // It goes on with another process at the same address, and begins again with another history.
    let mut again = command(&["serve", "--database-url", database.url(), "--admin-addr", "127.0.0.1:0"]);
    again.args([
        "--grpc-addr",
        &server.grpc.to_string(),
        "--rest-addr",
        &server.rest.to_string(),
    ]);
    server.terminate().await;
    let opened = database.open().await;
    begin_history(&opened).await.expect("a history");
    opened.close().await;
    let server = Program::serving(again, None).await;
    let client = server.client(Api::Grpc, &key);
    client.unassign("ann@example.com", &["SN-3"]).await.ok();
    cache.answers("SN-3", "no owner").await;
    cache.answers("SN-1", &ann).await;
    // A wrong key is not tried again.
    let mut wrong = Cache::start(example.command(&server, "tlm_x", &[]).await);
    assert_eq!(wrong.ask("SN-1").await, None);
    server.terminate().await;
}
