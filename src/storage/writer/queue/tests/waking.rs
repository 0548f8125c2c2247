//! Which workers are woken, and when.

use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Wake, Waker},
};

use super::*;

/// Waits for calls, lets `act` happen meanwhile, and gives what the wait was for.
async fn wait_while(queue: &Queue, act: impl FnOnce()) -> Option<Numbers> {
    let taken = async { tokio::join!(biased; queue.take(10, 10), async { act() }).0 };
    let taken = tokio::time::timeout(Duration::from_secs(5), taken).await;
    taken.expect("who waits is woken").map(of_batch)
}

#[tokio::test]
async fn who_waits_for_a_call_learns_of_it() {
    let queue = Queue::new(Class::Small, 10, 10, 1);
    let push = || push(&queue, organization(1), call(0, 1)).expect("there is room");
    assert_eq!(wait_while(&queue, push).await, Some(vec![(1, vec![0])]));
}

#[tokio::test]
async fn who_waits_for_a_call_learns_that_none_will_come() {
    let queue = Queue::new(Class::Small, 10, 10, 1);
    assert_eq!(wait_while(&queue, || queue.close()).await, None);
}

#[tokio::test]
async fn all_who_wait_learn_that_no_call_will_come() {
    let queue = Queue::new(Class::Small, 10, 10, 1);
    let all = async {
        tokio::join!(queue.take(9, 9), queue.take(9, 9), queue.take(9, 9), async {
            queue.close()
        })
    };
    let all = tokio::time::timeout(Duration::from_secs(5), all).await;
    let (one, other, third, ()) = all.expect("who waits is woken");
    assert!(one.is_none() && other.is_none() && third.is_none());
}

#[tokio::test]
async fn who_waits_for_a_busy_organization_learns_that_it_is_free() {
    let queue = Queue::new(Class::Small, 10, 10, 1);
    for number in [0, 1] {
        push(&queue, organization(1), call(number, 1)).expect("there is room");
    }
    let first = take(&queue, 1, 1).flatten().expect("a batch");
    assert_eq!(
        wait_while(&queue, || done(&queue, &first)).await,
        Some(vec![(1, vec![1])])
    );
}

/// Counts how often a worker is woken.
#[derive(Default)]
struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_call_wakes_only_the_worker_that_has_waited_for_the_shortest_time() {
    let queue = Queue::new(Class::Small, 10, 10, 2);
    let wakes = [Arc::<WakeCount>::default(), Arc::default()];
    let woken = || wakes.each_ref().map(|count| count.0.load(Ordering::SeqCst));
    let [first, last] = wakes.each_ref().map(|count| Waker::from(Arc::clone(count)));
    let (mut first, mut last) = (Context::from_waker(&first), Context::from_waker(&last));
    let (mut longest, mut shortest) = (pin!(queue.take(9, 9)), pin!(queue.take(9, 9)));
    assert!(longest.as_mut().poll(&mut first).is_pending());
    assert!(shortest.as_mut().poll(&mut last).is_pending());
    push(&queue, organization(1), call(0, 1)).expect("there is room");
    assert_eq!(woken(), [0, 1]);
    let Poll::Ready(Some(batch)) = shortest.poll(&mut last) else {
        panic!("there is a call");
    };
    done(&queue, &of_batch(batch));
    assert_eq!(woken(), [0, 1], "nothing is left to do");
}

#[tokio::test]
async fn who_waits_for_an_organization_of_the_other_class_learns_that_it_is_free() {
    let (small, bulk) = beside();
    push(&small, organization(1), call(0, 1)).expect("there is room");
    assert_eq!(take(&small, 10, 10), one(1, [0]));
    push(&bulk, organization(1), call(1, 1_000)).expect("there is room");
    let batch = wait_while(&bulk, || small.done(&[organization(1)])).await;
    assert_eq!(batch, Some(vec![(1, vec![1])]));
    // Now the small ones wait, the first time while it was the turn of the large call.
    push(&small, organization(1), call(2, 1)).expect("there is room");
    let batch = wait_while(&small, || bulk.done(&[organization(1)])).await;
    assert_eq!(batch, Some(vec![(1, vec![2])]));
}
