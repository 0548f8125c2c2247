//! The program under attack: how much memory it takes, and how an organization fares that has nothing to do with it.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use crate::support::{
    Face, Load, Program, TestDatabase,
    load::{Call, clients, faults, tally},
    organization,
    program::command,
};

pub const MIB: u64 = 1024 * 1024;

/// Where attackers come from, and where the innocent organization does.
pub const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
const INNOCENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

/// Callers of the innocent organization.
const CALLERS: usize = 4;

/// A running service with an innocent organization that calls all the time, and the key of another one, which attacks.
pub struct Victim {
    pub program: Program,
    pub key: String,
    innocent: String,
    load: Load,
    idle: u64,
    database: &'static TestDatabase,
}

/// What an attack has done.
#[derive(Debug)]
pub struct Damage {
    /// By how much the process grew at most, in bytes.
    pub growth: u64,
}

impl Victim {
    /// Starts the program with these arguments. `ATTACK_PROGRAM` names another one than that of the tests: a shipped one, or
    /// the version before.
    pub async fn start(database: &'static TestDatabase, arguments: &[&str]) -> Self {
        let (key, innocent) = (organization(database, "attacker").await, organization(database, "innocent").await);
        let arguments = [&["serve", "--database-url", database.url()], arguments].concat();
        let command = match env::var_os("ATTACK_PROGRAM") {
            None => command(&arguments),
            Some(program) => {
                let mut other = tokio::process::Command::new(program);
                other.env_clear().args(&arguments).kill_on_drop(true);
                other
            }
        };
        let program = Program::spawn(command).await;
        let load = innocent_load("warm-up", &program, &innocent);
        load.succeeds(100).await;
        let before = load.finish().await;
        report("quiet", &before);
        let load = innocent_load("beside", &program, &innocent);
        load.succeeds(8).await;
        let idle = memory(program.id(), "VmRSS");
        // From here on the peak is that of the attack (proc(5), clear_refs).
        fs::write(format!("/proc/{}/clear_refs", program.id()), "5").expect("a process of ours");
        Self {
            program,
            key,
            innocent,
            load,
            idle,
            database,
        }
    }

    /// How much more memory the process has now than before the attack.
    pub fn growth_now(&self) -> u64 {
        memory(self.program.id(), "VmRSS").saturating_sub(self.idle)
    }

    /// Ends the test: the innocent organization was served all the time, new callers are, and nothing is half done.
    pub async fn survives(self) -> Damage {
        self.load.succeeds(16).await;
        let growth = memory(self.program.id(), "VmHWM").saturating_sub(self.idle);
        let calls = self.load.finish().await;
        report("beside the attack", &calls);
        println!("{} MiB idle, {} MiB more at the peak", self.idle / MIB, growth / MIB);
        assert!(calls.iter().all(Call::is_ok), "{}", tally(&calls));
        let newcomer = innocent_load("after", &self.program, &self.innocent);
        newcomer.succeeds(8).await;
        let after = newcomer.finish().await;
        assert!(after.iter().all(Call::is_ok), "{}", tally(&after));
        let (code, log) = self.program.terminate().await;
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        let integrity = faults(self.database, &[]).await;
        assert!(!integrity.iter().any(|fault| fault.contains("in part")), "{integrity:?}");
        Damage { growth }
    }
}

fn innocent_load(name: &str, program: &Program, key: &str) -> Load {
    Load::start(name, clients(CALLERS, |face| program.client(face, key).at(INNOCENT)))
}

/// A client of the attacker's.
pub fn attacker(program: &Program, face: Face, key: &str) -> crate::support::Client {
    program.client(face, key).at(ATTACKER)
}

fn report(when: &str, calls: &[Call]) {
    let mut took: Vec<Duration> = calls.iter().map(Call::took).collect();
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 100).or(took.last()).copied().unwrap_or_default();
    println!("{when}: {} calls, p50 {:?}, p99 {:?}, slowest {:?}", took.len(), at(50), at(99), at(100));
}

/// A figure of a process (proc(5), status), in bytes.
fn memory(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a size");
    kib.parse::<u64>().expect("a number") * 1024
}
