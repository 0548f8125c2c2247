//! A long run under a steady mixed load while one fault follows the other: the service recovers from each, loses nothing, and its
//! memory does not grow.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    Size,
    certificates::Secure,
    crash::{recovery, verify},
    fleet::{Fleet, Link},
    kills::{block_on, planted},
    support::{
        Api, Client, PostgresServer, Proxy, TestDatabase,
        effects::{faults, forgotten},
        load::{self, Call, Change, Fate, clients, devices_of, make, tally},
        organization,
    },
};

const INSTANCES: usize = 2;
/// The instance whose memory is compared; it lives all the time.
const OLD: usize = 0;
/// The instance that is killed.
const YOUNG: usize = 1;
const CALLERS: usize = 8;
/// How long a caller waits between two calls: the load is steady, and the machine has time for all of it.
const PAUSE: Duration = Duration::from_millis(25);
/// How long a fault lasts.
const LASTS: Duration = Duration::from_secs(3);
/// How soon all calls succeed again.
const RECOVERY: Duration = Duration::from_secs(5);
/// The time from one fault to the next.
const INTERVAL: Duration = Duration::from_secs(20);
/// After so many faults, all rows are compared with all calls.
const CHECKED: u32 = 15;
/// How much more memory the last third of the run may take than the second.
const GROWTH: f64 = 1.15;
/// The full disk needs a file system that is small enough to be filled.
const SMALL: u64 = 4 * 1024 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KillInstance,
    PauseInstance,
    CutConnections,
    SilentNetwork,
    KillDatabase,
    PauseDatabase,
    SlowDatabase,
    FullDisk,
    Certificate,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::KillInstance,
        Self::PauseInstance,
        Self::CutConnections,
        Self::SilentNetwork,
        Self::KillDatabase,
        Self::PauseDatabase,
        Self::SlowDatabase,
        Self::FullDisk,
        Self::Certificate,
    ];
}

pub fn run(size: Size) -> String {
    block_on(async move {
        planted().await;
        let leak: Vec<u64> = (0..180).map(|fault| (60_000 + fault * 200) * 1024).collect();
        assert!(
            Memory::of(&leak).has_grown(),
            "200 KiB that leak at each fault are found"
        );
        // Blocks this thread on purpose: the server ends with the thread that starts it, and this thread runs all of this.
        let server = PostgresServer::start_durable(&[]).expect("a server");
        let told = soak(&server, size).await;
        server.stop();
        told
    })
}

async fn soak(server: &PostgresServer, size: Size) -> String {
    let database = TestDatabase::on(server).await;
    let proxy = Proxy::before(&database).await;
    let key = organization(&database, "acme").await;
    let mut fleet = Fleet::start(proxy.url(), INSTANCES).await;
    let secure = Secure::serve(proxy.url(), &key).await;
    let links = [
        Link::lasting(&fleet, Api::Grpc, size.seed).await,
        Link::lasting(&fleet, Api::Rest, size.seed).await,
    ];
    let load = Steady::start(clients(CALLERS, |api| {
        links[usize::from(api != Api::Grpc)].client(&key)
    }));
    let is_long = size.rounds > CHECKED;
    let small = is_small(server.private().folder());
    let chosen: Vec<_> = Fault::ALL
        .into_iter()
        .filter(|fault| *fault != Fault::FullDisk || small)
        .collect();

    let mut slowest: BTreeMap<Fault, Duration> = BTreeMap::new();
    let (mut memory, mut calls) = (Vec::new(), Vec::new());
    for (number, fault) in (0..size.rounds).zip(chosen.iter().copied().cycle()) {
        let began = Instant::now();
        load.succeeds().await;
        match fault {
            Fault::KillInstance => fleet.kill(YOUNG).await,
            Fault::PauseInstance => {
                fleet.signal(YOUNG, "-STOP").await;
                tokio::time::sleep(LASTS).await;
                fleet.signal(YOUNG, "-CONT").await;
            }
            Fault::CutConnections => proxy.cut(),
            Fault::SilentNetwork => {
                proxy.fall_silent();
                tokio::time::sleep(LASTS).await;
                proxy.recover();
            }
            Fault::KillDatabase => {
                server.kill();
                tokio::time::sleep(LASTS).await;
                server.restart();
            }
            Fault::PauseDatabase => {
                signal(server, "-STOP");
                tokio::time::sleep(LASTS).await;
                signal(server, "-CONT");
            }
            Fault::SlowDatabase => slow(server).await,
            Fault::FullDisk => full_disk(server).await,
            Fault::Certificate => secure.replace_certificate().await,
        }
        let back = Instant::now();
        load.succeeds().await;
        if is_long {
            // A late failure shows until then.
            tokio::time::sleep_until((back + RECOVERY).into()).await;
        }
        let made = load.take();
        println!("{number}, {fault:?}: {}", tally(&made));
        for call in &made {
            let is_typed = match &call.fate {
                Fate::Answered { code, retry_after } => {
                    code == "OK" || (code == "UNAVAILABLE" && retry_after.is_some())
                }
                // Only an instance that is killed leaves its calls without an answer.
                Fate::Lost { .. } => fault == Fault::KillInstance,
            };
            assert!(is_typed, "{fault:?}: {call:?}");
        }
        let recovered = recovery(&made, back);
        assert!(recovered <= RECOVERY, "{fault:?}: {recovered:?}");
        let longest = slowest.entry(fault).or_default();
        *longest = recovered.max(*longest);
        calls.extend(made);
        memory.push(fleet.memory(OLD));
        if number % CHECKED == CHECKED - 1 {
            verify(&database).await;
        }
        if is_long && number + 1 < size.rounds {
            tokio::time::sleep(INTERVAL.saturating_sub(began.elapsed())).await;
        }
    }
    calls.extend(load.finish().await);
    verify(&database).await;
    assert_eq!(faults(&database, &calls).await, [""; 0]);
    let askers = clients(8, |api| links[usize::from(api != Api::Grpc)].client(&key));
    assert_eq!(forgotten(&calls, &askers).await, [""; 0]);
    secure.stop().await;
    fleet.stop().await;

    let memory = Memory::of(&memory);
    // A short run has not filled caches and buffers yet.
    assert!(!is_long || !memory.has_grown(), "{memory:?}");
    let acknowledged = calls.iter().filter(|call| call.is_ok()).count();
    let without = if small {
        ""
    } else {
        " without a full disk, which needs a small file system for TMPDIR"
    };
    format!(
        "{} faults{without}, {acknowledged} acknowledged calls: none lost, none done twice or in part; recovered within {slowest:.1?}; \
         {memory:?}",
        size.rounds
    )
}

/// The memory of a process after each fault, in KiB.
#[derive(Debug)]
struct Memory {
    /// The mean of the second third of the run: the first one also fills caches and buffers.
    first: u64,
    /// The mean of the last third.
    later: u64,
}

impl Memory {
    fn of(bytes: &[u64]) -> Self {
        let mean = |part: &[u64]| part.iter().sum::<u64>() / part.len().max(1) as u64 / 1024;
        let third = bytes.len() / 3;
        Self {
            first: mean(&bytes[third..2 * third]),
            later: mean(&bytes[2 * third..]),
        }
    }

    fn has_grown(&self) -> bool {
        self.later as f64 > self.first as f64 * GROWTH
    }
}

/// Callers that make one call after the other, with pauses.
struct Steady {
    calls: Arc<Mutex<Vec<Call>>>,
    succeeded: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    callers: JoinSet<()>,
}

impl Steady {
    fn start(clients: Vec<Client>) -> Self {
        let mut load = Self {
            calls: Arc::default(),
            succeeded: Arc::default(),
            stop: Arc::default(),
            callers: JoinSet::new(),
        };
        for (caller, client) in clients.into_iter().enumerate() {
            let (calls, succeeded, stop) = (
                Arc::clone(&load.calls),
                Arc::clone(&load.succeeded),
                Arc::clone(&load.stop),
            );
            load.callers.spawn(async move {
                for number in 0.. {
                    let email = format!("{caller}-{number}@example.com");
                    let devices = devices_of(&email);
                    let mut changes = vec![Change::Assign(devices.clone())];
                    if client.api == Api::Grpc {
                        changes.push(Change::Unassign(devices[1..].to_vec()));
                    }
                    for change in changes {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let call = make(&client, email.clone(), change).await;
                        let is_ok = call.is_ok();
                        succeeded.fetch_add(is_ok.into(), Ordering::Relaxed);
                        calls.lock().expect("no panic").push(call);
                        tokio::time::sleep(PAUSE).await;
                        if !is_ok {
                            break;
                        }
                    }
                }
            });
        }
        load
    }

    /// Returns when each caller has succeeded once more, on average.
    async fn succeeds(&self) {
        let goal = self.succeeded.load(Ordering::Relaxed) + CALLERS;
        load::eventually("calls succeed", Duration::from_secs(30), async || {
            self.succeeded.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    /// The calls that have ended since the last time.
    fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().expect("no panic"))
    }

    async fn finish(self) -> Vec<Call> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
        std::mem::take(&mut *self.calls.lock().expect("no panic"))
    }
}

/// Lets the database run for a fifth of the time, as on a disk that is slow.
async fn slow(server: &PostgresServer) {
    let start = Instant::now();
    while start.elapsed() < LASTS {
        signal(server, "-STOP");
        tokio::time::sleep(Duration::from_millis(40)).await;
        signal(server, "-CONT");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends every process of the server a signal.
fn signal(server: &PostgresServer, signal: &str) {
    let file = server.private().data().join("postmaster.pid");
    let file = fs::read_to_string(file).expect("a running server");
    let id = file.lines().next().expect("its process");
    for (program, arguments) in [("kill", [signal, id].as_slice()), ("pkill", &[signal, "-P", id])] {
        let sent = Command::new(program).args(arguments).status().expect("a program");
        assert!(sent.success(), "{program} {arguments:?}");
    }
}

/// Whether the file system of a folder can be filled.
fn is_small(folder: &Path) -> bool {
    let system = rustix::fs::statvfs(folder).expect("a file system");
    system.f_blocks * system.f_frsize <= SMALL
}

/// Fills the file system of the database, and makes room again. PostgreSQL ends when it cannot write its log, so it is started again, as
/// an operator does.
async fn full_disk(server: &PostgresServer) {
    let filler = server.private().folder().join("filler");
    let mut file = fs::File::create(&filler).expect("a file");
    let zeros = vec![0; 1024 * 1024];
    while file.write_all(&zeros).is_ok() {}
    tokio::time::sleep(LASTS).await;
    drop(file);
    fs::remove_file(&filler).expect("removed");
    server.kill();
    server.restart();
}
