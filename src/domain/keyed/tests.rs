use uuid::Uuid;

use super::*;
use crate::domain::{
    answers::StoredAnswer,
    assign_devices::AssignDevices,
    change::{Actor, ChangeOrigin, ChangeSet},
    command::carry_out,
    id::new_ids,
    state::Existing,
};

/// A call that creates a device and its owner, and whose answer is the id of the owner.
fn create(key: &str, device: &str) -> Keyed<AssignDevices> {
    let devices = [device.to_owned()];
    let command = AssignDevices::parse("ann@example.com", &devices, true, Some("sensor"), 10).expect("a command");
    let key = IdempotencyKey::new(key.as_bytes(), "Method", device.as_bytes()).expect("a key");
    Keyed {
        command,
        key: Some((
            key,
            Arc::new(|outcome| Some(outcome.customer_id.to_string().into_bytes())),
        )),
    }
}

/// Carries out the calls of one group, one after the other: what each did, and what is written.
fn group(existing: &Existing, calls: &[Keyed<AssignDevices>]) -> (Vec<Result<Repeat, Rejection>>, ChangeSet) {
    let mut new_id = new_ids();
    let mut state = State::new(existing, &mut new_id);
    let origin = ChangeOrigin {
        actor: Actor::Service,
        request_id: None,
    };
    let head = Revision::from_stored(7);
    let results = calls.iter().map(|call| {
        let outcome = carry_out(call, &mut state, &origin)?;
        let revision = Keyed::<AssignDevices>::revision(&outcome, head, state.change_count());
        Ok(Repeat {
            is_repeated: matches!(outcome, Reply::Repeated(_)),
            revision: revision.number(),
        })
    });
    let results = results.collect();
    (results, state.into_changes())
}

#[derive(Debug, PartialEq, Eq)]
struct Repeat {
    is_repeated: bool,
    revision: u64,
}

fn new(revision: u64) -> Result<Repeat, Rejection> {
    Ok(Repeat {
        is_repeated: false,
        revision,
    })
}

fn repeated(revision: u64) -> Result<Repeat, Rejection> {
    Ok(Repeat {
        is_repeated: true,
        revision,
    })
}

#[test]
fn a_key_that_is_twice_in_a_group_is_carried_out_once() {
    let calls = [
        create("a", "1"),
        create("b", "2"),
        create("a", "1"),
        create("a", "2"),
        create("c", "2"),
    ];
    let (results, changes) = group(&Existing::default(), &calls);
    let expected = [
        new(8),
        new(9),
        repeated(8),
        Err(Rejection::IdempotencyKeyReused),
        // It changed nothing.
        new(9),
    ];
    assert_eq!(results, expected);
    assert_eq!(
        (changes.log.len(), changes.devices.len(), changes.answers.len()),
        (2, 2, 3)
    );
    assert!(changes.answers.is_sorted_by_key(|answer| answer.key.digest));
    let customer = changes.customers.first().expect("a customer").id;
    assert!(changes.answers.iter().all(|answer| answer.customers == [customer]));
    assert!(!changes.only_assigns() && !changes.is_empty());
}

#[test]
fn a_stored_answer_is_repeated_with_its_revision() {
    let call = create("a", "1");
    let (key, _) = call.key.as_ref().expect("a key");
    let stored = StoredAnswer {
        request: key.request,
        revision: Revision::from_stored(3),
        message: Some(b"stored".to_vec()),
    };
    let existing = Existing {
        answers: [(key.digest, stored)].into(),
        ..Existing::default()
    };
    let (results, changes) = group(&existing, &[call, create("a", "2")]);
    assert_eq!(results, [repeated(3), Err(Rejection::IdempotencyKeyReused)]);
    assert!(changes.is_empty());
}

#[test]
fn a_call_is_not_carried_out_again_when_its_answer_was_erased() {
    let call = create("a", "1");
    let mut new_id = Uuid::now_v7;
    let origin = ChangeOrigin {
        actor: Actor::Service,
        request_id: None,
    };
    let existing = Existing::default();
    let mut state = State::new(&existing, &mut new_id);
    let Ok(Reply::New(outcome)) = carry_out(&call, &mut state, &origin) else {
        panic!("carried out");
    };
    state.answers().erase(outcome.customer_id);
    let again = carry_out(&call, &mut state, &origin);
    assert!(matches!(again, Err(Rejection::AnswerErased)), "{again:?}");
    let changes = state.into_changes();
    assert_eq!(changes.erased, [outcome.customer_id]);
    let [answer] = &*changes.answers else {
        panic!("{:?}", changes.answers);
    };
    assert_eq!((&answer.message, &*answer.customers), (&None, [].as_slice()));
}
