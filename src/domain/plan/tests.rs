mod model;

use proptest::prelude::*;

use self::model::{CUSTOMERS, CallInput, DEVICES, Ids, NamedFate, NamedOutcome, Spelling, TYPES, World, insert};
use super::*;

fn worlds() -> impl Strategy<Value = World> {
    let (customers, devices) = (any::<[bool; 3]>(), any::<[Option<bool>; 6]>());
    (customers, devices, any::<[[bool; 6]; 3]>()).prop_map(|(customers, devices, assignments)| {
        let mut world = World::default();
        for (email, exists) in CUSTOMERS.iter().zip(customers) {
            if exists {
                world.customers.insert(email.to_string());
            }
        }
        for (identifier, device_type) in DEVICES.iter().zip(devices) {
            if let Some(device_type) = device_type {
                let device_type = TYPES[usize::from(device_type)].to_owned();
                world.devices.insert(identifier.to_string(), device_type);
            }
        }
        for (email, owns) in CUSTOMERS.iter().zip(assignments) {
            for (identifier, owns) in DEVICES.iter().zip(owns) {
                if owns && world.customers.contains(*email) && world.devices.contains_key(*identifier) {
                    world.assignments.insert((email.to_string(), identifier.to_string()));
                }
            }
        }
        world
    })
}

fn groups() -> impl Strategy<Value = Vec<CallInput>> {
    let spelling = prop_oneof![Just(Spelling::Stored), Just(Spelling::Upper), Just(Spelling::Padded)];
    let input = (
        0..CUSTOMERS.len(),
        spelling,
        prop::collection::vec(0..DEVICES.len(), 1..=6),
        prop::option::of(0..TYPES.len()),
    );
    let input = input.prop_map(|(customer, spelling, devices, create)| CallInput {
        customer,
        spelling,
        devices,
        create,
    });
    prop::collection::vec(input, 1..=8)
}

fn commands(group: &[CallInput]) -> Vec<AssignDevices> {
    group.iter().map(CallInput::command).collect()
}

fn is_empty(plan: &Plan) -> bool {
    plan.customers.is_empty() && plan.devices.is_empty() && plan.assignments.is_empty()
}

fn is_sorted_and_unique<K: Ord>(keys: impl IntoIterator<Item = K>) -> bool {
    let keys: Vec<K> = keys.into_iter().collect();
    keys.windows(2).all(|pair| pair[0] < pair[1])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_group_is_its_commands_one_after_the_other(before in worlds(), group in groups()) {
        let mut one_by_one = before.clone();
        let expected: Vec<_> = group.iter().map(|input| one_by_one.run(input)).collect();

        let mut ids = Ids::default();
        let existing = before.existing(&mut ids);
        let commands = commands(&group);
        let plan = ids.plan(&existing, &commands);
        let mut planned = before;
        planned.insert(&plan, &ids);

        prop_assert_eq!(ids.outcomes(&plan), expected);
        prop_assert_eq!(planned, one_by_one);
    }

    #[test]
    fn splitting_a_group_makes_no_difference(before in worlds(), group in groups(), at: prop::sample::Index) {
        let mut ids = Ids::default();
        let existing = before.existing(&mut ids);
        let commands = commands(&group);
        let whole = ids.plan(&existing, &commands);
        let mut after_whole = before.clone();
        after_whole.insert(&whole, &ids);
        let outcomes = ids.outcomes(&whole);

        let (first, second) = commands.split_at(at.index(commands.len() + 1));
        let mut ids = Ids::default();
        let mut existing = before.existing(&mut ids);
        let first = ids.plan(&existing, first);
        insert(&mut existing, &first);
        let second = ids.plan(&existing, second);
        let mut after_both = before;
        after_both.insert(&first, &ids);
        after_both.insert(&second, &ids);
        let mut outcomes_of_both = ids.outcomes(&first);
        outcomes_of_both.extend(ids.outcomes(&second));

        prop_assert_eq!(outcomes_of_both, outcomes);
        prop_assert_eq!(after_both, after_whole);
    }

    #[test]
    fn rows_are_in_key_order_and_none_is_repeated(before in worlds(), group in groups()) {
        let mut ids = Ids::default();
        let existing = before.existing(&mut ids);
        let commands = commands(&group);
        let plan = ids.plan(&existing, &commands);
        prop_assert!(is_sorted_and_unique(plan.customers.iter().map(|customer| customer.email)));
        prop_assert!(is_sorted_and_unique(plan.devices.iter().map(|device| device.identifier)));
        prop_assert!(is_sorted_and_unique(&plan.assignments));
    }

    #[test]
    fn the_same_call_again_changes_nothing(before in worlds(), group in groups()) {
        let mut ids = Ids::default();
        let mut existing = before.existing(&mut ids);
        for command in commands(&group) {
            let command = [command];
            let once = ids.plan(&existing, &command);
            insert(&mut existing, &once);
            let again = ids.plan(&existing, &command);
            prop_assert!(is_empty(&again));
            if let (NamedOutcome::Done { devices, .. }, Ok(outcome)) = (ids.outcome(&once.outcomes[0]), &again.outcomes[0]) {
                prop_assert!(!outcome.customer_was_created);
                for ((_, once), (_, again)) in devices.iter().zip(&outcome.devices) {
                    let was_skipped = *once == NamedFate::Skipped;
                    prop_assert_eq!(was_skipped, *again == Fate::Skipped);
                    prop_assert_eq!(!was_skipped, matches!(again, Fate::AlreadyAssigned { .. }));
                }
            }
        }
    }

    /// The second time, only what was rejected or skipped can change something: a later call may have created the
    /// device that an earlier one named. The third time, nothing changes.
    #[test]
    fn the_same_group_again_changes_only_what_was_left_out(before in worlds(), group in groups()) {
        let mut ids = Ids::default();
        let mut existing = before.existing(&mut ids);
        let commands = commands(&group);
        let once = ids.plan(&existing, &commands);
        let left_out = |outcome: &Result<Outcome, _>| match outcome {
            Ok(outcome) => outcome.devices.iter().any(|(_, fate)| *fate == Fate::Skipped),
            Err(_) => true,
        };
        insert(&mut existing, &once);
        let twice = ids.plan(&existing, &commands);
        prop_assert!(twice.devices.is_empty());
        if !once.outcomes.iter().any(left_out) {
            prop_assert!(is_empty(&twice));
        }
        insert(&mut existing, &twice);
        prop_assert!(is_empty(&ids.plan(&existing, &commands)));
    }

    #[test]
    fn every_distinct_identifier_has_one_fate_in_the_order_of_the_request(before in worlds(), group in groups()) {
        let existing = before.existing(&mut Ids::default());
        let commands = commands(&group);
        let plan = plan(&existing, &commands, &mut Uuid::now_v7);
        prop_assert_eq!(plan.outcomes.len(), group.len());
        for (input, outcome) in group.iter().zip(&plan.outcomes) {
            let distinct = input.distinct_devices();
            match outcome {
                Err(NoValidDevices { count }) => prop_assert_eq!(*count, distinct.len()),
                Ok(outcome) => {
                    let fates: Vec<_> = outcome.devices.iter().map(|(device, _)| device.as_str()).collect();
                    prop_assert_eq!(fates, distinct);
                }
            }
        }
    }

    #[test]
    fn a_command_without_a_valid_device_is_rejected_and_changes_nothing(before in worlds(), input in groups()) {
        let existing = before.existing(&mut Ids::default());
        for input in input {
            let none_exists = input.devices.iter().all(|device| !before.devices.contains_key(DEVICES[*device]));
            let commands = [input.command()];
            let plan = plan(&existing, &commands, &mut Uuid::now_v7);
            let is_rejected = plan.outcomes[0].is_err();
            prop_assert_eq!(is_rejected, input.create.is_none() && none_exists);
            if is_rejected {
                prop_assert!(is_empty(&plan));
            }
        }
    }
}

#[test]
fn a_device_keeps_the_type_that_it_was_created_with() {
    let create = |customer, device_type| {
        AssignDevices::parse(customer, &["sn-1".to_owned()], true, Some(device_type), 1).expect("a valid call")
    };
    let commands = [
        create("ann@example.com", "sensor"),
        create("bob@example.com", "Gateway"),
    ];
    let plan = plan(&Existing::default(), &commands, &mut Uuid::now_v7);
    let types: Vec<_> = plan.devices.iter().map(|device| device.device_type.as_str()).collect();
    assert_eq!(types, ["sensor"]);
    assert_eq!(plan.assignments.len(), 2, "the second customer owns it too");
}
