//! Followers of every kind whose connections break, beside writers at instances that are killed: each follower has exactly the log.

pub mod followers;
pub mod record;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::ConnectionTrait;
use tokio::task::JoinSet;

use self::{
    followers::Kind,
    record::{Record, Told, log},
};
use crate::{
    Size,
    crash::verify,
    fleet::{Fleet, Link, is_interruption},
    kills::block_on,
    support::{
        Api, Client, Kind as DatabaseKind, TestDatabase, TestServer,
        load::{message, unassign_message},
        organization,
    },
};

const INSTANCES: usize = 3;
const WRITERS: u64 = 8;
/// The calls of a writer that are under way at the same time.
const IN_FLIGHT: usize = 8;
const FOLLOWERS: u32 = 50;
/// The time between two kills. A short run has less.
const KILL_EVERY: Duration = Duration::from_secs(2);
/// How long followers may take to receive what is left when the writers are done.
const CATCH_UP: Duration = Duration::from_secs(600);
/// Longer than a call takes.
const HANGS: Duration = Duration::from_secs(60);

pub fn run(size: Size) -> String {
    block_on(async move {
        planted().await;
        let database = TestDatabase::create(DatabaseKind::Postgres).await;
        let counts = followed(&database, size).await;
        verify(&database).await;
        database.remove().await;
        counts
    })
}

async fn followed(database: &TestDatabase, size: Size) -> String {
    let is_short = size.rounds < 10_000;
    let key = organization(database, "acme").await;
    let mut fleet = Fleet::start(database.url(), INSTANCES).await;
    let mut random = StdRng::seed_from_u64(size.seed);

    let mut following = JoinSet::new();
    let mut followers = Vec::new();
    let count = if is_short { 5 } else { FOLLOWERS };
    for (_, kind) in (0..count).zip(Kind::ALL.into_iter().cycle()) {
        let link = Link::breaking(&fleet, kind.api(), random.random()).await;
        let record = Record::default();
        following.spawn(kind.follow(link.client(&key), key.clone(), record.clone()));
        followers.push((kind, link, record));
    }

    let writing = Arc::new(Writing {
        target: size.rounds.into(),
        newest: AtomicU64::new(0),
        acknowledged: Mutex::default(),
        failures: AtomicU64::new(0),
    });
    let mut writers = JoinSet::new();
    let mut links = Vec::new();
    for writer in 0..WRITERS {
        let link = Link::lasting(&fleet, Api::Grpc, random.random()).await;
        for caller in 0..IN_FLIGHT {
            let name = format!("writer{writer}-{caller}@example.com");
            writers.spawn(Arc::clone(&writing).write(link.client(&key), name));
        }
        links.push(link);
    }
    let started = Instant::now();
    let every = if is_short { KILL_EVERY / 10 } else { KILL_EVERY };
    let mut kills = 0;
    while writing.is_going_on() || kills == 0 {
        tokio::time::sleep(every).await;
        while let Some(writer) = writers.try_join_next() {
            writer.expect("no panic");
        }
        fleet.kill(random.random_range(0..INSTANCES)).await;
        kills += 1;
    }
    while let Some(writer) = writers.join_next().await {
        writer.expect("no panic");
    }
    let wrote = started.elapsed();

    let log = log(database).await;
    let head = log.len() as u64;
    let deadline = Instant::now() + CATCH_UP;
    while followers.iter().any(|(_, _, record)| record.revision() < head) {
        if let Some(fault) = following.try_join_next() {
            panic!("{}", fault.expect("no panic"));
        }
        let behind: Vec<_> = followers
            .iter()
            .map(|(kind, _, record)| (kind, record.revision()))
            .collect();
        assert!(Instant::now() < deadline, "followers are behind {head}: {behind:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let caught_up = started.elapsed() - wrote;
    following.shutdown().await;

    let digests: Vec<u64> = log.iter().map(Told::digest).collect();
    for (kind, _, record) in &followers {
        record
            .compare(&digests)
            .unwrap_or_else(|fault| panic!("{kind:?}: {fault}"));
    }
    let acknowledged = writing.check(&log);
    let interruptions: usize = followers
        .iter()
        .map(|(.., record)| record.received().interruptions)
        .sum();
    let cuts: u64 = followers.iter().map(|(_, link, _)| link.cuts()).sum();
    fleet.stop().await;
    format!(
        "{head} changes in {} s, {acknowledged} of them acknowledged, {} calls lost in {kills} kills; {count} followers were \
         interrupted {interruptions} times, on {cuts} connections that broke, and had everything {} s later: each has exactly \
         the log",
        wrote.as_secs(),
        writing.failures.load(Ordering::Relaxed),
        caught_up.as_secs(),
    )
}

/// What the writers share.
struct Writing {
    /// They stop at this revision.
    target: u64,
    /// The newest revision that they have seen.
    newest: AtomicU64,
    /// The revision and the device of each change that was acknowledged.
    acknowledged: Mutex<Vec<(u64, String)>>,
    failures: AtomicU64,
}

impl Writing {
    fn is_going_on(&self) -> bool {
        self.newest.load(Ordering::Relaxed) < self.target
    }

    /// Assigns and unassigns a device of its own, so that nearly every call is a change.
    async fn write(self: Arc<Self>, client: Client, name: String) {
        let (mut is_assigned, mut id) = (false, String::new());
        let device = [format!("SN-{name}")];
        while self.is_going_on() {
            let mut grpc = client.grpc();
            let call = async {
                if is_assigned {
                    let request = client.signed(unassign_message(&name, &device));
                    let response = grpc.unassign_devices_from_owner(request).await?;
                    let revision = revision(response.metadata());
                    Ok((revision, !response.into_inner().unassigned_devices.is_empty()))
                } else {
                    let mut message = message(&name);
                    message.device_identifiers = device.to_vec();
                    let response = grpc.assign_devices_to_owner(client.signed(message)).await?;
                    let revision = revision(response.metadata());
                    let response = response.into_inner();
                    let is_change = !response.assigned_devices.is_empty();
                    let mut devices = response.assigned_devices.into_iter().chain(response.already_assigned);
                    id = devices.next().expect("the device").device_id;
                    Ok((revision, is_change))
                }
            };
            let answer: Result<_, tonic::Status> = tokio::time::timeout(HANGS, call).await.expect("a call hangs");
            match answer {
                Ok((revision, is_change)) => {
                    is_assigned = !is_assigned;
                    self.newest.fetch_max(revision, Ordering::Relaxed);
                    let change = is_change.then(|| (revision, id.clone()));
                    self.acknowledged.lock().expect("no panic").extend(change);
                }
                Err(status) => {
                    assert!(is_interruption(&status), "{status:?}");
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Checks that what was acknowledged is in the log, and returns how much that is.
    fn check(&self, log: &[Told]) -> usize {
        let acknowledged = self.acknowledged.lock().expect("no panic");
        for (revision, device) in acknowledged.iter() {
            let at = usize::try_from(revision - 1).expect("an index");
            let is_there = log[at].devices().eq([device.as_str()]);
            assert!(is_there, "revision {revision} is {:?}, not of {device}", log[at]);
        }
        acknowledged.len()
    }
}

fn revision(metadata: &tonic::metadata::MetadataMap) -> u64 {
    let revision = metadata.get("x-revision").expect("a revision");
    revision.to_str().expect("text").parse().expect("a number")
}

/// A follower that skips a revision is noticed, and so is a log with a hole: no follower passes it.
async fn planted() {
    let database = TestDatabase::create(DatabaseKind::Postgres).await;
    let key = organization(&database, "acme").await;
    let server = TestServer::start(&database).await;
    let writer = server.client(Api::Grpc, &key);
    for number in 0..4 {
        let device = format!("SN-{number}");
        writer.create("ann@example.com", &[device.as_str()]).await.ok();
    }
    let mut following = JoinSet::new();
    let mut records = Vec::new();
    for kind in Kind::ALL {
        let record = Record::default();
        following.spawn(kind.follow(server.client(kind.api(), &key), key.clone(), record.clone()));
        records.push(record);
    }
    let everybody_at = async |revision: u64| {
        while records.iter().any(|record| record.revision() < revision) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    everybody_at(4).await;
    let digests: Vec<u64> = log(&database).await.iter().map(Told::digest).collect();
    for record in &records {
        record.compare(&digests).expect("exactly the log");
    }
    // A revision that is skipped, repeated or replaced in what a follower has.
    let plant = |change: fn(&mut Vec<u64>)| {
        let planted = Record::default();
        planted.received().digests.clone_from(&digests);
        change(&mut planted.received().digests);
        planted.compare(&digests).expect_err("a planted fault is found")
    };
    let skipped = plant(|digests| {
        digests.remove(1);
    });
    plant(|digests| digests.insert(1, digests[1]));
    plant(|digests| digests.swap(1, 2));
    plant(|digests| digests.truncate(3));
    // A revision that is skipped in what the service tells.
    let told = log(&database).await.into_iter().skip(1);
    let told = Record::default()
        .add("history", told)
        .expect_err("a planted fault is found");

    let hole = "INSERT INTO change_log (organization_id, revision, at, kind) \
                SELECT organization_id, 6, at, kind FROM change_log WHERE revision = 4";
    let connection = database.connect().await;
    connection.execute_unprepared(hole).await.expect(hole);
    connection.close().await.expect("closed");
    while let Some(fault) = following.join_next().await {
        let fault = fault.expect("no panic");
        assert!(fault.contains("Internal error"), "{fault}");
    }
    for record in &records {
        assert_eq!(record.revision(), 4, "no follower passes a hole");
    }
    server.stop().await;
    database.remove().await;
    println!("feed: found the planted faults: {skipped}; {told}; a hole in the log ended every follower with an error");
}
