//! Lists of any length, fed through a pipe that stays open: what memory they need, and what a kill leaves.

use std::fmt::Write as _;

use super::{HEADER, Site, report};
use crate::{
    import_stream::Running,
    support::{Kind, Suite, TestDatabase, load::owned},
};

/// A row that is refused as soon as it is read.
const BAD_ROW: &str = ",\n";

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "assign::memory_does_not_grow_with_the_list", memory);
    suite.on_each("assign::a_killed_run_can_be_run_again", killed);
    suite.on_each("assign::rows_do_not_wait_for_the_end_of_the_list", prompt);
}

async fn memory(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    // The longest identifiers that there may be: 1 KB each, of devices that do not exist.
    let tail = "🛰".repeat(240);
    let mut peaks = Vec::new();
    for count in [40_000, 80_000] {
        let command = site.command(&["--json", "--parallel", "2", "--csv", "-"]);
        let mut running = Running::spawn(command, HEADER).await;
        let mut fed = String::new();
        for number in 0..count {
            writeln!(fed, "customer{}@example.com,{number:09}{tail}", number % 20).expect("a string");
            if fed.len() > 1 << 20 {
                running.feed(&fed).await;
                fed.clear();
            }
        }
        running.feed(&fed).await;
        running.feed("wrong\n").await;
        running.refusal(count + 2).await;
        peaks.push(running.peak_memory());
        let count = u64::try_from(count).expect("a number");
        assert_eq!(report(&running.finish().await, 1), [0, 0, count, 1, 0, 0]);
    }
    assert!(peaks[1] < peaks[0] + 24 * 1024, "peaks in KiB: {peaks:?}");
    assert!(peaks[1] < 160 * 1024, "peaks in KiB: {peaks:?}");
    site.server.stop().await;
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
    let mut expected = std::collections::BTreeMap::<String, std::collections::BTreeSet<String>>::new();
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
