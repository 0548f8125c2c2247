use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A rate of which a full batch showed that so much is done in a second.
fn rate(per_second: usize) -> Rate {
    let mut rate = Rate::default();
    rate.measure(per_second, SECOND, true);
    rate
}

/// What is known of a rate, in whole units of work.
fn known(rate: Rate) -> Option<f64> {
    rate.per_second.map(f64::round)
}

const NOTHING: Ahead = Ahead {
    own: 0,
    own_waiting: 0,
    all_waiting: 0,
    in_progress: 0,
    organizations: 1,
};

#[test]
fn nothing_is_known_until_a_full_batch_was_measured() {
    let mut rate = Rate::default();
    assert_eq!(rate.wait(NOTHING, 1), None);
    rate.measure(100, SECOND, false);
    assert_eq!(rate.wait(NOTHING, 1), None, "it could have been more");
    rate.measure(1_000, SECOND, true);
    assert_eq!(known(rate), Some(1_000.0));
}

#[test]
fn a_batch_that_is_not_full_only_shows_that_more_is_possible() {
    let mut rate = rate(1_000);
    rate.measure(10, SECOND, false);
    assert_eq!(known(rate), Some(1_000.0));
    rate.measure(5_000, SECOND, false);
    assert!(known(rate) > Some(2_000.0), "{rate:?}");
}

#[test]
fn the_rate_follows_what_is_measured_and_not_a_single_batch() {
    let mut rate = rate(100_000);
    // As short as one batch is, it decides little.
    rate.measure(10, Duration::from_millis(10), true);
    assert!(known(rate) > Some(99_000.0), "{rate:?}");
    for _ in 0..100 {
        rate.measure(1_000, Duration::from_millis(100), true);
    }
    let slower = known(rate).expect("measured");
    assert!((10_000.0..11_000.0).contains(&slower), "{slower}");
}

#[test]
fn a_call_waits_for_what_is_before_its_turns() {
    let rate = rate(1_000);
    let wait = |ahead, workers| rate.wait(ahead, workers).expect("measured");
    let flood = Ahead {
        own: 1_000,
        own_waiting: 9_000,
        all_waiting: 9_000,
        in_progress: 2_000,
        organizations: 1,
    };
    assert_eq!(wait(flood, 1), 12 * SECOND, "all of its own, and what is being done");
    assert_eq!(wait(flood, 4), 12 * SECOND, "one batch of an organization at a time");
    let other = Ahead {
        own_waiting: 0,
        organizations: 2,
        ..flood
    };
    assert_eq!(wait(other, 1), 4 * SECOND, "by turns with the flood");
    assert_eq!(wait(other, 4), 2 * SECOND, "and beside it");
    let last = Ahead {
        own_waiting: 0,
        organizations: 90,
        ..flood
    };
    assert_eq!(wait(last, 1), 12 * SECOND, "at most all that is there");
}

#[test]
fn a_refused_call_learns_when_there_is_room() {
    let time = 10 * SECOND;
    assert_eq!(admit(Duration::ZERO, Duration::ZERO, time), Ok(()));
    assert_eq!(
        admit(Duration::from_millis(5_000), Duration::from_millis(5_000), time),
        Ok(())
    );
    assert_eq!(
        admit(Duration::from_millis(5_001), Duration::from_millis(5_001), time),
        Err(SECOND)
    );
    assert_eq!(
        admit(Duration::from_millis(8_100), Duration::from_millis(8_100), time),
        Err(4 * SECOND)
    );
    assert_eq!(admit(Duration::MAX, Duration::MAX, time), Err(LONGEST_WAIT));
    assert_eq!(admit(SECOND, SECOND, Duration::ZERO), Err(SECOND));
    // A large call with little ahead of it has all of its time.
    assert_eq!(admit(SECOND, 9 * SECOND, time), Ok(()));
    assert_eq!(admit(SECOND, 11 * SECOND, time), Err(SECOND));
}

proptest! {
    #[test]
    fn more_work_never_waits_less(
        own in 1..20_000usize, own_waiting in 0..50_000usize, others in 0..50_000usize, in_progress in 0..10_000usize,
        organizations in 2..20usize, workers in 1..8usize, more in 1..10_000usize,
    ) {
        let rate = rate(10_000);
        let ahead = Ahead { own, own_waiting, all_waiting: own_waiting + others, in_progress, organizations };
        let wait = |ahead| rate.wait(ahead, workers).expect("measured");
        let least = wait(ahead);
        for (what, larger) in [
            ("own", Ahead { own: own + more, ..ahead }),
            ("own_waiting", Ahead { own_waiting: own_waiting + more, all_waiting: ahead.all_waiting + more, ..ahead }),
            ("all_waiting", Ahead { all_waiting: ahead.all_waiting + more, ..ahead }),
            ("in_progress", Ahead { in_progress: in_progress + more, ..ahead }),
        ] {
            prop_assert!(wait(larger) >= least, "{}", what);
        }
    }

    #[test]
    fn the_rate_stays_between_what_was_measured(
        samples in prop::collection::vec((1..100_000usize, 1..20_000u64, any::<bool>()), 1..40),
    ) {
        let mut rate = Rate::default();
        let of = |(work, millis): (usize, u64)| work as f64 / Duration::from_millis(millis).as_secs_f64();
        let least = samples.iter().map(|(work, millis, _)| of((*work, *millis))).fold(f64::MAX, f64::min);
        let most = samples.iter().map(|(work, millis, _)| of((*work, *millis))).fold(0.0, f64::max);
        for (work, millis, was_full) in samples {
            rate.measure(work, Duration::from_millis(millis), was_full);
        }
        if let Some(known) = rate.per_second {
            prop_assert!(known >= least * 0.999 && known <= most * 1.001, "{} {} {}", least, known, most);
        }
    }
}
