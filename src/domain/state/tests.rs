mod calls;
mod customers;
mod model;
mod names;
mod stored;

use proptest::prelude::*;

use self::{
    calls::{AnyCommand, CUSTOMERS, Call, DEVICES, TYPES, calls},
    model::World,
    names::Ids,
};
use super::*;
use crate::domain::{command::Touches, customer::CustomerKey};

fn worlds() -> impl Strategy<Value = World> {
    let (customers, devices) = (any::<[bool; 3]>(), any::<[Option<bool>; 6]>());
    (customers, devices, any::<[[bool; 6]; 3]>()).prop_map(|(customers, devices, assignments)| {
        let mut world = World::default();
        for (email, exists) in CUSTOMERS.iter().zip(customers) {
            if exists {
                world.customers.insert((*email).to_owned());
            }
        }
        for (identifier, device_type) in DEVICES.iter().zip(devices) {
            if let Some(device_type) = device_type {
                let device_type = TYPES[usize::from(device_type)].to_owned();
                world.devices.insert((*identifier).to_owned(), device_type);
            }
        }
        for (email, owns) in CUSTOMERS.iter().zip(assignments) {
            for (identifier, owns) in DEVICES.iter().zip(owns) {
                if owns && world.customers.contains(*email) && world.devices.contains_key(*identifier) {
                    world
                        .assignments
                        .insert(((*email).to_owned(), (*identifier).to_owned()));
                }
            }
        }
        world
    })
}

fn groups() -> impl Strategy<Value = Vec<Call>> {
    prop::collection::vec(calls(), 1..=8)
}

fn is_sorted_and_unique<K: Ord>(keys: impl IntoIterator<Item = K>) -> bool {
    let keys: Vec<K> = keys.into_iter().collect();
    keys.windows(2).all(|pair| pair[0] < pair[1])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_group_is_its_commands_one_after_the_other(before in worlds(), calls in groups()) {
        let mut one_by_one = before.clone();
        let expected: Vec<_> = calls.iter().map(|call| one_by_one.carry_out(call)).collect();

        let mut ids = Ids::default();
        let existing = before.existing(&mut ids);
        let (answers, changes) = ids.carry_out(&existing, &calls);
        let mut after = before;
        after.write(&changes, &ids);

        prop_assert_eq!(answers, expected);
        prop_assert_eq!(after, one_by_one);
    }

    #[test]
    fn where_a_group_is_cut_makes_no_difference(before in worlds(), calls in groups(), at: prop::sample::Index) {
        let mut whole = before.clone();
        let mut ids = Ids::default();
        let existing = whole.existing(&mut ids);
        let (answers, changes) = ids.carry_out(&existing, &calls);
        whole.write(&changes, &ids);

        let (first, second) = calls.split_at(at.index(calls.len() + 1));
        let mut cut = before;
        let mut ids = Ids::default();
        let mut answers_when_cut = Vec::new();
        for calls in [first, second] {
            let existing = cut.existing(&mut ids);
            let (answers, changes) = ids.carry_out(&existing, calls);
            cut.write(&changes, &ids);
            answers_when_cut.extend(answers);
        }

        prop_assert_eq!(answers_when_cut, answers);
        prop_assert_eq!(cut, whole);
    }

    #[test]
    fn the_log_replayed_gives_the_tables(before in worlds(), calls in groups()) {
        let mut ids = Ids::default();
        let existing = before.existing(&mut ids);
        let (_, changes) = ids.carry_out(&existing, &calls);
        let mut replayed = before.clone().without_types();
        replayed.replay(&changes.log, &ids);
        let mut written = before;
        written.write(&changes, &ids);
        prop_assert_eq!(replayed, written.without_types());
    }

    /// Otherwise what one command undoes of another would be lost from the log.
    #[test]
    fn a_group_that_only_assigns_has_nothing_else_in_the_log(before in worlds(), calls in groups()) {
        let mut ids = Ids::default();
        let existing = before.existing(&mut ids);
        let (_, changes) = ids.carry_out(&existing, &calls);
        let mut logged: Vec<_> = changes.log.iter().flat_map(|entry| &entry.assigned).copied().collect();
        logged.sort_unstable();
        let is_all = changes.log.iter().all(|entry| {
            let pairs = entry.assigned.clone();
            let nothing_else = LogEntry::new(entry.kind, entry.origin.clone());
            *entry == LogEntry { assigned: pairs, ..nothing_else }
        });
        prop_assert!(!changes.only_assigns() || (is_all && logged == changes.assigned));
    }

    #[test]
    fn what_changed_nothing_is_not_in_the_log(before in worlds(), calls in groups()) {
        let mut ids = Ids::default();
        let mut world = before;
        for call in &calls {
            let existing = world.existing(&mut ids);
            let unchanged = world.clone();
            let (_, changes) = ids.carry_out(&existing, std::slice::from_ref(call));
            world.write(&changes, &ids);
            prop_assert_eq!(changes.log.is_empty(), world == unchanged);
            prop_assert!(changes.log.len() <= 1);
        }
    }

    #[test]
    fn rows_are_in_key_order_and_none_is_repeated(before in worlds(), calls in groups()) {
        let mut ids = Ids::default();
        let existing = before.existing(&mut ids);
        let (_, changes) = ids.carry_out(&existing, &calls);
        prop_assert!(is_sorted_and_unique(changes.customers.iter().map(|customer| &customer.data.email)));
        prop_assert!(is_sorted_and_unique(&changes.customers_deleted));
        prop_assert!(is_sorted_and_unique(&changes.devices_deleted));
        prop_assert!(is_sorted_and_unique(changes.properties.iter().map(|(device, _)| device)));
        prop_assert!(is_sorted_and_unique(changes.devices.iter().map(|device| &device.identifier)));
        prop_assert!(is_sorted_and_unique(changes.types.iter().map(|(device, _)| device)));
        prop_assert!(is_sorted_and_unique(&changes.assigned));
        prop_assert!(is_sorted_and_unique(&changes.unassigned));
    }

    /// What a group touches is all that it may depend on.
    #[test]
    fn what_a_group_does_not_touch_makes_no_difference(before in worlds(), calls in groups()) {
        let mut ids = Ids::default();
        let existing = before.existing(&mut ids);
        let commands: Vec<_> = calls.iter().map(Call::command).collect();
        let mut touches = Touches::default();
        for command in &commands {
            match command {
                AnyCommand::Assign(command) => touches.add(command),
                AnyCommand::AssignDevice(command) => touches.add(command),
                AnyCommand::Transfer(command) => touches.add(command),
                AnyCommand::Unassign(command) => touches.add(command),
                AnyCommand::Import(command) => touches.add(command),
                AnyCommand::UpdateDevice(command) => touches.add(command),
                AnyCommand::UpdateMetadata(command) => touches.add(command),
                AnyCommand::DeleteDevice(command) => touches.add(command),
                AnyCommand::CreateCustomer(command) => touches.add(command),
                AnyCommand::DeleteCustomer(command) => touches.add(command),
            }
        }
        let mut touched = Existing::default();
        let counted: BTreeMap<_, _> = touches.counted().collect();
        for pair in touches.sorted_pairs() {
            let customer = touches.email_of(&pair).and_then(|email| existing.customers.get_key_value(email));
            let device = existing.devices.get_key_value(pair.identifier);
            if let Some((email, id)) = customer {
                touched.customers.insert(email.clone(), *id);
                if let Some(limit) = counted.get(email.as_str()) {
                    let mut list = existing.listed[id].clone();
                    list.first = list.first.into_iter().take(*limit).collect();
                    touched.listed.insert(*id, list);
                }
            }
            if let Some((identifier, id)) = device {
                touched.devices.insert(identifier.clone(), *id);
                if touches.needs_types() {
                    touched.types.insert(*id, existing.types[id].clone());
                }
            }
            if let (Some((_, customer)), Some((_, device))) = (customer, device)
                && existing.assignments.contains(&(*customer, *device))
            {
                touched.assignments.insert((*customer, *device));
            }
        }
        for (key, _) in touches.customers() {
            let CustomerKey::Email(email) = key else { panic!("{key:?}: the model has no ids") };
            if let Some((email, id)) = existing.customers.get_key_value(email.as_str()) {
                touched.customers.insert(email.clone(), *id);
                touched.data.insert(*id, existing.data[id].clone());
            }
        }
        for (key, _) in touches.owned() {
            let CustomerKey::Email(email) = key else { panic!("{key:?}: the model has no ids") };
            if let Some(id) = existing.customers.get(email.as_str()) {
                let linked = existing.owned[id].clone();
                touched.assignments.extend(linked.known.iter().map(|device| (*id, *device)));
                touched.owned.insert(*id, linked);
            }
        }
        for (identifier, new) in touches.devices_with_properties() {
            if let Some(id) = existing.devices.get(*identifier)
                && new.is_none_or(|new| existing.properties[id] == new)
            {
                touched.properties.insert(*id, existing.properties[id].clone());
            }
        }
        for identifier in touches.owners().0 {
            if let Some(id) = existing.devices.get(identifier) {
                let linked = existing.owners[id].clone();
                touched.assignments.extend(linked.known.iter().map(|customer| (*customer, *id)));
                touched.owners.insert(*id, linked);
            }
        }
        let mut other_ids = Ids::default();
        before.existing(&mut other_ids);
        let (answers, changes) = ids.carry_out(&existing, &calls);
        let (answers_when_touched, changes_when_touched) = other_ids.carry_out(&touched, &calls);
        prop_assert_eq!(answers_when_touched, answers);
        prop_assert_eq!(changes_when_touched, changes);
    }
}
