use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn organization(number: usize) -> OrganizationId {
    OrganizationId::from_uuid(Uuid::from_u128(number as u128))
}

/// A call that can be told from others by its number.
fn call(number: usize, devices: usize) -> Call {
    let email = format!("{number}@example.com");
    let identifiers: Vec<_> = (0..devices).map(|device| format!("SN-{device}")).collect();
    Call {
        command: AssignDevices::parse(&email, &identifiers, false, None, devices).expect("a valid command"),
        deadline: Instant::now(),
        reply: oneshot::channel().0,
    }
}

fn number(call: &Call) -> usize {
    call.command.customer().local_part().parse().expect("a number")
}

fn numbers(calls: &[Call]) -> Vec<usize> {
    calls.iter().map(number).collect()
}

/// Takes what is there, and does not wait: the outer `None` says that there is nothing yet.
fn take(queue: &Queue, max_calls: usize, max_devices: usize) -> Option<Option<(OrganizationId, Vec<usize>)>> {
    let taken = queue.take(max_calls, max_devices).now_or_never()?;
    Some(taken.map(|(organization, calls)| (organization, numbers(&calls))))
}

#[test]
fn organizations_take_turns() {
    let queue = Queue::new(2_000, 2_000);
    for number in 0..1_000 {
        queue.push(organization(1), call(number, 1)).expect("there is room");
    }
    queue.push(organization(2), call(7, 1)).expect("there is room");

    assert_eq!(take(&queue, 10, 10), Some(Some((organization(1), (0..10).collect()))));
    assert_eq!(take(&queue, 10, 10), Some(Some((organization(2), vec![7]))));
    assert_eq!(take(&queue, 10, 10), Some(Some((organization(1), (10..20).collect()))));
}

#[test]
fn an_organization_that_comes_back_goes_to_the_end() {
    let queue = Queue::new(10, 10);
    for (org, number) in [(1, 0), (1, 1), (2, 2), (3, 3)] {
        queue.push(organization(org), call(number, 1)).expect("there is room");
    }
    assert_eq!(take(&queue, 1, 10), Some(Some((organization(1), vec![0]))));
    queue.push(organization(1), call(4, 1)).expect("there is room");
    assert_eq!(take(&queue, 9, 10), Some(Some((organization(2), vec![2]))));
    queue.push(organization(2), call(5, 1)).expect("there is room");
    assert_eq!(take(&queue, 9, 10), Some(Some((organization(3), vec![3]))));
    assert_eq!(take(&queue, 9, 10), Some(Some((organization(1), vec![1, 4]))));
    assert_eq!(take(&queue, 9, 10), Some(Some((organization(2), vec![5]))));
    assert_eq!(take(&queue, 9, 10), None);
}

#[test]
fn as_many_calls_wait_as_may_wait() {
    let queue = Queue::new(2, 100);
    assert!(queue.push(organization(1), call(0, 1)).is_ok());
    assert!(queue.push(organization(2), call(1, 1)).is_ok());
    for org in [1, 2, 3] {
        let refused = queue.push(organization(org), call(2, 1));
        assert!(matches!(refused, Err(Error::QueueFull)), "{refused:?}");
    }
    take(&queue, 1, 1);
    assert!(queue.push(organization(1), call(3, 1)).is_ok());
}

#[test]
fn as_many_devices_wait_as_may_wait() {
    let queue = Queue::new(100, 10);
    assert!(queue.push(organization(1), call(0, 6)).is_ok());
    let refused = queue.push(organization(2), call(1, 5));
    assert!(matches!(refused, Err(Error::QueueFull)), "{refused:?}");
    assert!(queue.push(organization(2), call(2, 4)).is_ok());
    take(&queue, 1, 1);
    assert!(queue.push(organization(1), call(3, 6)).is_ok());
}

#[test]
fn a_flood_of_one_organization_leaves_room_for_the_others() {
    let queue = Queue::new(12, 1_000);
    let fill = |org| {
        (0..)
            .take_while(|number| queue.push(organization(org), call(*number, 1)).is_ok())
            .count()
    };
    // Half of the room, then half of what is left as long as the others have as much: never all.
    assert_eq!([fill(1), fill(2), fill(3), fill(4)], [6, 3, 2, 1]);

    let queue = Queue::new(1_000, 120);
    let fill = |org| {
        (0..)
            .take_while(|number| queue.push(organization(org), call(*number, 10)).is_ok())
            .count()
    };
    assert_eq!([fill(1), fill(2), fill(3)], [6, 3, 2]);
}

#[test]
fn a_call_above_every_bound_waits_alone_and_is_taken_alone() {
    let queue = Queue::new(100, 10);
    assert!(queue.push(organization(1), call(0, 50)).is_ok());
    let refused = queue.push(organization(1), call(1, 1));
    assert!(matches!(refused, Err(Error::QueueFull)), "{refused:?}");
    assert_eq!(take(&queue, 10, 5), Some(Some((organization(1), vec![0]))));

    let queue = Queue::new(100, 20);
    assert!(queue.push(organization(1), call(2, 9)).is_ok());
    assert!(queue.push(organization(1), call(3, 1)).is_ok());
    assert_eq!(take(&queue, 10, 5), Some(Some((organization(1), vec![2]))));
    assert_eq!(take(&queue, 10, 5), Some(Some((organization(1), vec![3]))));
}

#[test]
fn a_closed_queue_gives_what_waits_and_then_its_end() {
    let queue = Queue::new(10, 10);
    for (org, number) in [(1, 0), (2, 1), (1, 2)] {
        queue.push(organization(org), call(number, 1)).expect("there is room");
    }
    queue.close();
    let refused = queue.push(organization(1), call(3, 1));
    assert!(matches!(refused, Err(Error::ShuttingDown)), "{refused:?}");
    assert_eq!(take(&queue, 10, 10), Some(Some((organization(1), vec![0, 2]))));
    assert_eq!(take(&queue, 10, 10), Some(Some((organization(2), vec![1]))));
    assert_eq!(take(&queue, 10, 10), Some(None));
    assert_eq!(take(&queue, 10, 10), Some(None));
}

#[test]
fn after_all_was_taken_there_is_as_much_room_as_ever() {
    let queue = Queue::new(3, 6);
    for _ in 0..2 {
        for (org, number) in [(1, 0), (2, 1), (3, 2)] {
            queue.push(organization(org), call(number, 2)).expect("there is room");
        }
        assert!(queue.push(organization(4), call(3, 2)).is_err());
        let mut all = numbers(&queue.take_all());
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
        assert_eq!(take(&queue, 10, 10), None);
    }
}

#[test]
fn taking_all_does_not_open_a_closed_queue() {
    let queue = Queue::new(10, 10);
    queue.push(organization(1), call(0, 1)).expect("there is room");
    queue.close();
    assert_eq!(numbers(&queue.take_all()), [0]);
    assert!(matches!(
        queue.push(organization(1), call(1, 1)),
        Err(Error::ShuttingDown)
    ));
    assert_eq!(take(&queue, 10, 10), Some(None));
}

/// Waits for calls, lets `act` happen meanwhile, and gives what the wait was for.
async fn wait_while(queue: &Queue, act: impl FnOnce()) -> Option<(OrganizationId, Vec<usize>)> {
    let taken = async { tokio::join!(biased; queue.take(10, 10), async { act() }).0 };
    let taken = tokio::time::timeout(Duration::from_secs(5), taken).await;
    let (organization, calls) = taken.expect("who waits is woken")?;
    Some((organization, numbers(&calls)))
}

#[tokio::test]
async fn who_waits_for_a_call_learns_of_it() {
    let queue = Queue::new(10, 10);
    let push = || queue.push(organization(1), call(0, 1)).expect("there is room");
    assert_eq!(wait_while(&queue, push).await, Some((organization(1), vec![0])));
}

#[tokio::test]
async fn who_waits_for_a_call_learns_that_none_will_come() {
    let queue = Queue::new(10, 10);
    assert_eq!(wait_while(&queue, || queue.close()).await, None);
}

#[derive(Debug, Clone)]
enum Step {
    Push { organization: usize, devices: usize },
    Take { max_calls: usize, max_devices: usize },
    TakeAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let push = (0..4usize, 1..5usize).prop_map(|(organization, devices)| Step::Push { organization, devices });
    let take = (1..4usize, 1..8usize).prop_map(|(max_calls, max_devices)| Step::Take { max_calls, max_devices });
    prop::collection::vec(prop_oneof![20 => push, 8 => take, 1 => Just(Step::TakeAll)], 0..80)
}

/// What should be in the queue.
#[derive(Default)]
struct Model {
    /// The numbers of the calls and of their devices, by organization.
    lines: [VecDeque<(usize, usize)>; 4],
    /// Since when each organization has waited for its turn.
    waiting_since: [usize; 4],
}

impl Model {
    fn devices(&self) -> usize {
        self.lines.iter().flatten().map(|(_, devices)| devices).sum()
    }

    fn calls(&self) -> usize {
        self.lines.iter().map(VecDeque::len).sum()
    }

    fn longest_waiting(&self) -> Option<usize> {
        (0..4)
            .filter(|organization| !self.lines[*organization].is_empty())
            .min_by_key(|organization| self.waiting_since[*organization])
    }
}

proptest! {
    #[test]
    fn no_call_is_lost_repeated_or_overtaken(steps in steps(), max_calls in 0..12usize, max_devices in 0..24usize) {
        let queue = Queue::new(max_calls, max_devices);
        let mut model = Model::default();
        for (now, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push { organization: org, devices } => {
                    let own: usize = model.lines[org].iter().map(|(_, devices)| devices).sum();
                    let fits = model.calls() + model.lines[org].len() < max_calls
                        && model.devices() + own + devices <= max_devices;
                    let is_accepted = queue.push(organization(org), call(now, devices)).is_ok();
                    prop_assert_eq!(is_accepted, fits || model.calls() == 0);
                    if is_accepted {
                        if model.lines[org].is_empty() {
                            model.waiting_since[org] = now;
                        }
                        model.lines[org].push_back((now, devices));
                    }
                }
                Step::Take { max_calls, max_devices } => {
                    let Some(turn) = model.longest_waiting() else {
                        prop_assert_eq!(take(&queue, max_calls, max_devices), None);
                        continue;
                    };
                    let (taken_of, taken) = take(&queue, max_calls, max_devices).flatten().expect("a batch");
                    prop_assert_eq!(taken_of, organization(turn));
                    model.waiting_since[turn] = now;
                    let line = &mut model.lines[turn];
                    prop_assert!((1..=line.len()).contains(&taken.len()));
                    let batch: Vec<_> = line.drain(..taken.len()).collect();
                    prop_assert_eq!(taken, batch.iter().map(|(number, _)| *number).collect::<Vec<_>>());
                    let devices: usize = batch.iter().map(|(_, devices)| devices).sum();
                    prop_assert!(batch.len() == 1 || (batch.len() <= max_calls && devices <= max_devices));
                    if let Some((_, next)) = line.front() {
                        let next_fits = batch.len() < max_calls && devices + next <= max_devices;
                        prop_assert!(!next_fits, "a batch takes what it can");
                    }
                }
                Step::TakeAll => {
                    // Each organization's calls together and in their order.
                    let all = numbers(&queue.take_all());
                    prop_assert_eq!(all.len(), model.calls());
                    for line in std::mem::take(&mut model.lines) {
                        let line: Vec<_> = line.into_iter().map(|(number, _)| number).collect();
                        let of_line: Vec<_> = all.iter().copied().filter(|number| line.contains(number)).collect();
                        prop_assert_eq!(of_line, line);
                    }
                }
            }
        }
    }
}
