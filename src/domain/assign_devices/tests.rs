use proptest::prelude::*;

use super::*;

const MAX_DEVICES: usize = 10_000;

/// A request that nothing is wrong with.
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

    /// What is wrong with it: the fields in the order of the problems, and the sentence that tells of them.
    fn refusal(&self) -> (Vec<Field>, String) {
        let violations = self.parse().expect_err("an invalid request");
        let fields = violations.listed().iter().map(|violation| violation.field).collect();
        (fields, violations.sentence())
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
fn a_request_with_one_problem_is_refused_with_the_sentence_of_the_contract() {
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
    let (long_identifier, long_type) = ("ü".repeat(256), "ü".repeat(101));

    let email_missing = "customerEmail is required";
    let email_wrong = "customerEmail must be a valid email address";
    let type_missing = "deviceType is required when autoCreateDevices is true";
    let cases = [
        (with_email(""), Field::CustomerEmail, email_missing),
        (with_email(" \t"), Field::CustomerEmail, email_missing),
        (with_email("ann"), Field::CustomerEmail, email_wrong),
        (with_email("ann@localhost"), Field::CustomerEmail, email_wrong),
        (
            with_devices(&[]),
            Field::DeviceIdentifiers,
            "deviceIdentifiers must not be empty",
        ),
        (
            too_many(MAX_DEVICES),
            Field::DeviceIdentifiers,
            "Too many devices. Maximum 10000 per request",
        ),
        (
            too_many(3),
            Field::DeviceIdentifiers,
            "Too many devices. Maximum 3 per request",
        ),
        (
            with_devices(&["a", "b", " "]),
            Field::DeviceIdentifier(2),
            "deviceIdentifiers[2] must not be empty",
        ),
        (
            with_devices(&["a", &long_identifier]),
            Field::DeviceIdentifier(1),
            "deviceIdentifiers[1] must be at most 255 characters",
        ),
        (
            with_devices(&["a\0b"]),
            Field::DeviceIdentifier(0),
            "deviceIdentifiers[0] must not contain control characters",
        ),
        (with_type(None), Field::DeviceType, type_missing),
        (with_type(Some("")), Field::DeviceType, type_missing),
        (with_type(Some(" ")), Field::DeviceType, type_missing),
        (
            with_type(Some(&long_type)),
            Field::DeviceType,
            "deviceType must be at most 100 characters",
        ),
        (
            with_type(Some("a\tb")),
            Field::DeviceType,
            "deviceType must not contain control characters",
        ),
    ];
    for (request, field, sentence) in cases {
        assert_eq!(request.refusal(), (vec![field], sentence.to_owned()));
    }
}

#[test]
fn identifiers_are_counted_before_repeated_ones_are_folded() {
    let mut request = Request {
        device_identifiers: texts(&["SN-001"; 3]),
        max_devices: 3,
        ..Request::default()
    };
    assert_eq!(devices(&request.parse().expect("as many as may be")), ["SN-001"]);
    request.max_devices = 2;
    let sentence = "Too many devices. Maximum 2 per request".to_owned();
    assert_eq!(request.refusal(), (vec![Field::DeviceIdentifiers], sentence));
}

#[test]
fn sixteen_violations_are_listed_and_all_are_counted() {
    for (wrong, listed) in [(15, 15), (16, 16), (17, 16), (1_000, 16)] {
        let request = Request {
            device_identifiers: texts(&vec![""; wrong]),
            ..Request::default()
        };
        let (fields, sentence) = request.refusal();
        assert_eq!(fields, (0..listed).map(Field::DeviceIdentifier).collect::<Vec<_>>());
        let expected = format!("deviceIdentifiers[0] must not be empty (the first of {wrong} problems)");
        assert_eq!(sentence, expected);
    }
}

proptest! {
    #[test]
    fn a_repeated_identifier_stands_at_its_first_place(
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
            let (fields, sentence) = request.refusal();
            let count = expected.len();
            expected.truncate(Violations::MAX_LISTED);
            prop_assert_eq!(fields, expected);
            let counted = sentence.ends_with(&format!(" (the first of {count} problems)"));
            prop_assert_eq!(counted, count > 1, "{}", sentence);
        }
    }
}
