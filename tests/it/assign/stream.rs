//! Lists of any length, fed through a pipe that stays open: what memory they need, and what a kill leaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use super::{HEADER, Site, assign, report};
use crate::{
    import_stream::Running,
    support::{Kind, Program, Suite, TestDatabase, effects::owned, load::eventually, organization},
};

/// A row that is refused as soon as it is read.
const BAD_ROW: &str = ",\n";

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "assign::memory_does_not_grow_with_the_list", memory);
    suite.on_each("assign::a_killed_run_can_be_run_again", killed);
    suite.on_each("assign::rows_do_not_wait_for_the_end_of_the_list", prompt);
}

async fn memory(database: &'static TestDatabase) {
    /// 58 MB of text.
    const ROWS: usize = 60_000;
    /// The window of 16 MiB, two calls of 2 MiB with what the libraries copy of them, and what the allocator keeps.
    const MAX_KIB: u64 = 48 * 1024;
    let key = organization(database, "acme").await;
    let server = Program::serve(database.url()).await;
    let folder = TempDir::new().expect("a folder");
    let command = assign(&folder, server.grpc, &key, &["--json", "--parallel", "2", "--csv", "-"]);
    let mut running = Running::spawn(command, HEADER).await;
    running.feed("ann@example.com,SN-1\n").await;
    running.says("device does not exist: SN-1").await;

    // While the service does nothing at all, no more is read than may wait.
    server.signal("-STOP").await;
    let fed = Arc::new(AtomicUsize::new(0));
    let fed_so_far = Arc::clone(&fed);
    let mut stdin = running.stdin.take().expect("a pipe");
    let feeding = tokio::spawn(async move {
        // The longest identifiers that there may be: 1 KB each, of devices that do not exist.
        let tail = "🛰".repeat(240);
        for number in 0..ROWS {
            let row = format!("customer{}@example.com,{number:09}{tail}\n", number % 20);
            stdin.write_all(row.as_bytes()).await.expect("fed");
            fed_so_far.store(number + 1, Ordering::Relaxed);
        }
        stdin
    });
    let mut before = usize::MAX;
    eventually("nothing more is read", Duration::from_secs(60), async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = fed.load(Ordering::Relaxed);
        std::mem::replace(&mut before, now) == now
    })
    .await;
    let waiting = running.peak_memory();
    server.signal("-CONT").await;

    let mut stdin = feeding.await.expect("no panic");
    stdin.write_all(BAD_ROW.as_bytes()).await.expect("fed");
    running.refusal(ROWS + 3).await;
    let peak = running.peak_memory();
    running.stdin = Some(stdin);
    assert_eq!(report(&running.finish().await, 1), [0, 0, ROWS as u64 + 1, 1, 0, 0]);
    let said = format!("{waiting} KiB while nothing went on, {peak} KiB at last");
    println!("{said}");
    assert!(waiting < MAX_KIB && peak < MAX_KIB, "{said}");
    server.terminate().await;
}

/// Rows of customers who take turns.
fn rows(count: usize) -> String {
    (0..count).fold(HEADER.to_owned(), |mut rows, number| {
        writeln!(rows, "customer{}@example.com,SN-{number:06}", number % 7).expect("a string");
        rows
    })
}

async fn killed(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    let list = rows(6_000);
    let create = ["--json", "--parallel", "2", "--auto-create", "--type", "sensor"];
    let command = site.command(&[create.as_slice(), &["--csv", "-"]].concat());
    let (half, _) = list.split_at(list.len() / 2);
    let mut running = Running::spawn(command, half).await;
    while database.count("device").await == 0 {
        assert!(running.child.try_wait().expect("a status").is_none(), "ended too early");
    }
    running.child.kill().await.expect("killed");
    let before = u64::try_from(database.count("device").await).expect("a number");
    assert!(before < 6_000);

    let [assigned, already, skipped, refused, created, _] = report(&site.csv(&list, &create).await, 0);
    assert_eq!((assigned + already, skipped, refused), (6_000, 0, 0));
    // The service may have finished calls of the one who was killed.
    assert!(
        already >= before && assigned == created,
        "{already} {before} {assigned} {created}"
    );
    let mut expected = BTreeMap::<String, BTreeSet<String>>::new();
    for row in list.lines().skip(1) {
        let (email, device) = row.split_once(',').expect("a row");
        expected.entry(email.into()).or_default().insert(device.into());
    }
    assert_eq!(owned(database).await, expected);
    site.server.stop().await;
}

/// Who types rows, or pipes them from something that goes on, sees them done.
async fn prompt(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    let command = site.command(&["--json", "--auto-create", "--type", "sensor", "--csv", "-"]);
    let mut running = Running::spawn(command, HEADER).await;
    for number in 1..=3 {
        running.feed(&format!("ann@example.com,SN-{number}\n")).await;
        while database.count("device").await < number {
            assert!(running.child.try_wait().expect("a status").is_none(), "ended too early");
        }
    }
    running.feed(BAD_ROW).await;
    assert_eq!(report(&running.finish().await, 1), [3, 0, 0, 1, 3, 1]);
    site.server.stop().await;
}
