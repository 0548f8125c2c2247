//! Backups under load, restored as docs/OPERATIONS.md says: `VACUUM INTO` on SQLite, and on PostgreSQL a dump and a point-in-time
//! recovery. Each restored database must be the original as of one revision.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{ConnectionTrait, prelude::Uuid};
use tempfile::TempDir;

use crate::{
    Size, archive,
    crash::verify,
    kills::block_on,
    support::{
        Kind, Load, Program, TestDatabase,
        effects::faults,
        load::{Call, Fate, clients, eventually, tally},
        organization,
        program::run as run_program,
    },
    tables,
};

const CALLERS: usize = 8;
/// How long PostgreSQL may take to archive a file, or to end its recovery.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(size: Size) -> String {
    block_on(async move {
        let mut random = StdRng::seed_from_u64(size.seed);
        let sqlite = of_sqlite(size.rounds, &mut random).await;
        let postgres = of_postgres(size.rounds, &mut random).await;
        format!("SQLite: {sqlite}; PostgreSQL: {postgres}")
    })
}

/// A service, and the calls that were made.
struct Source {
    database: TestDatabase,
    program: Program,
    key: String,
    calls: Vec<Call>,
    restored: u32,
    /// The rows of the change log in all restored databases.
    compared: usize,
}

/// When a backup was made. Calls that ended before `begun` are in it, and calls that started after `done` are not.
#[derive(Clone, Copy)]
struct Taken {
    begun: Instant,
    done: Instant,
}

async fn of_sqlite(rounds: u32, random: &mut StdRng) -> String {
    let mut source = Source::start(TestDatabase::create(Kind::Sqlite).await).await;
    let folder = TempDir::with_prefix("backup-").expect("a folder");
    for round in 0..rounds {
        let file = folder.path().join(format!("backup-{round}.db"));
        let load = source.load(round, random).await;
        let taken = timed(source.execute(&format!("VACUUM INTO '{}'", file.display()))).await;
        load.succeeds(CALLERS as u64).await;
        source.finish(load).await;
        let copy = TestDatabase::at(Kind::Sqlite, format!("sqlite://{}", file.display()));
        source.check(&copy, taken, round == 0).await;
    }
    source.stop().await
}

async fn of_postgres(rounds: u32, random: &mut StdRng) -> String {
    // The server ends with the thread that starts it, which runs this function to its end.
    let server = archive::start().expect("a server");
    let mut source = Source::start(TestDatabase::on(&server).await).await;
    for round in 0..rounds {
        let load = source.load(round, random).await;
        let backup = archive::back_up(&server, &format!("base-{round}")).expect("a base backup");
        let mut dump = None;
        let dumped = timed(async {
            let file = format!("dump-{round}");
            dump = Some(archive::dump(&server, source.database.url(), &file).expect("a dump"));
        })
        .await;
        load.succeeds(random.random_range(1..CALLERS as u64 * 4)).await;
        let mut until = String::new();
        let noted = timed(async {
            let now = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00')";
            until = source.text(now).await;
        })
        .await;
        load.succeeds(CALLERS as u64).await;
        source.finish(load).await;

        let segment = source.text("SELECT pg_walfile_name(pg_switch_wal())").await;
        let archived = format!(
            "SELECT count(*) FROM pg_stat_archiver WHERE last_archived_wal >= '{segment}' AND length(last_archived_wal) = 24"
        );
        eventually("the log is archived", PATIENCE, async || {
            source.database.number(&archived).await == 1
        })
        .await;
        let restored = archive::restore(&server, &backup, &until).expect("a restored server");
        let copy = source.database.copy_on(&restored);
        let recovers = "SELECT pg_is_in_recovery()::integer::bigint";
        eventually("the recovery ends", PATIENCE, async || copy.number(recovers).await == 0).await;
        source.check(&copy, noted, round == 0).await;
        restored.stop();

        source.execute(&format!("CREATE DATABASE restored_{round}")).await;
        let url = server.url(&format!("restored_{round}"));
        archive::restore_dump(&server, &dump.expect("a dump"), &url).expect("restored");
        source
            .check(&TestDatabase::at(Kind::Postgres, url), dumped, false)
            .await;
    }
    let counts = source.stop().await;
    server.stop();
    counts
}

async fn timed(backup: impl Future<Output = ()>) -> Taken {
    let begun = Instant::now();
    backup.await;
    let done = Instant::now();
    Taken { begun, done }
}

impl Source {
    async fn start(database: TestDatabase) -> Self {
        let key = organization(&database, "acme").await;
        let program = Program::serve(database.url()).await;
        Self {
            database,
            program,
            key,
            calls: Vec::new(),
            restored: 0,
            compared: 0,
        }
    }

    /// Starts callers, and returns when some calls have succeeded.
    async fn load(&self, round: u32, random: &mut StdRng) -> Load {
        let callers = clients(CALLERS, |api| self.program.client(api, &self.key));
        let load = Load::mixed(&format!("round{round}"), callers);
        load.succeeds(random.random_range(1..CALLERS as u64 * 8)).await;
        load
    }

    async fn finish(&mut self, load: Load) {
        let made = load.finish().await;
        assert!(made.iter().all(Call::is_ok), "{}", tally(&made));
        self.calls.extend(made);
    }

    async fn execute(&self, sql: &str) {
        let connection = self.database.connect().await;
        connection.execute_unprepared(sql).await.expect(sql);
        connection.close().await.expect("closed");
    }

    async fn text(&self, sql: &str) -> String {
        let rows = self.database.rows(sql).await;
        rows[0].try_get_by_index(0).expect("text")
    }

    /// Checks a restored database: it is the original as of one revision, and every call that was made before the backup is there.
    async fn check(&mut self, copy: &TestDatabase, taken: Taken, plants_fault: bool) {
        let expected = as_of(&self.calls, taken);
        assert_eq!(faults(copy, &expected).await, [""; 0]);
        let before = history(copy).await;
        let output = run_program(&["new-history", "--database-url", copy.url()]).await;
        assert!(output.status.success(), "{output:?}");
        assert_ne!(history(copy).await, before, "a new history");
        verify(copy).await;
        self.compared += self.compare(copy).await.expect("the same log");
        self.restored += 1;
        if plants_fault {
            self.plant(copy, &expected).await;
        }
    }

    /// Compares the change logs up to the newest revision of the copy. Returns how many rows are equal.
    async fn compare(&self, copy: &TestDatabase) -> Result<usize, String> {
        let revision = copy.number("SELECT coalesce(max(revision), 0) FROM change_log").await;
        let original = tables::log(&self.database, revision).await;
        let restored = tables::log(copy, revision).await;
        if original.len() != restored.len() {
            return Err(format!("{} changes instead of {}", restored.len(), original.len()));
        }
        let pairs = original.iter().zip(&restored);
        match pairs.into_iter().find(|(original, restored)| original != restored) {
            Some((original, restored)) => Err(format!("{restored} instead of {original}")),
            None => Ok(original.len()),
        }
    }

    /// A backup that lacks a change, or has another one instead, is found.
    async fn plant(&self, copy: &TestDatabase, expected: &[Call]) {
        let connection = copy.connect().await;
        for sql in [
            "UPDATE change_log SET kind = 'another' WHERE revision = 1",
            "DELETE FROM device_assignment",
        ] {
            let changed = connection.execute_unprepared(sql).await.expect(sql);
            assert!(changed.rows_affected() > 0, "{sql}");
        }
        connection.close().await.expect("closed");
        assert!(self.compare(copy).await.is_err());
        assert!(!faults(copy, expected).await.is_empty());
        let output = run_program(&["verify", "--database-url", copy.url()]).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        println!("backup: found the planted faults: lost assignments, and another change");
    }

    /// Stops the service, and says what was done.
    async fn stop(self) -> String {
        verify(&self.database).await;
        assert_eq!(faults(&self.database, &self.calls).await, [""; 0]);
        self.program.terminate().await;
        self.database.remove().await;
        format!(
            "{} backups under {} calls, each equal to the original at its revision, {} changes compared",
            self.restored,
            self.calls.len(),
            self.compared
        )
    }
}

/// The calls as a backup may know them: those under way while it was made may be there or not.
fn as_of(calls: &[Call], taken: Taken) -> Vec<Call> {
    let known = calls.iter().filter(|call| call.started <= taken.done);
    let as_known = known.map(|call| Call {
        api: call.api,
        email: call.email.clone(),
        change: call.change.clone(),
        started: call.started,
        ended: call.ended,
        fate: if call.ended < taken.begun {
            call.fate.clone()
        } else {
            Fate::Lost {
                code: "UNKNOWN".to_owned(),
                text: "under way during the backup".to_owned(),
            }
        },
    });
    as_known.collect()
}

async fn history(database: &TestDatabase) -> Uuid {
    let rows = database.rows("SELECT id FROM history").await;
    rows[0].try_get_by_index(0).expect("an id")
}
