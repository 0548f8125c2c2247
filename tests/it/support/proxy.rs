//! A network between the service and PostgreSQL that can be made to fail.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sea_orm::sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{Mutex, watch},
    task::JoinSet,
};

use super::TestDatabase;

/// Forwards connections to a database until it is made to fail. Ends when it is dropped.
pub struct Proxy {
    url: String,
    network: Arc<Network>,
    _tasks: JoinSet<()>,
}

struct Network {
    upstream: Upstream,
    state: watch::Sender<State>,
    /// The statement at which to cut the connection on which a client sends it next.
    cut_at: Mutex<Option<(Statement, Cut)>>,
    opened: AtomicU64,
    /// How often something was forwarded from the server, and after how many times the network falls silent.
    answers: AtomicU64,
    last_answer: AtomicU64,
}

enum Upstream {
    Socket(PathBuf),
    Address(String),
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Connections with a lower number are closed.
    cut_below: u64,
    /// Connections with a lower number are never again forwarded.
    forgotten_below: u64,
    /// Nothing is forwarded.
    silent: bool,
}

/// A statement that ends a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    Commit,
    Rollback,
}

impl Statement {
    fn is_in(self, message: &[u8]) -> bool {
        let text: &[u8] = match self {
            Self::Commit => b"COMMIT",
            Self::Rollback => b"ROLLBACK",
        };
        message.windows(text.len()).any(|window| window == text)
    }
}

/// When to cut a connection at a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The server does not learn of the statement.
    Before,
    /// The server has carried it out; the client does not learn it.
    After,
}

impl Proxy {
    /// Starts a proxy before `database`.
    pub async fn before(database: &TestDatabase) -> Self {
        let options: PgConnectOptions = database.url().parse().expect("a PostgreSQL URL");
        let upstream = match options.get_socket() {
            Some(folder) => Upstream::Socket(socket(folder, options.get_port())),
            None => Upstream::Address(format!("{}:{}", options.get_host(), options.get_port())),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let network = Arc::new(Network {
            upstream,
            state: watch::Sender::default(),
            cut_at: Mutex::default(),
            opened: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            last_answer: AtomicU64::new(u64::MAX),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&network)));
        Self {
            url: through(database.url(), address),
            network,
            _tasks: tasks,
        }
    }

    /// The database's URL, through this proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Forwards nothing from now on, but still accepts connections.
    pub fn fall_silent(&self) {
        self.network.state.send_modify(|state| state.silent = true);
    }

    /// Forwards nothing more once it has forwarded so many answers.
    pub fn fall_silent_after(&self, answers: u64) {
        self.network.last_answer.store(answers, Ordering::Relaxed);
    }

    /// How many answers it has forwarded or held back.
    pub fn answers(&self) -> u64 {
        self.network.answers.load(Ordering::Relaxed)
    }

    /// Whether it forwards nothing.
    pub fn is_silent(&self) -> bool {
        self.network.state.borrow().silent
    }

    /// Forwards again, also what was held back.
    pub fn recover(&self) {
        self.network.state.send_modify(|state| state.silent = false);
    }

    /// Forwards again, but only new connections. The others are silently dead, as after a restart of a firewall.
    pub fn recover_without_memory(&self) {
        let opened = self.network.opened.load(Ordering::Relaxed);
        self.network.state.send_modify(|state| {
            state.silent = false;
            state.forgotten_below = opened;
        });
    }

    /// Closes every connection; new ones work.
    pub fn cut(&self) {
        let opened = self.network.opened.load(Ordering::Relaxed);
        self.network.state.send_modify(|state| state.cut_below = opened);
    }

    /// Cuts the connection on which `statement` is sent next.
    pub async fn cut_at_next(&self, statement: Statement, cut: Cut) {
        *self.network.cut_at.lock().await = Some((statement, cut));
    }

    /// Whether the statement has come.
    pub async fn has_cut(&self) -> bool {
        self.network.cut_at.lock().await.is_none()
    }
}

fn socket(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

/// `url` with another address. The user and the database stay.
fn through(url: &str, address: SocketAddr) -> String {
    let url = url.split_once('?').map_or(url, |(url, _options)| url);
    let (_scheme, rest) = url.split_once("://").expect("a URL");
    let (user, rest) = rest.rsplit_once('@').expect("a URL with a user");
    let (_server, database) = rest.split_once('/').expect("a URL with a database");
    format!("postgres://{user}@{address}/{database}?sslmode=disable")
}

async fn accept(listener: TcpListener, network: Arc<Network>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("a connection");
        client.set_nodelay(true).expect("no delay");
        let number = network.opened.fetch_add(1, Ordering::Relaxed);
        let network = Arc::clone(&network);
        connections.spawn(async move {
            let mut state = network.state.subscribe();
            tokio::select! {
                _ = network.forward(number, client) => {}
                _ = state.wait_for(|state| number < state.cut_below) => {}
            }
        });
    }
}

impl Network {
    async fn forward(&self, number: u64, client: TcpStream) -> io::Result<()> {
        match &self.upstream {
            Upstream::Socket(path) => self.join(number, client, UnixStream::connect(path).await?).await,
            Upstream::Address(address) => self.join(number, client, TcpStream::connect(address).await?).await,
        }
    }

    async fn join(&self, number: u64, client: TcpStream, server: impl AsyncRead + AsyncWrite) -> io::Result<()> {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = tokio::io::split(server);
        let up = async {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let count = from_client.read(&mut buffer).await?;
                self.is_open(number).await;
                if count == 0 {
                    return Ok(false);
                }
                let message = &buffer[..count];
                let cut = self
                    .cut_at
                    .lock()
                    .await
                    .take_if(|(statement, _)| statement.is_in(message));
                match cut.map(|(_, cut)| cut) {
                    None => to_server.write_all(message).await?,
                    Some(Cut::Before) => return Ok(false),
                    Some(Cut::After) => {
                        to_server.write_all(message).await?;
                        return Ok(true);
                    }
                }
            }
        };
        let down = async {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let count = from_server.read(&mut buffer).await?;
                if self.answers.fetch_add(1, Ordering::Relaxed) >= self.last_answer.load(Ordering::Relaxed) {
                    self.state.send_modify(|state| state.silent = true);
                }
                self.is_open(number).await;
                if count == 0 {
                    return Ok(false);
                }
                to_client.write_all(&buffer[..count]).await?;
            }
        };
        let hear_it_out: io::Result<bool> = tokio::select! {
            result = up => result,
            result = down => result,
        };
        if hear_it_out? {
            // The server responds after it has committed.
            let _answered = from_server.read(&mut [0; 1024]).await?;
        }
        Ok(())
    }

    /// Returns when what comes on the connection may be forwarded.
    async fn is_open(&self, number: u64) {
        let mut state = self.state.subscribe();
        let open = state.wait_for(|state| !state.silent && number >= state.forgotten_below);
        let _ = open.await;
    }
}
