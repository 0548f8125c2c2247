//! Followers of changes: a process of its own that holds streams open, checks that no change is missing, and measures how late
//! changes come.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use device_assignment::pb::{WatchChangesRequest, change_service_client::ChangeServiceClient};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tonic::{Request, transport::Endpoint};

use crate::server::cpu;

/// Streams that share one HTTP/2 connection: fewer than the service allows.
const STREAMS_PER_CONNECTION: usize = 100;

/// The task of the followers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Following {
    pub address: SocketAddr,
    /// A key of each organization. The streams follow the organizations in turns.
    pub keys: Vec<String>,
    /// The revision of each organization that its streams begin after.
    pub after: Vec<u64>,
    pub streams: usize,
    /// Whether to read at once, or only at the end.
    pub reads: bool,
}

/// The results of the followers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Heard {
    pub changes: u64,
    /// How late changes came, in milliseconds. Without meaning if they were read at the end.
    pub lag_p50: f64,
    pub lag_p99: f64,
    /// The CPU time of the followers, in seconds, without that of opening the streams.
    pub cpu: f64,
}

/// Runs the process of the followers: reads a [`Following`] from stdin, prints a line when all streams are open, reads the last
/// revision of each organization, and prints a [`Heard`] when all streams have reached it.
pub fn main() {
    let following: Following = serde_json::from_str(&line()).expect("a task");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let heard = runtime.block_on(follow(following));
    println!("{}", serde_json::to_string(&heard).expect("JSON"));
}

/// The next line of stdin.
fn line() -> String {
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("text");
    line
}

type Lags = Arc<Mutex<Histogram<u64>>>;

async fn follow(following: Following) -> Heard {
    let (end, ends) = watch::channel(None::<Vec<u64>>);
    let (opened, mut is_open) = mpsc::channel(following.streams);
    let lags = Lags::new(Mutex::new(Histogram::new(3).expect("a histogram")));
    let mut streams = JoinSet::new();
    let mut channel = None;
    for number in 0..following.streams {
        if number % STREAMS_PER_CONNECTION == 0 {
            let endpoint = Endpoint::from_shared(format!("http://{}", following.address)).expect("an endpoint");
            channel = Some(endpoint.connect_lazy());
        }
        let organization = number % following.keys.len();
        let stream = Stream {
            service: ChangeServiceClient::new(channel.clone().expect("a channel"))
                .max_decoding_message_size(usize::MAX),
            key: following.keys[organization].clone(),
            organization,
            revision: following.after[organization],
            reads: following.reads,
            ends: ends.clone(),
        };
        streams.spawn(stream.run(opened.clone(), Arc::clone(&lags)));
    }
    drop(opened);
    for _ in 0..following.streams {
        is_open.recv().await.expect("a stream");
    }
    let opened_at = cpu("self");
    println!("open");
    io::stdout().flush().expect("written");
    let heads = tokio::task::spawn_blocking(line).await.expect("a line");
    end.send_replace(Some(serde_json::from_str(&heads).expect("revisions")));
    let mut heard = Heard::default();
    while let Some(changes) = streams.join_next().await {
        heard.changes += changes.expect("no panic");
    }
    heard.cpu = cpu("self") - opened_at;
    let lags = lags.lock().expect("no panic");
    let millis = |quantile| lags.value_at_quantile(quantile) as f64 / 1_000.0;
    (heard.lag_p50, heard.lag_p99) = (millis(0.5), millis(0.99));
    heard
}

struct Stream {
    service: ChangeServiceClient<tonic::transport::Channel>,
    key: String,
    organization: usize,
    /// The last revision that was received.
    revision: u64,
    reads: bool,
    ends: watch::Receiver<Option<Vec<u64>>>,
}

impl Stream {
    /// Returns how many changes it has received.
    async fn run(mut self, opened: mpsc::Sender<()>, lags: Lags) -> u64 {
        let first = self.revision;
        let mut request = Request::new(WatchChangesRequest {
            after_revision: first,
            ..WatchChangesRequest::default()
        });
        let key = self.key.parse().expect("metadata");
        request.metadata_mut().insert("x-api-key", key);
        let stream = self.service.watch_changes(request).await;
        let mut stream = stream.expect("a stream").into_inner();
        let heartbeat = stream.message().await.expect("a message").expect("no end");
        assert!(heartbeat.changes.is_empty(), "nothing is written yet");
        opened.send(()).await.expect("somebody waits");
        if !self.reads {
            self.ends.wait_for(Option::is_some).await.expect("an end");
        }
        loop {
            let last = self.ends.borrow().as_ref().map(|heads| heads[self.organization]);
            if last.is_some_and(|last| self.revision >= last) {
                return self.revision - first;
            }
            let message = tokio::select! {
                message = stream.message() => message.expect("a message").expect("no end"),
                _ = self.ends.changed() => continue,
            };
            let now = SystemTime::now();
            for change in message.changes {
                assert_eq!(change.revision, self.revision + 1, "in order, without a gap");
                self.revision = change.revision;
                let at = humantime::parse_rfc3339(&change.at).expect("a time");
                let lag = now.duration_since(at).unwrap_or_default();
                let micros = u64::try_from(lag.as_micros()).expect("a short time");
                lags.lock().expect("no panic").record(micros).expect("within bounds");
            }
        }
    }
}

/// Running followers, all of whose streams are open.
pub struct Followers {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Followers {
    /// Starts followers, and returns when all their streams are open.
    pub fn start(following: &Following) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("follow")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the followers start");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut followers = Self { child, stdout };
        followers.write(following);
        assert_eq!(followers.line(), "open\n");
        followers
    }

    /// Waits until each stream has the last revision of its organization.
    pub fn finish(mut self, heads: &[u64]) -> Heard {
        self.write(&heads);
        let heard = serde_json::from_str(&self.line()).expect("what they heard");
        assert!(self.child.wait().expect("an end").success(), "the followers failed");
        heard
    }

    fn write(&mut self, task: &impl Serialize) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{}", serde_json::to_string(task).expect("JSON")).expect("written");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        line
    }
}
