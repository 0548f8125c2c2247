//! Processes of the service on one database that are killed and started again, and connections to them that break.

use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{
    Api, Client, Program,
    program::{command, command_of, memory},
};

/// The fewest and the most bytes of responses that a connection passes on before it breaks.
const BYTES: (u64, u64) = (1_000, 4_000_000);
/// The longest time until a connection breaks.
const LONGEST: Duration = Duration::from_secs(6);

/// How often a program is started that does not listen.
const STARTS: u32 = 5;

/// Instances of the service.
pub struct Fleet {
    url: String,
    /// Another program than the one that is tested.
    program: Option<OsString>,
    programs: Vec<Program>,
    addresses: Arc<Addresses>,
}

/// Where the instances listen now: for gRPC and for REST.
type Addresses = Mutex<Vec<[SocketAddr; 2]>>;

impl Fleet {
    pub async fn start(url: &str, instances: usize) -> Self {
        Self::start_with(None, url, instances).await
    }

    /// Starts instances of another program.
    pub async fn start_of(program: OsString, url: &str, instances: usize) -> Self {
        Self::start_with(Some(program), url, instances).await
    }

    async fn start_with(program: Option<OsString>, url: &str, instances: usize) -> Self {
        let mut fleet = Self {
            url: url.to_owned(),
            program,
            programs: Vec::new(),
            addresses: Arc::default(),
        };
        for _ in 0..instances {
            let program = fleet.serve().await;
            fleet.addresses().push([program.grpc, program.rest]);
            fleet.programs.push(program);
        }
        fleet
    }

    /// One key makes all calls, as fast as they are answered.
    async fn serve(&self) -> Program {
        for _ in 0..STARTS {
            let arguments = ["serve", "--database-url", &self.url];
            let mut serve = match &self.program {
                Some(program) => command_of(program.clone(), &arguments),
                None => command(&arguments),
            };
            serve.args(["--key-calls-per-second", "0", "--key-devices-per-second", "0"]);
            if self.program.is_none() {
                serve.args(["--key-change-streams", "1000"]);
            }
            // A busy machine can be too slow for it to reach the database in time. A supervisor starts it again, too.
            if let Ok(program) = tokio::spawn(Program::spawn(serve)).await {
                return program;
            }
        }
        panic!("the program does not start");
    }

    /// Kills an instance with `kill -9`, and starts another one in its place.
    pub async fn kill(&mut self, instance: usize) {
        let program = self.serve().await;
        self.addresses()[instance] = [program.grpc, program.rest];
        let killed = std::mem::replace(&mut self.programs[instance], program);
        let log = killed.kill().await;
        assert!(!log.contains("panicked"), "{log}");
    }

    /// Sends an instance a signal.
    pub async fn signal(&self, instance: usize, signal: &str) {
        self.programs[instance].signal(signal).await;
    }

    /// How much memory an instance takes, in bytes.
    pub fn memory(&self, instance: usize) -> u64 {
        memory(self.programs[instance].id())
    }

    /// Sets the program of the instances that are started from now on.
    pub fn set_program(&mut self, program: Option<OsString>) {
        self.program = program;
    }

    /// Starts another instance in the place of one, which is then stopped as a supervisor does.
    pub async fn replace(&mut self, instance: usize) {
        let program = self.serve().await;
        self.addresses()[instance] = [program.grpc, program.rest];
        let stopped = std::mem::replace(&mut self.programs[instance], program);
        let (code, log) = stopped.terminate().await;
        assert_eq!(code, Some(0), "{log}");
    }

    /// Stops all instances.
    pub async fn stop(self) {
        for program in self.programs {
            let (code, log) = program.terminate().await;
            assert_eq!(code, Some(0), "{log}");
        }
    }

    fn addresses(&self) -> std::sync::MutexGuard<'_, Vec<[SocketAddr; 2]>> {
        self.addresses.lock().expect("no panic")
    }
}

/// An address whose connections lead to random instances. It ends when it is dropped.
pub struct Link {
    api: Api,
    address: SocketAddr,
    cuts: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

/// When a connection breaks.
#[derive(Debug, Clone, Copy)]
struct End {
    /// After so many bytes of responses.
    bytes: u64,
    after: Duration,
}

impl Link {
    /// Its connections last as long as their instance.
    pub async fn lasting(fleet: &Fleet, api: Api, seed: u64) -> Self {
        Self::start(fleet, api, seed, |_| End {
            bytes: u64::MAX,
            after: Duration::MAX,
        })
        .await
    }

    /// Its connections break at random, also within a message.
    pub async fn breaking(fleet: &Fleet, api: Api, seed: u64) -> Self {
        Self::start(fleet, api, seed, |random| {
            let (fewest, most) = BYTES;
            // As many between 1 and 10 KB as between 10 and 100 KB.
            let size = random.random_range((fewest as f64).ln()..(most as f64).ln());
            End {
                bytes: Duration::from_secs_f64(size.exp()).as_secs(),
                after: LONGEST.mul_f64(random.random_range(0.01..1.0)),
            }
        })
        .await
    }

    async fn start(fleet: &Fleet, api: Api, seed: u64, end: fn(&mut StdRng) -> End) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (addresses, cuts) = (Arc::clone(&fleet.addresses), Arc::<AtomicU64>::default());
        let mut task = JoinSet::new();
        task.spawn({
            let cuts = Arc::clone(&cuts);
            async move {
                let mut random = StdRng::seed_from_u64(seed);
                let mut connections = JoinSet::new();
                loop {
                    let (client, _) = listener.accept().await.expect("a connection");
                    let instance = {
                        let addresses = addresses.lock().expect("no panic");
                        addresses[random.random_range(0..addresses.len())]
                    };
                    let address = instance[usize::from(api != Api::Grpc)];
                    let (end, cuts) = (end(&mut random), Arc::clone(&cuts));
                    connections.spawn(async move {
                        // An instance that was killed closes its connections, too.
                        let _ = forward(client, address, end).await;
                        cuts.fetch_add(1, Ordering::Relaxed);
                    });
                }
            }
        });
        Self {
            api,
            address,
            cuts,
            _task: task,
        }
    }

    pub fn client(&self, key: &str) -> Client {
        Client::new(self.api, self.address, key)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections have ended.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Whether a call failed because its connection broke or its instance ended, or because the machine is busy: there is no error of
/// the service, or one that a retry helps against.
pub fn is_interruption(status: &Status) -> bool {
    // Every error of the service has a reason, except an internal one.
    let is_of_service = status.get_details_error_info().is_some() || status.message() == "Internal error";
    !is_of_service || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

async fn forward(mut client: TcpStream, instance: SocketAddr, end: End) -> io::Result<()> {
    let mut server = TcpStream::connect(instance).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.split();
    let (from_server, mut to_server) = server.split();
    let mut from_server = from_server.take(end.bytes);
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
        () = tokio::time::sleep(end.after) => {}
    }
    Ok(())
}
