//! Which calls are taken on when it is known how much is carried out in a second. The clock is the test's.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Adds a call that has so much time from `now` on.
fn push_at(queue: &Queue, org: usize, devices: usize, now: Instant, time: Duration) -> Result<(), Error> {
    let call = Call {
        deadline: now + time,
        ..call(0, devices)
    };
    queue.push(organization(org), call, now)
}

/// A queue of one worker that does the work of so many calls without devices in a second.
fn queue(calls_per_second: usize) -> Queue {
    let queue = Queue::new(Class::Small, 100_000, 1_000_000, 1);
    queue.measure(calls_per_second, 0, SECOND, true);
    queue
}

#[test]
fn a_call_is_taken_on_if_it_can_be_carried_out_in_time() {
    // The work of 310 is ten calls of one device.
    let queue = Queue::new(Class::Small, 100_000, 1_000_000, 1);
    queue.measure(10, 10, SECOND, true);
    let now = Instant::now();
    let admitted = (0..200)
        .take_while(|_| push_at(&queue, 1, 1, now, 4 * SECOND).is_ok())
        .count();
    assert_eq!(admitted, 21, "half of four seconds, and one whose turn comes then");
    let refused = push_at(&queue, 1, 1, now, 4 * SECOND);
    assert!(
        matches!(refused, Err(Error::QueueFull { retry_after }) if retry_after == SECOND),
        "{refused:?}"
    );
    let refused = push_at(&queue, 1, 1, now, SECOND);
    assert!(
        matches!(refused, Err(Error::QueueFull { retry_after }) if retry_after == 2 * SECOND),
        "who has less time waits longer: {refused:?}"
    );
    assert!(
        push_at(&queue, 1, 1, now, 8 * SECOND).is_ok(),
        "who has more time is taken on"
    );
    assert!(
        push_at(&queue, 2, 1, now, SECOND).is_ok(),
        "and so is another organization"
    );
}

#[test]
fn what_is_being_carried_out_counts_until_it_is_done() {
    let queue = queue(10);
    let now = Instant::now();
    for _ in 0..2 {
        assert!(push_at(&queue, 1, 300, now, 4 * SECOND).is_ok(), "1.1 s of work each");
    }
    let first = take(&queue, 1, 1).flatten().expect("a batch");
    assert!(push_at(&queue, 1, 300, now, 4 * SECOND).is_err());
    done(&queue, &first);
    assert!(push_at(&queue, 1, 200, now, 4 * SECOND).is_ok());
    // Those that wait are given up, and the one that is being carried out is not.
    take(&queue, 1, 1).flatten().expect("a batch");
    queue.take_all();
    assert!(push_at(&queue, 1, 1, now, SECOND).is_err());
    assert!(push_at(&queue, 1, 1, now, 3 * SECOND).is_ok());
}

#[test]
fn a_call_that_comes_alone_is_taken_on_however_slow_it_was() {
    let queue = queue(1);
    let now = Instant::now();
    assert!(push_at(&queue, 1, 1_000, now, SECOND).is_ok());
    assert!(push_at(&queue, 1, 1, now, SECOND).is_err());
}

#[test]
fn until_something_was_measured_every_call_is_taken_on() {
    let queue = Queue::new(Class::Small, 100_000, 1_000_000, 1);
    let now = Instant::now();
    for _ in 0..100 {
        assert!(push_at(&queue, 1, 1_000, now, Duration::from_millis(1)).is_ok());
    }
}

/// A call of the simulation: how long after the last one it comes, its devices, and how much time it has.
fn arrivals() -> impl Strategy<Value = Vec<(u64, usize, u64)>> {
    prop::collection::vec((0..400u64, 1..300usize, 200..6_000u64), 1..60)
}

proptest! {
    /// One worker that carries out one call after the other at the rate that was measured.
    #[test]
    fn what_is_taken_on_is_carried_out_in_time(arrivals in arrivals()) {
        const PER_SECOND: usize = 20;
        let took = |devices: usize| SECOND.mul_f64(work(1, devices) as f64 / work(PER_SECOND, 0) as f64);
        let queue = queue(PER_SECOND);
        let start = Instant::now();
        let mut now = start;
        // When the worker is free again, and the calls that were taken on: their devices, and when they have to be done.
        let mut free_at = start;
        let mut lined = VecDeque::new();
        let mut under_way: Option<Numbers> = None;
        let mut arrivals = arrivals.into_iter().peekable();
        while arrivals.peek().is_some() || !lined.is_empty() {
            let next = arrivals.peek().map(|(after, ..)| now + Duration::from_millis(*after));
            // What the worker does before the next call comes.
            while next.is_none_or(|next| free_at <= next) {
                if let Some(batch) = under_way.take() {
                    done(&queue, &batch);
                }
                let Some((came, devices, deadline)) = lined.pop_front() else {
                    break;
                };
                under_way = take(&queue, 1, 1).flatten();
                prop_assert!(under_way.is_some());
                free_at = free_at.max(came) + took(devices);
                if let Some(deadline) = deadline {
                    prop_assert!(free_at <= deadline, "{:?} late", free_at - deadline);
                }
            }
            let (Some(next), Some((_, devices, time))) = (next, arrivals.next()) else {
                continue;
            };
            now = next;
            let time = Duration::from_millis(time);
            let is_alone = lined.is_empty() && under_way.is_none();
            if push_at(&queue, 1, devices, now, time).is_ok() {
                // One that comes alone is carried out whatever it takes.
                lined.push_back((now, devices, (!is_alone).then_some(now + time)));
            } else {
                prop_assert!(!is_alone);
            }
        }
    }
}
