//! The sentences about invalid fields, with the names that the fields have in the proto. They contain nothing that a caller
//! sent: the gateway replaces the names in them by those of JSON.

use tonic_types::FieldViolation;

use crate::domain::{Field, FieldProblem, Violation, Violations, idempotency::MAX_KEY_CHARS};

/// One sentence about all of them: the first, and how many there are.
pub(super) fn sentence(violations: &Violations) -> String {
    let first = violations.listed().first().map(description).unwrap_or_default();
    match violations.count() {
        0 | 1 => first,
        count => format!("{first} (the first of {count} problems)"),
    }
}

/// The listed violations, as callers get them.
pub(super) fn listed(violations: &Violations) -> Vec<FieldViolation> {
    let listed = violations.listed().iter();
    listed
        .map(|violation| FieldViolation::new(path(violation.field), description(violation)))
        .collect()
}

fn description(&Violation { field, problem }: &Violation) -> String {
    let path = path(field);
    match problem {
        FieldProblem::Missing => format!("{path} is required"),
        FieldProblem::MissingToCreateDevices => format!("{path} is required when auto_create_devices is true"),
        FieldProblem::MissingToCreateDevice => format!("{path} is required when auto_create_device is true"),
        FieldProblem::NotACustomer => format!("{path} must be a valid email address or the id of a customer"),
        FieldProblem::TooManyCustomers { max, .. } => format!("Too many customers. Maximum {max} per request"),
        FieldProblem::NotAnEmail => format!("{path} must be a valid email address"),
        FieldProblem::NotAnIdempotencyKey => {
            format!("{path} must have 1 to {MAX_KEY_CHARS} printable ASCII characters")
        }
        FieldProblem::Text(problem) => format!("{path} {problem}"),
        FieldProblem::Json(problem) => format!("{path} {problem}"),
        FieldProblem::MissingToCreate => format!("{path} is required for a new device"),
        FieldProblem::NoEntries => format!("{path} must contain at least one entry"),
        FieldProblem::Repeated => format!("{path} is repeated; send it once"),
        FieldProblem::NotACustomerId => format!("{path} must be the id of a customer: cust_ and 26 characters"),
        FieldProblem::MissingWithout(other) => format!("{path} or {} is required", self::path(other)),
        FieldProblem::GivenWith(other) => format!("Send {path} or {}, not both", self::path(other)),
        FieldProblem::Negative => format!("{path} must not be negative"),
        FieldProblem::TooManyDevices { max, .. } => format!("Too many devices. Maximum {max} per request"),
        FieldProblem::ResponseTooLarge { max_bytes } => {
            format!("The response could be larger than {max_bytes} bytes; send fewer {path} per request")
        }
    }
}

/// The path of a field in the request message.
pub(super) fn path(field: Field) -> String {
    match field {
        Field::CustomerEmail => "customer_email".into(),
        Field::CustomerEmails => "customer_emails".into(),
        Field::OneOfCustomerEmails(index) => format!("customer_emails[{index}]"),
        Field::ExpectedOwner => "expected_owner".into(),
        Field::DeviceIdentifiers => "device_identifiers".into(),
        Field::DeviceIdentifier(index) => format!("device_identifiers[{index}]"),
        Field::OneDeviceIdentifier => "device_identifier".into(),
        Field::DeviceType => "device_type".into(),
        Field::Identifier => "identifier".into(),
        Field::Type => "type".into(),
        Field::Properties => "properties_json".into(),
        Field::Devices => "devices".into(),
        Field::IdentifierOf(index) => format!("devices[{index}].identifier"),
        Field::MetadataOf(index) => format!("devices[{index}].metadata_json"),
        Field::Email => "email".into(),
        Field::Name => "name".into(),
        Field::Phone => "phone".into(),
        Field::Address => "address".into(),
        Field::Metadata => "metadata_json".into(),
        Field::CustomerId => "telemetron_customer_id".into(),
        Field::OwnerId => "customer_id".into(),
        Field::Prefix => "prefix".into(),
        Field::EmailPrefix => "email_prefix".into(),
        Field::PageSize => "page_size".into(),
        Field::IdempotencyKey => "idempotency-key".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::InvalidText;

    #[test]
    fn sentences_name_the_fields_of_the_proto() {
        let cases = [
            (
                Field::CustomerEmail,
                FieldProblem::Missing,
                "customer_email is required",
            ),
            (
                Field::CustomerEmail,
                FieldProblem::NotAnEmail,
                "customer_email must be a valid email address",
            ),
            (
                Field::DeviceIdentifiers,
                FieldProblem::Text(InvalidText::Empty),
                "device_identifiers must not be empty",
            ),
            (
                Field::DeviceIdentifiers,
                FieldProblem::TooManyDevices { count: 4, max: 3 },
                "Too many devices. Maximum 3 per request",
            ),
            (
                Field::DeviceIdentifiers,
                FieldProblem::ResponseTooLarge { max_bytes: 9 },
                "The response could be larger than 9 bytes; send fewer device_identifiers per request",
            ),
            (
                Field::DeviceIdentifier(2),
                FieldProblem::Text(InvalidText::TooLong { max: 255 }),
                "device_identifiers[2] must be at most 255 characters",
            ),
            (
                Field::DeviceIdentifier(0),
                FieldProblem::Text(InvalidText::ControlCharacter),
                "device_identifiers[0] must not contain control characters",
            ),
            (
                Field::OneDeviceIdentifier,
                FieldProblem::Missing,
                "device_identifier is required",
            ),
            (
                Field::DeviceType,
                FieldProblem::MissingToCreateDevices,
                "device_type is required when auto_create_devices is true",
            ),
        ];
        for (field, problem, expected) in cases {
            assert_eq!(sentence(&Violations::one(field, problem)), expected);
        }
    }

    #[test]
    fn the_sentence_counts_all_of_them() {
        let mut violations = Violations::default();
        for index in 0..100 {
            violations.push(Field::DeviceIdentifier(index), FieldProblem::Text(InvalidText::Empty));
        }
        let expected = "device_identifiers[0] must not be empty (the first of 100 problems)";
        assert_eq!(sentence(&violations), expected);
        assert_eq!(listed(&violations).len(), Violations::MAX_LISTED);
    }
}
