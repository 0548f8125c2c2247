//! What happens to the calls of a batch besides being committed.

use std::time::Instant;

use super::{
    call::Call,
    queue::{Batch, Group},
};
use crate::{
    domain::{Error, change::Revision},
    storage::DatabaseError,
};

/// Splits a failed batch into the calls that get the error and the batches that run again without them.
pub(super) fn split(mut batch: Batch, index: Option<usize>, error: &DatabaseError) -> (Vec<Call>, Vec<Batch>) {
    let index = match index {
        // A standby runs none of those that change something, and all others.
        Some(_) if error.is_read_only() && batch.len() > 1 => {
            return (Vec::new(), batch.into_iter().map(|group| vec![group]).collect());
        }
        Some(index) => index,
        None if batch.len() == 1 => 0,
        // Any group may be the cause.
        None => return (Vec::new(), batch.into_iter().map(|group| vec![group]).collect()),
    };
    let Group { organization, calls } = batch.remove(index);
    let mut again = Vec::new();
    if !batch.is_empty() {
        again.push(batch);
    }
    let is_a_bug = matches!(error, DatabaseError::Fault(_) | DatabaseError::Panicked);
    // A single call may be the cause for the whole group.
    if (is_a_bug || error.is_read_only()) && calls.len() > 1 {
        let alone = |call| {
            vec![Group {
                organization,
                calls: vec![call],
            }]
        };
        again.extend(calls.into_iter().map(alone));
        return (Vec::new(), again);
    }
    (calls, again)
}

/// Adds a group to those that are held, each organization once: a split may have cut its calls apart.
pub(super) fn hold(held: &mut Batch, group: Group) {
    match held.iter_mut().find(|other| other.organization == group.organization) {
        Some(other) => other.calls.extend(group.calls),
        None => held.push(group),
    }
}

/// The calls of all groups.
pub(super) fn calls_of(batch: Batch) -> impl Iterator<Item = Call> {
    batch.into_iter().flat_map(|group| group.calls)
}

/// Leaves out the calls that nobody waits for: callers that left, and calls whose deadline has passed.
pub(super) fn still_wanted(mut batch: Batch) -> Batch {
    let now = Instant::now();
    for group in &mut batch {
        let calls = std::mem::take(&mut group.calls);
        let (in_time, late): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| now < call.deadline);
        settle(late, &Err(Error::DeadlineExceeded));
        group.calls = in_time.into_iter().filter(|call| call.job.is_wanted()).collect();
    }
    batch.retain(|group| !group.calls.is_empty());
    batch
}

/// Tells calls that they failed.
pub(super) fn reject(calls: impl IntoIterator<Item = Call>, error: DatabaseError) {
    settle(calls, &Err(Error::from(error)));
}

/// Tells calls their outcome.
pub(super) fn settle(calls: impl IntoIterator<Item = Call>, committed: &Result<Revision, Error>) {
    for call in calls {
        call.job.settle(committed.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{
            assign_devices::{AssignDevices, Outcome},
            change::{Actor, ChangeOrigin},
            id::OrganizationId,
        },
        storage::PendingOutcome,
        telemetry::trace::Wait,
    };

    /// A call by its request id, and its outcome.
    fn call(request_id: &str) -> (Call, PendingOutcome<Outcome>) {
        let command = AssignDevices::parse("ann@example.com", &["SN-1".into()], false, None, 1).expect("a command");
        let origin = ChangeOrigin {
            actor: Actor::Service,
            request_id: Some(request_id.to_owned()),
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        Call::new(command, origin, deadline, Wait::begin("small"))
    }

    fn batch(calls: Vec<Call>) -> Batch {
        let organization = OrganizationId::from_uuid(Uuid::nil());
        vec![Group { organization, calls }]
    }

    fn request_ids(batch: &Batch) -> Vec<&str> {
        let calls = batch.iter().flat_map(|group| &group.calls);
        calls
            .filter_map(|call| call.job.origin().request_id.as_deref())
            .collect()
    }

    #[test]
    fn calls_stay_in_order() {
        let (calls, _outcomes): (Vec<_>, Vec<_>) = ["a", "b", "c"].map(call).into_iter().unzip();
        assert_eq!(request_ids(&still_wanted(batch(calls))), ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn calls_that_nobody_waits_for_are_left_out() {
        let (left, outcome) = call("left");
        drop(outcome);
        let (mut late, outcome) = call("late");
        late.deadline = Instant::now();
        let (here, _outcome) = call("here");
        assert_eq!(request_ids(&still_wanted(batch(vec![left, late, here]))), ["here"]);
        assert!(matches!(outcome.await, Err(Error::DeadlineExceeded)));
        let (abandoned, outcome) = call("abandoned");
        outcome.abandon();
        assert!(still_wanted(batch(vec![abandoned])).is_empty());
    }
}
