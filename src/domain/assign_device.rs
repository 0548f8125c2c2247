//! The command that assigns one device to several customers, and its outcome.

use std::collections::HashSet;

use super::{
    Field, FieldProblem, InvalidText, Tally, Violations,
    assign_devices::{UnknownDevices, device},
    change::ChangeKind,
    command::{Command, Rejection, Touches},
    device::{DeviceIdentifier, DeviceType},
    email::Email,
    id::{CustomerId, DeviceId},
    state::State,
};

/// The most customers of one request; repeated ones count.
pub const MAX_CUSTOMERS: usize = 1_000;

/// The command: assign this device to these customers. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignDevice {
    device: DeviceIdentifier,
    customers: Vec<Email>,
    unknown_device: UnknownDevices,
}

impl AssignDevice {
    /// Parses the fields of a request.
    ///
    /// # Errors
    /// Every invalid field.
    pub fn parse(
        device_identifier: &str,
        customer_emails: &[String],
        auto_create_device: bool,
        device_type: Option<&str>,
    ) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let device = device(device_identifier, &mut violations);
        let customers = customers(customer_emails, &mut violations);
        let unknown_device = unknown_device(auto_create_device, device_type, &mut violations);
        let (Some(device), Some(customers), Some(unknown_device)) = (device, customers, unknown_device) else {
            return Err(violations);
        };
        Ok(Self {
            device,
            customers,
            unknown_device,
        })
    }
}

/// The outcome of an [`AssignDevice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The device.
    pub device_id: DeviceId,
    /// Whether this call created the device.
    pub device_was_created: bool,
    /// Each distinct customer, in the order of the request.
    pub customers: Vec<AssignedCustomer>,
}

/// A customer that owns the device now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedCustomer {
    /// The address.
    pub email: Email,
    /// The customer.
    pub id: CustomerId,
    /// Whether this call created the customer.
    pub was_created: bool,
    /// Whether the customer owned the device already.
    pub was_assigned: bool,
}

impl Command for AssignDevice {
    type Outcome = Outcome;

    const KIND: ChangeKind = ChangeKind::Assign;

    fn weight(&self) -> usize {
        self.customers.len()
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        let creates = self.unknown_device != UnknownDevices::Skip;
        touches.assign_to_all(&self.customers, &self.device, creates);
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Outcome, Rejection> {
        let known = state.device(&self.device);
        let device_id = match (known, &self.unknown_device) {
            (Some(device), _) => device,
            (None, UnknownDevices::Create(device_type)) => state.create_device(&self.device, device_type),
            (None, UnknownDevices::Skip) => return Err(Rejection::DeviceNotFound),
        };
        let customers = self.customers.iter().map(|email| {
            let (id, was_created) = state.find_or_create_customer(email);
            AssignedCustomer {
                email: email.clone(),
                id,
                was_created,
                was_assigned: !state.assign((id, device_id)),
            }
        });
        Ok(Outcome {
            device_id,
            customers: customers.collect(),
            device_was_created: known.is_none(),
        })
    }

    fn tally(outcome: &Outcome) -> Tally {
        let count =
            |is: fn(&AssignedCustomer) -> bool| outcome.customers.iter().filter(|customer| is(customer)).count();
        let already_assigned = count(|customer| customer.was_assigned);
        Tally {
            assigned: outcome.customers.len() - already_assigned,
            already_assigned,
            devices_created: usize::from(outcome.device_was_created),
            customers_created: count(|customer| customer.was_created),
            ..Tally::default()
        }
    }
}

/// The distinct customers, or `None` if a violation was added.
fn customers(emails: &[String], violations: &mut Violations) -> Option<Vec<Email>> {
    let mut valid = true;
    let mut reject = |field, problem| {
        valid = false;
        violations.push(field, problem);
    };
    if emails.is_empty() {
        reject(Field::CustomerEmails, FieldProblem::Text(InvalidText::Empty));
    }
    let count = emails.len();
    if count > MAX_CUSTOMERS {
        let max = MAX_CUSTOMERS;
        reject(Field::CustomerEmails, FieldProblem::TooManyCustomers { count, max });
    }
    let mut seen = HashSet::with_capacity(count);
    let mut customers = Vec::with_capacity(count);
    for (index, email) in emails.iter().enumerate() {
        match Email::parse(email) {
            Ok(email) if seen.insert(email.clone()) => customers.push(email),
            Ok(_repeated) => {}
            Err(_) => {
                let is_empty = email.trim().is_empty();
                let problem = if is_empty {
                    FieldProblem::Text(InvalidText::Empty)
                } else {
                    FieldProblem::NotAnEmail
                };
                reject(Field::OneOfCustomerEmails(index), problem);
            }
        }
    }
    valid.then_some(customers)
}

fn unknown_device(create: bool, device_type: Option<&str>, violations: &mut Violations) -> Option<UnknownDevices> {
    if !create {
        return Some(UnknownDevices::Skip);
    }
    let problem = match DeviceType::parse(device_type.unwrap_or_default()) {
        Ok(device_type) => return Some(UnknownDevices::Create(device_type)),
        Err(InvalidText::Empty) => FieldProblem::MissingToCreateDevice,
        Err(problem) => FieldProblem::Text(problem),
    };
    violations.push(Field::DeviceType, problem);
    None
}
