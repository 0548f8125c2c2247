use proptest::prelude::*;

use super::*;

const MAX_DEVICES: usize = 10_000;

/// By default a valid request.
struct Request<'a> {
    customer_email: &'a str,
    device_identifiers: Vec<String>,
    auto_create_devices: bool,
    device_type: Option<&'a str>,
    max_devices: usize,
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            customer_email: "ann@example.com",
            device_identifiers: texts(&["SN-001"]),
            auto_create_devices: false,
            device_type: None,
            max_devices: MAX_DEVICES,
        }
    }
}

impl Request<'_> {
    fn parse(&self) -> Result<AssignDevices, Violations> {
        AssignDevices::parse(
            self.customer_email,
            &self.device_identifiers,
            self.auto_create_devices,
            self.device_type,
            self.max_devices,
        )
    }

    /// The invalid fields that are listed, in the order in which they were found, and how many there are.
    fn invalid_fields(&self) -> (Vec<Field>, usize) {
        let violations = self.parse().expect_err("an invalid request");
        let fields = violations.listed().iter().map(|violation| violation.field).collect();
        (fields, violations.count())
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| text.to_string()).collect()
}

fn devices(command: &AssignDevices) -> Vec<&str> {
    command.devices().iter().map(DeviceIdentifier::as_str).collect()
}

#[test]
fn a_valid_request_is_read() {
    let command = Request {
        customer_email: " Ann@Example.com ",
        device_identifiers: texts(&["SN-001", " SN-002\n"]),
        auto_create_devices: true,
        device_type: Some(" sensor "),
        ..Request::default()
    };
    let command = command.parse().expect("a valid request");
    assert_eq!(command.customer().as_str(), "ann@example.com");
    assert_eq!(devices(&command), ["SN-001", "SN-002"]);
    let sensor = DeviceType::parse("sensor").expect("a type");
    assert_eq!(*command.unknown_devices(), UnknownDevices::Create(sensor));
}

#[test]
fn the_type_is_ignored_where_no_device_may_be_created() {
    for device_type in [None, Some(""), Some("sensor"), Some("\0")] {
        let request = Request {
            device_type,
            ..Request::default()
        };
        let command = request.parse().expect("a valid request");
        assert_eq!(*command.unknown_devices(), UnknownDevices::Skip);
    }
}

#[test]
fn each_rule_has_its_problem() {
    use FieldProblem::{Missing, MissingToCreateDevices, NotAnEmail, Text, TooManyDevices};
    use InvalidText::{ControlCharacter, Empty, TooLong};

    let with_email = |customer_email| Request {
        customer_email,
        ..Request::default()
    };
    let with_devices = |devices: &[&str]| Request {
        device_identifiers: texts(devices),
        ..Request::default()
    };
    let with_type = |device_type| Request {
        auto_create_devices: true,
        device_type,
        ..Request::default()
    };
    let too_many = |max_devices| Request {
        device_identifiers: texts(&["SN-001"; MAX_DEVICES + 1]),
        max_devices,
        ..Request::default()
    };
    let (count, max) = (MAX_DEVICES + 1, MAX_DEVICES);
    let (long_identifier, long_type) = ("ü".repeat(256), "ü".repeat(101));
    let cases = [
        (with_email(""), Field::CustomerEmail, Missing),
        (with_email(" \t"), Field::CustomerEmail, Missing),
        (with_email("ann"), Field::CustomerEmail, NotAnEmail),
        (with_email("ann@localhost"), Field::CustomerEmail, NotAnEmail),
        (with_devices(&[]), Field::DeviceIdentifiers, Text(Empty)),
        (too_many(max), Field::DeviceIdentifiers, TooManyDevices { count, max }),
        (too_many(3), Field::DeviceIdentifiers, TooManyDevices { count, max: 3 }),
        (with_devices(&["a", "b", " "]), Field::DeviceIdentifier(2), Text(Empty)),
        (
            with_devices(&["a", &long_identifier]),
            Field::DeviceIdentifier(1),
            Text(TooLong { max: 255 }),
        ),
        (
            with_devices(&["a\0b"]),
            Field::DeviceIdentifier(0),
            Text(ControlCharacter),
        ),
        (with_type(None), Field::DeviceType, MissingToCreateDevices),
        (with_type(Some("")), Field::DeviceType, MissingToCreateDevices),
        (with_type(Some(" ")), Field::DeviceType, MissingToCreateDevices),
        (
            with_type(Some(&long_type)),
            Field::DeviceType,
            Text(TooLong { max: 100 }),
        ),
        (with_type(Some("a\tb")), Field::DeviceType, Text(ControlCharacter)),
    ];
    for (request, field, problem) in cases {
        let violations = request.parse().expect_err("an invalid request");
        assert_eq!(violations, Violations::one(field, problem));
    }
}

#[test]
fn repeated_identifiers_count() {
    let mut request = Request {
        device_identifiers: texts(&["SN-001"; 3]),
        max_devices: 3,
        ..Request::default()
    };
    assert_eq!(devices(&request.parse().expect("as many as may be")), ["SN-001"]);
    request.max_devices = 2;
    assert_eq!(request.invalid_fields(), (vec![Field::DeviceIdentifiers], 1));
}

#[test]
fn sixteen_violations_are_listed_and_all_are_counted() {
    for (wrong, listed) in [(15, 15), (16, 16), (17, 16), (1_000, 16)] {
        let request = Request {
            device_identifiers: texts(&vec![""; wrong]),
            ..Request::default()
        };
        let fields = (0..listed).map(Field::DeviceIdentifier).collect();
        assert_eq!(request.invalid_fields(), (fields, wrong));
    }
}

#[test]
fn an_outcome_is_counted() {
    let device_id = DeviceId::new();
    let fates = [
        Fate::Assigned {
            device_id,
            was_created: true,
        },
        Fate::Assigned {
            device_id,
            was_created: false,
        },
        Fate::AlreadyAssigned { device_id },
        Fate::Skipped,
        Fate::Skipped,
        Fate::Skipped,
    ];
    let devices = fates.map(|fate| (DeviceIdentifier::parse("SN-1").expect("an identifier"), fate));
    let outcome = Outcome {
        customer_id: CustomerId::new(),
        customer_was_created: true,
        devices: devices.into(),
    };
    let expected = Tally {
        assigned: 2,
        already_assigned: 1,
        skipped: 3,
        devices_created: 1,
        customers_created: 1,
        ..Tally::default()
    };
    assert_eq!(outcome.tally(), expected);
    assert_eq!(expected.owned(), 3);
}

proptest! {
    #[test]
    fn a_repeated_identifier_keeps_its_first_place(
        given in prop::collection::vec(("[ \t\r\n\u{2003}]{0,2}", "[aAbBü]{1,2}", "[ \t\u{a0}]{0,2}"), 1..20),
    ) {
        let padded: Vec<_> = given.iter().map(|(left, name, right)| format!("{left}{name}{right}")).collect();
        let mut expected: Vec<&str> = Vec::new();
        for (_, name, _) in &given {
            if !expected.contains(&name.as_str()) {
                expected.push(name);
            }
        }
        let request = Request { device_identifiers: padded, ..Request::default() };
        let command = request.parse().expect("a valid request");
        prop_assert_eq!(devices(&command), expected);
    }

    #[test]
    fn every_violation_is_found_at_once(
        email_is_right: bool,
        devices_are_right in prop::collection::vec(prop::bool::weighted(0.8), 0..40),
        max_devices in 1usize..40,
        create: bool,
        type_is_right: bool,
    ) {
        let wrong_identifiers = ["", "\u{7f}", &"x".repeat(256)].map(str::to_owned);
        let identifiers = devices_are_right.iter().enumerate().map(|(index, is_right)| {
            if *is_right { format!("SN-{index}") } else { wrong_identifiers[index % 3].clone() }
        });
        let request = Request {
            customer_email: if email_is_right { "ann@example.com" } else { "ann@" },
            device_identifiers: identifiers.collect(),
            auto_create_devices: create,
            device_type: type_is_right.then_some("sensor"),
            max_devices,
        };

        let mut expected = Vec::new();
        if !email_is_right {
            expected.push(Field::CustomerEmail);
        }
        if devices_are_right.is_empty() || devices_are_right.len() > max_devices {
            expected.push(Field::DeviceIdentifiers);
        }
        let wrong = devices_are_right.iter().enumerate().filter(|(_, is_right)| !**is_right);
        expected.extend(wrong.map(|(index, _)| Field::DeviceIdentifier(index)));
        if create && !type_is_right {
            expected.push(Field::DeviceType);
        }

        if expected.is_empty() {
            prop_assert!(request.parse().is_ok());
        } else {
            let count = expected.len();
            expected.truncate(Violations::MAX_LISTED);
            prop_assert_eq!(request.invalid_fields(), (expected, count));
        }
    }
}
