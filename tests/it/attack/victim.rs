//! The program under attack: its memory, and the calls of another organization.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::process::Command;

use crate::support::{
    Api, Client, Load, Program, TestDatabase,
    effects::faults,
    load::{Call, clients, tally},
    organization,
    program::command,
    tls::{Authority, Folder, Peer, Tunnel},
};

pub const MIB: u64 = 1024 * 1024;

/// The addresses of the attackers and of the other organization.
pub const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
const INNOCENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

/// Callers of the other organization.
const CALLERS: usize = 4;

/// How the service is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Plain,
    Tls,
    /// REST through a gateway in a process of its own, whose memory is measured.
    Gateway,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Plain, Self::Tls, Self::Gateway];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
            Self::Gateway => "gateway",
        }
    }
}

/// A running service, one organization that makes calls all the time, and the key of another one that attacks.
pub struct Victim {
    pub program: Program,
    pub grpc: SocketAddr,
    pub rest: SocketAddr,
    pub key: String,
    innocent: String,
    load: Load,
    idle: u64,
    database: &'static TestDatabase,
    /// The service behind the gateway.
    service: Option<Program>,
    _tunnels: Option<[Tunnel; 2]>,
}

/// The effect of an attack.
#[derive(Debug)]
pub struct Damage {
    /// The most that the process grew, in bytes.
    pub growth: u64,
}

impl Victim {
    /// Starts the program with these arguments. A program that `ATTACK_PROGRAM` names is started without them, because it may
    /// not know them.
    pub async fn start(database: &'static TestDatabase, arguments: &[&str]) -> Self {
        Self::start_at(Way::Plain, database, arguments).await
    }

    /// Like [`start`](Self::start), called this way.
    pub async fn start_at(way: Way, database: &'static TestDatabase, arguments: &[&str]) -> Self {
        let (key, innocent) = (
            organization(database, "attacker").await,
            organization(database, "innocent").await,
        );
        let mut serve = vec!["serve", "--database-url", database.url()];
        let (authority, folder) = (Authority::new("root"), Folder::new());
        let files = folder.put_identity("server", &authority.issue("localhost"));
        match way {
            Way::Plain => {}
            Way::Tls => serve.extend(["--tls-cert", &files[0], "--tls-key", &files[1]]),
            Way::Gateway => serve.extend(["--trusted-proxies", "127.0.0.1"]),
        }
        let of_service = if way == Way::Gateway { &[] } else { arguments };
        let mut program = Program::spawn(program_with(&serve, of_service)).await;
        let (mut grpc, mut rest, mut service, mut tunnels) = (program.grpc, program.rest, None, None);
        match way {
            Way::Plain => {}
            Way::Tls => {
                let peer = Peer::new(&authority);
                let made = [Tunnel::to(grpc, &peer).await, Tunnel::to(rest, &peer).await];
                [grpc, rest] = [made[0].address, made[1].address];
                tunnels = Some(made);
            }
            Way::Gateway => {
                let gateway = Program::gateway(program_with(&["gateway"], arguments), grpc).await;
                service = Some(std::mem::replace(&mut program, gateway));
                rest = program.rest;
            }
        }
        let load = innocent_load("warm-up", grpc, rest, &innocent);
        load.succeeds(100).await;
        let before = load.finish().await;
        report("quiet", &before);
        let load = innocent_load("beside", grpc, rest, &innocent);
        load.succeeds(8).await;
        let idle = memory(program.id(), "VmRSS");
        // Resets the peak to measure that of the attack (proc(5), clear_refs).
        fs::write(format!("/proc/{}/clear_refs", program.id()), "5").expect("a process of ours");
        Self {
            program,
            grpc,
            rest,
            key,
            innocent,
            load,
            idle,
            database,
            service,
            _tunnels: tunnels,
        }
    }

    /// How much more memory the process has now than before the attack.
    pub fn growth_now(&self) -> u64 {
        memory(self.program.id(), "VmRSS").saturating_sub(self.idle)
    }

    /// Returns when this many more calls of the other organization have succeeded.
    pub async fn serves(&self, calls: u64) {
        self.load.succeeds(calls).await;
    }

    /// Ends the test: the other organization was served all the time, new callers are served, and no call is half done.
    pub async fn survives(self) -> Damage {
        self.serves(16).await;
        let left = self.growth_now();
        let growth = memory(self.program.id(), "VmHWM").saturating_sub(self.idle);
        let calls = self.load.finish().await;
        report("beside the attack", &calls);
        println!(
            "{} MiB idle, {} MiB more at the peak, {} MiB more now",
            self.idle / MIB,
            growth / MIB,
            left / MIB
        );
        let logs = [Some(&self.program), self.service.as_ref()].into_iter().flatten();
        let logs: String = logs.map(Program::logged).collect();
        let mut problems = logs
            .lines()
            .filter(|line| line.contains("UNAVAILABLE") || line.contains("WARN"));
        let first: Vec<_> = problems.by_ref().take(8).collect();
        assert!(calls.iter().all(Call::is_ok), "{}: {first:#?}", tally(&calls));
        let newcomer = innocent_load("after", self.grpc, self.rest, &self.innocent);
        newcomer.succeeds(8).await;
        let after = newcomer.finish().await;
        assert!(after.iter().all(Call::is_ok), "{}", tally(&after));
        for program in [Some(self.program), self.service].into_iter().flatten() {
            let (code, log) = program.terminate().await;
            assert_eq!(code, Some(0), "{log}");
            assert!(!log.contains("panicked"), "{log}");
        }
        let integrity = faults(self.database, &[]).await;
        assert!(
            !integrity.iter().any(|fault| fault.contains("in part")),
            "{integrity:?}"
        );
        Damage { growth }
    }
}

fn program_with(first: &[&str], more: &[&str]) -> Command {
    match env::var_os("ATTACK_PROGRAM") {
        None => command(&[first, more].concat()),
        Some(program) => {
            let mut other = Command::new(program);
            other.env_clear().args(first).kill_on_drop(true);
            other
        }
    }
}

fn innocent_load(name: &str, grpc: SocketAddr, rest: SocketAddr, key: &str) -> Load {
    let client = |api| Client::new(api, if api == Api::Grpc { grpc } else { rest }, key);
    Load::start(name, clients(CALLERS, |api| client(api).at(INNOCENT)))
}

fn report(when: &str, calls: &[Call]) {
    let mut took: Vec<Duration> = calls.iter().map(Call::took).collect();
    took.sort_unstable();
    let at = |share: usize| {
        took.get(took.len() * share / 100)
            .or(took.last())
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{when}: {} calls, p50 {:?}, p99 {:?}, slowest {:?}",
        took.len(),
        at(50),
        at(99),
        at(100)
    );
}

/// A value from the status of a process (proc(5)), in bytes.
fn memory(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a size");
    kib.parse::<u64>().expect("a number") * 1024
}
