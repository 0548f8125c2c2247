//! Customers that change, by id: the sequential model knows names alone.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use crate::domain::{
    change::{Actor, ChangeOrigin, ChangeSet},
    command::{Rejection, Touches, carry_out},
    create_or_update_customer::{CreateOrUpdateCustomer, Fields, Outcome},
    customer::{CustomerData, CustomerKey},
    delete_customer::DeleteCustomer,
    email::Email,
    id::CustomerId,
    state::{Existing, Linked, State},
};

const EMAILS: [&str; 4] = ["a@example.com", "b@example.com", "c@example.com", "d@example.com"];
const TEXTS: [&str; 3] = ["", "x", "y"];
const METADATA: [&str; 2] = ["{}", r#"{"a":1}"#];

/// The customers of an organization: email, name, phone, address and metadata by id.
type Customers = BTreeMap<CustomerId, [String; 5]>;

/// A call, in positions of the tables above.
#[derive(Debug, Clone)]
enum Call {
    Save {
        id: Option<CustomerId>,
        email: usize,
        name: Option<usize>,
        phone: Option<usize>,
        address: Option<usize>,
        metadata: Option<usize>,
    },
    Delete(CustomerId),
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Created,
    Changed(bool),
    Deleted,
    Rejected,
}

fn id(number: u8) -> CustomerId {
    CustomerId::from_uuid(Uuid::from_u128(u128::from(number)))
}

fn customers() -> impl Strategy<Value = Customers> {
    any::<[Option<(u8, u8)>; 4]>().prop_map(|customers| {
        let customers = customers.into_iter().zip(1..).zip(EMAILS);
        customers
            .filter_map(|((texts, number), email)| {
                let (text, metadata) = texts?;
                let text = TEXTS[usize::from(text) % 3].to_owned();
                let metadata = METADATA[usize::from(metadata) % 2].to_owned();
                Some((
                    id(number),
                    [email.to_owned(), email.to_owned(), text.clone(), text, metadata],
                ))
            })
            .collect()
    })
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let text = || prop::option::of(0..TEXTS.len());
    let save = (
        prop::option::weighted(0.8, 1_u8..=5),
        0..EMAILS.len(),
        prop::option::of(1..TEXTS.len()),
        text(),
        text(),
        prop::option::of(0..METADATA.len()),
    );
    let save = save.prop_map(|(number, email, name, phone, address, metadata)| Call::Save {
        id: number.map(id),
        email,
        name,
        phone,
        address,
        metadata,
    });
    let delete = (1_u8..=5).prop_map(|number| Call::Delete(id(number)));
    prop::collection::vec(prop_oneof![6 => save, 1 => delete], 1..=6)
}

/// Carries out one call alone.
fn alone(customers: &mut Customers, call: &Call, new: CustomerId) -> Answer {
    let (id, email, texts) = match call {
        Call::Delete(id) => {
            let before = customers.remove(id);
            return before.map_or(Answer::Rejected, |_| Answer::Deleted);
        }
        Call::Save {
            id,
            email,
            name,
            phone,
            address,
            metadata,
        } => {
            let text = |text: &Option<usize>| text.map(|text| TEXTS[text]);
            let metadata = metadata.map(|metadata| METADATA[metadata]);
            (id, EMAILS[*email], [text(name), text(phone), text(address), metadata])
        }
    };
    let taken = customers
        .iter()
        .any(|(other, data)| data[0] == email && Some(*other) != *id);
    let before = match id {
        Some(id) => customers.get(id).cloned(),
        None => Some(["", &email[..1], "", "", "{}"].map(str::to_owned)),
    };
    let Some(before) = before.filter(|_| !taken) else {
        return Answer::Rejected;
    };
    let mut after = before.clone();
    email.clone_into(&mut after[0]);
    for (text, new) in after[1..].iter_mut().zip(texts) {
        if let Some(new) = new {
            new.clone_into(text);
        }
    }
    let is_changed = after != before;
    customers.insert(id.unwrap_or(new), after);
    if id.is_some() {
        Answer::Changed(is_changed)
    } else {
        Answer::Created
    }
}

enum Command {
    Save(CreateOrUpdateCustomer),
    Delete(DeleteCustomer),
}

fn command(call: &Call) -> Command {
    match call {
        Call::Delete(id) => Command::Delete(DeleteCustomer::by_id(*id)),
        Call::Save {
            id,
            email,
            name,
            phone,
            address,
            metadata,
        } => {
            let id = id.map(|id| id.to_string());
            let text = |text: &Option<usize>| text.map(|text| TEXTS[text]);
            let saved = CreateOrUpdateCustomer::parse(Fields {
                id: id.as_deref(),
                email: EMAILS[*email],
                name: text(name),
                phone: text(phone),
                address: text(address),
                metadata: metadata.map(|metadata| METADATA[metadata]),
            });
            Command::Save(saved.expect("a valid call"))
        }
    }
}

/// What the database returns for what these commands touch.
fn existing(customers: &Customers, commands: &[Command]) -> Existing {
    let mut touches = Touches::default();
    for command in commands {
        match command {
            Command::Save(command) => touches.add(command),
            Command::Delete(command) => touches.add(command),
        }
    }
    let mut existing = Existing::default();
    for (key, wanted) in touches.customers() {
        let found = customers.iter().find(|(id, data)| match key {
            CustomerKey::Id(named) => named == *id,
            CustomerKey::Email(email) => email.as_str() == data[0],
        });
        let Some((id, [email, name, phone, address, metadata])) = found else {
            continue;
        };
        existing.customers.insert(email.clone(), *id);
        existing.owned.insert(*id, Linked::default());
        let data = existing.data.entry(*id).or_insert_with(|| CustomerData {
            email: Email::from_stored(email.clone()),
            name: name.clone(),
            phone: phone.clone(),
            address: address.clone(),
            metadata: None,
        });
        if *wanted == Some(metadata.as_str()) {
            data.metadata = Some(metadata.clone());
        }
    }
    existing
}

fn as_group(customers: &Customers, calls: &[Call], mut new: impl FnMut() -> Uuid + Send) -> (Vec<Answer>, ChangeSet) {
    let commands: Vec<_> = calls.iter().map(command).collect();
    let existing = existing(customers, &commands);
    let origin = ChangeOrigin {
        actor: Actor::Service,
        request_id: None,
    };
    let mut state = State::new(&existing, &mut new);
    let answers = commands.iter().map(|command| match command {
        Command::Save(command) => match carry_out(command, &mut state, &origin) {
            Ok(Outcome { was_created: true, .. }) => Answer::Created,
            Ok(Outcome { was_changed, .. }) => Answer::Changed(was_changed),
            Err(Rejection::CustomerExists | Rejection::CustomerNotFound(_)) => Answer::Rejected,
            Err(rejection) => panic!("{rejection:?}"),
        },
        Command::Delete(command) => match carry_out(command, &mut state, &origin) {
            Ok(outcome) => {
                assert!(outcome.is_deleted && outcome.unassigned == 0);
                Answer::Deleted
            }
            Err(_) => Answer::Rejected,
        },
    });
    let answers = answers.collect();
    (answers, state.into_changes())
}

/// Writes a change set row by row as the statements do, each of which may meet the unique index on addresses.
fn write(customers: &mut Customers, changes: ChangeSet) {
    let is_free = |customers: &Customers, id: CustomerId, email: &str| {
        customers.iter().all(|(other, data)| *other == id || data[0] != email)
    };
    for id in changes.customers_deleted {
        assert!(customers.remove(&id).is_some(), "{id} does not exist");
    }
    for id in changes.emails_freed {
        customers.get_mut(&id).expect("a customer")[0] = id.to_string();
    }
    for (id, data) in changes.customers_updated {
        assert!(is_free(customers, id, data.email.as_str()), "{} is taken", data.email);
        let row = customers.get_mut(&id).expect("a customer");
        let metadata = data.metadata.unwrap_or_else(|| row[4].clone());
        *row = [
            data.email.as_str().to_owned(),
            data.name,
            data.phone,
            data.address,
            metadata,
        ];
    }
    for customer in changes.customers {
        let data = customer.data;
        assert!(
            is_free(customers, customer.id, data.email.as_str()),
            "{} is taken",
            data.email
        );
        let metadata = data.metadata.expect("the metadata of a new customer");
        let row = [
            data.email.as_str().to_owned(),
            data.name,
            data.phone,
            data.address,
            metadata,
        ];
        assert_eq!(customers.insert(customer.id, row), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_group_is_its_commands_one_after_the_other(before in customers(), calls in calls()) {
        // The ids of new customers, in the order of their creation.
        let new_ids = || {
            let mut number = 100;
            move || {
                number += 1;
                Uuid::from_u128(number)
            }
        };
        let mut expected = before.clone();
        let mut new_id = new_ids();
        let expected_answers: Vec<_> = calls
            .iter()
            .map(|call| {
                let mut tried = expected.clone();
                if alone(&mut tried, call, id(99)) == Answer::Created {
                    alone(&mut expected, call, CustomerId::from_uuid(new_id()))
                } else {
                    alone(&mut expected, call, id(99))
                }
            })
            .collect();
        let (answers, changes) = as_group(&before, &calls, new_ids());
        let log: Vec<_> = changes.log.iter().collect();
        let changed = expected_answers.iter().filter(|answer| !matches!(answer, Answer::Changed(false) | Answer::Rejected));
        prop_assert_eq!(log.len(), changed.count());
        let mut after = before;
        write(&mut after, changes);
        prop_assert_eq!(answers, expected_answers);
        prop_assert_eq!(after, expected);
    }
}
