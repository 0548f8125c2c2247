mod admission;
mod model;
mod waking;

use std::time::Duration;

use futures_util::FutureExt;
use uuid::Uuid;

use super::*;
use crate::{
    domain::{
        assign_devices::AssignDevices,
        change::{Actor, ChangeOrigin},
    },
    telemetry::trace::Wait,
};

fn organization(number: usize) -> OrganizationId {
    OrganizationId::from_uuid(Uuid::from_u128(number as u128))
}

/// A call whose request id is a number. Nobody waits for its outcome.
fn call(number: usize, devices: usize) -> Call {
    let identifiers: Vec<_> = (0..devices).map(|device| format!("SN-{device}")).collect();
    let command = AssignDevices::parse("ann@example.com", &identifiers, false, None, devices).expect("a valid command");
    let origin = ChangeOrigin {
        actor: Actor::Service,
        request_id: Some(number.to_string()),
    };
    Call::new(command, origin, Instant::now(), Wait::begin("small")).0
}

fn push(queue: &Queue, organization: OrganizationId, call: Call) -> Result<(), Error> {
    queue.push(organization, call, Instant::now())
}

fn number(call: &Call) -> usize {
    let request_id = call.job.origin().request_id.as_deref();
    request_id.and_then(|id| id.parse().ok()).expect("a number")
}

fn numbers(calls: &[Call]) -> Vec<usize> {
    calls.iter().map(number).collect()
}

/// A batch, by organizations and the numbers of their calls.
type Numbers = Vec<(usize, Vec<usize>)>;

/// Takes what is there without waiting: the outer `None` means that there is nothing yet.
fn take(queue: &Queue, max_calls: usize, max_devices: usize) -> Option<Option<Numbers>> {
    let batch = queue.take(max_calls, max_devices).now_or_never()?;
    Some(batch.map(of_batch))
}

/// As [`take`], and marks it as done.
fn carry_out(queue: &Queue, max_calls: usize, max_devices: usize) -> Option<Option<Numbers>> {
    let batch = take(queue, max_calls, max_devices);
    if let Some(Some(batch)) = &batch {
        done(queue, batch);
    }
    batch
}

fn of_batch(batch: Batch) -> Numbers {
    let number = |id: OrganizationId| usize::try_from(id.uuid().as_u128()).expect("a small number");
    batch
        .into_iter()
        .map(|group| (number(group.organization), numbers(&group.calls)))
        .collect()
}

fn done(queue: &Queue, batch: &Numbers) {
    let organizations: Vec<_> = batch.iter().map(|(number, _)| organization(*number)).collect();
    queue.done(&organizations);
}

/// A batch of one group, as a test expects it.
fn one(organization: usize, calls: impl IntoIterator<Item = usize>) -> Option<Option<Numbers>> {
    Some(Some(vec![(organization, calls.into_iter().collect())]))
}

#[test]
fn organizations_take_turns() {
    let queue = Queue::new(Class::Small, 2_000, 2_000, 1);
    for number in 0..1_000 {
        push(&queue, organization(1), call(number, 1)).expect("there is room");
    }
    push(&queue, organization(2), call(7, 1)).expect("there is room");

    assert_eq!(carry_out(&queue, 10, 10), one(1, 0..10));
    let both = vec![(2, vec![7]), (1, (10..19).collect())];
    assert_eq!(carry_out(&queue, 10, 10), Some(Some(both)));
    assert_eq!(carry_out(&queue, 10, 10), one(1, 19..29));
}

#[test]
fn an_organization_that_comes_back_goes_to_the_end() {
    let queue = Queue::new(Class::Small, 10, 10, 1);
    for (org, number) in [(1, 0), (1, 1), (2, 2), (3, 3)] {
        push(&queue, organization(org), call(number, 1)).expect("there is room");
    }
    assert_eq!(carry_out(&queue, 1, 10), one(1, [0]));
    push(&queue, organization(1), call(4, 1)).expect("there is room");
    assert_eq!(carry_out(&queue, 1, 10), one(2, [2]));
    push(&queue, organization(2), call(5, 1)).expect("there is room");
    let rest = vec![(3, vec![3]), (1, vec![1, 4]), (2, vec![5])];
    assert_eq!(carry_out(&queue, 9, 10), Some(Some(rest)));
    assert_eq!(carry_out(&queue, 9, 10), None);
}

#[test]
fn an_organization_is_in_one_batch_at_a_time() {
    let queue = Queue::new(Class::Small, 10, 10, 1);
    for (org, number) in [(1, 0), (1, 1), (2, 2)] {
        push(&queue, organization(org), call(number, 1)).expect("there is room");
    }
    let first = take(&queue, 1, 10).flatten().expect("a batch");
    assert_eq!(first, [(1, vec![0])]);
    let second = take(&queue, 10, 10).flatten().expect("a batch");
    assert_eq!(second, [(2, vec![2])], "the first organization is busy");
    assert_eq!(take(&queue, 10, 10), None);
    push(&queue, organization(2), call(3, 1)).expect("there is room");
    assert_eq!(take(&queue, 10, 10), None, "both are busy");
    done(&queue, &first);
    assert_eq!(take(&queue, 10, 10), one(1, [1]));
    done(&queue, &second);
    assert_eq!(take(&queue, 10, 10), one(2, [3]));
}

#[test]
fn each_worker_takes_its_share_of_the_organizations() {
    let queue = Queue::new(Class::Small, 100, 100, 3);
    for org in 0..8 {
        for number in [org, 10 + org] {
            push(&queue, organization(org), call(number, 1)).expect("there is room");
        }
    }
    let organizations = |batch: Option<Option<Numbers>>| {
        let batch = batch.flatten().expect("a batch");
        batch
            .into_iter()
            .map(|(organization, _)| organization)
            .collect::<Vec<_>>()
    };
    assert_eq!(organizations(take(&queue, 99, 99)), [0, 1, 2]);
    assert_eq!(organizations(take(&queue, 99, 99)), [3, 4]);
    assert_eq!(organizations(take(&queue, 99, 99)), [5]);
}

#[test]
fn as_many_calls_wait_as_may_wait() {
    let queue = Queue::new(Class::Small, 2, 100, 1);
    assert!(push(&queue, organization(1), call(0, 1)).is_ok());
    assert!(push(&queue, organization(2), call(1, 1)).is_ok());
    for org in [1, 2, 3] {
        let refused = push(&queue, organization(org), call(2, 1));
        assert!(matches!(refused, Err(Error::QueueFull { .. })), "{refused:?}");
    }
    carry_out(&queue, 1, 1);
    assert!(push(&queue, organization(1), call(3, 1)).is_ok());
}

#[test]
fn as_many_devices_wait_as_may_wait() {
    let queue = Queue::new(Class::Small, 100, 10, 1);
    assert!(push(&queue, organization(1), call(0, 6)).is_ok());
    let refused = push(&queue, organization(2), call(1, 5));
    assert!(matches!(refused, Err(Error::QueueFull { .. })), "{refused:?}");
    assert!(push(&queue, organization(2), call(2, 4)).is_ok());
    carry_out(&queue, 1, 1);
    assert!(push(&queue, organization(1), call(3, 6)).is_ok());
}

#[test]
fn a_flood_of_one_organization_leaves_room_for_the_others() {
    let queue = Queue::new(Class::Small, 12, 1_000, 1);
    let fill = |org| {
        (0..)
            .take_while(|number| push(&queue, organization(org), call(*number, 1)).is_ok())
            .count()
    };
    // Half of the room, then half of what is left as long as the others have as much: never all.
    assert_eq!([fill(1), fill(2), fill(3), fill(4)], [6, 3, 2, 1]);

    let queue = Queue::new(Class::Small, 1_000, 120, 1);
    let fill = |org| {
        (0..)
            .take_while(|number| push(&queue, organization(org), call(*number, 10)).is_ok())
            .count()
    };
    assert_eq!([fill(1), fill(2), fill(3)], [6, 3, 2]);
}

#[test]
fn a_call_above_every_bound_waits_alone_and_is_taken_alone() {
    let queue = Queue::new(Class::Small, 100, 10, 1);
    assert!(push(&queue, organization(1), call(0, 50)).is_ok());
    let refused = push(&queue, organization(1), call(1, 1));
    assert!(matches!(refused, Err(Error::QueueFull { .. })), "{refused:?}");
    assert_eq!(carry_out(&queue, 10, 5), one(1, [0]));

    let queue = Queue::new(Class::Small, 100, 20, 1);
    assert!(push(&queue, organization(1), call(2, 9)).is_ok());
    assert!(push(&queue, organization(1), call(3, 1)).is_ok());
    assert_eq!(carry_out(&queue, 10, 5), one(1, [2]));
    assert_eq!(carry_out(&queue, 10, 5), one(1, [3]));
}

#[test]
fn a_closed_queue_gives_what_waits_and_then_its_end() {
    let queue = Queue::new(Class::Small, 10, 10, 1);
    for (org, number) in [(1, 0), (2, 1), (1, 2)] {
        push(&queue, organization(org), call(number, 1)).expect("there is room");
    }
    queue.close();
    let refused = push(&queue, organization(1), call(3, 1));
    assert!(matches!(refused, Err(Error::ShuttingDown)), "{refused:?}");
    assert_eq!(carry_out(&queue, 2, 10), one(1, [0, 2]));
    let last = take(&queue, 10, 10).flatten().expect("a batch");
    assert_eq!(last, [(2, vec![1])]);
    assert_eq!(
        take(&queue, 10, 10),
        Some(None),
        "nothing will come, even before the last is done"
    );
    done(&queue, &last);
    assert_eq!(take(&queue, 10, 10), Some(None));
}

#[test]
fn after_all_was_taken_there_is_as_much_room_as_ever() {
    let queue = Queue::new(Class::Small, 3, 6, 1);
    for _ in 0..2 {
        for (org, number) in [(1, 0), (2, 1), (3, 2)] {
            push(&queue, organization(org), call(number, 2)).expect("there is room");
        }
        assert!(push(&queue, organization(4), call(3, 2)).is_err());
        let mut all = numbers(&queue.take_all());
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
        assert_eq!(take(&queue, 10, 10), None);
    }
}

#[test]
fn taking_all_does_not_open_a_closed_queue() {
    let queue = Queue::new(Class::Small, 10, 10, 1);
    push(&queue, organization(1), call(0, 1)).expect("there is room");
    queue.close();
    assert_eq!(numbers(&queue.take_all()), [0]);
    assert!(matches!(
        push(&queue, organization(1), call(1, 1)),
        Err(Error::ShuttingDown)
    ));
    assert_eq!(take(&queue, 10, 10), Some(None));
}

/// Two queues in front of one organization, whose workers take and finish calls in turns.
fn beside() -> (Queue, Queue) {
    let small = Queue::new(Class::Small, 1_000, 1_000, 1);
    let bulk = Queue::new(Class::Bulk, 1_000, 1_000_000, 1).beside(&small);
    (small, bulk)
}

#[test]
fn a_stream_of_small_calls_does_not_starve_a_large_one() {
    let (small, bulk) = beside();
    push(&small, organization(1), call(0, 1)).expect("there is room");
    assert_eq!(take(&small, 10, 10), one(1, [0]));
    push(&bulk, organization(1), call(1, 1_000)).expect("there is room");
    assert_eq!(take(&bulk, 10, 10), None, "the organization is in progress");
    push(&small, organization(1), call(2, 1)).expect("there is room");
    small.done(&[organization(1)]);
    assert_eq!(take(&small, 10, 10), None, "it is the turn of the large call");
    assert_eq!(take(&bulk, 10, 10), one(1, [1]));
    bulk.done(&[organization(1)]);
    assert_eq!(take(&small, 10, 10), one(1, [2]));
}

#[test]
fn small_calls_do_not_wait_for_large_ones_of_others() {
    let (small, bulk) = beside();
    push(&small, organization(1), call(0, 1)).expect("there is room");
    assert_eq!(take(&small, 10, 10), one(1, [0]));
    push(&bulk, organization(1), call(1, 1_000)).expect("there is room");
    push(&bulk, organization(2), call(2, 1_000)).expect("there is room");
    assert_eq!(take(&bulk, 1, 10), one(2, [2]), "the first organization is in progress");
    push(&small, organization(1), call(3, 1)).expect("there is room");
    small.done(&[organization(1)]);
    assert_eq!(take(&small, 10, 10), one(1, [3]), "the worker of large calls is busy");
}

#[test]
fn a_large_call_gets_its_turn_beside_others_that_are_larger_in_number() {
    let (small, bulk) = beside();
    push(&small, organization(1), call(0, 1)).expect("there is room");
    assert_eq!(take(&small, 10, 10), one(1, [0]));
    push(&bulk, organization(1), call(1, 1_000)).expect("there is room");
    let mut others = 0;
    // Both classes go on for ever; the small calls of the organization always come first.
    while others < 100 {
        push(&bulk, organization(2), call(2, 1_000)).expect("there is room");
        let batch = take(&bulk, 1, 10).flatten().expect("a large call");
        if batch == [(1, vec![1])] {
            break;
        }
        others += 1;
        push(&small, organization(1), call(3, 1)).expect("there is room");
        small.done(&[organization(1)]);
        let _ = take(&small, 10, 10);
        done(&bulk, &batch);
    }
    assert!(others < 10, "{others} others came first");
}
