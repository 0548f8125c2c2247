//! The command to delete a customer with its personal data and assignments, and its outcome.

use super::{
    Field, FieldProblem, Tally, Violations,
    change::{ChangeKind, MAX_PAIRS},
    command::{Command, Rejection, Touches},
    create_or_update_customer::{parse_email, parse_id},
    customer::CustomerKey,
    id::CustomerId,
    state::State,
};

/// Delete this customer. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteCustomer {
    customer: CustomerKey,
}

impl DeleteCustomer {
    /// Parses the fields of a request, of which exactly one must be given.
    ///
    /// # Errors
    /// Every invalid field.
    pub fn parse(email: &str, id: Option<&str>) -> Result<Self, Violations> {
        let has_email = !email.trim().is_empty();
        let mut violations = Violations::default();
        let customer = match (has_email, id) {
            (true, Some(_)) => {
                violations.push(Field::Email, FieldProblem::GivenWith(Field::CustomerId));
                None
            }
            (false, None) => {
                violations.push(Field::Email, FieldProblem::MissingWithout(Field::CustomerId));
                None
            }
            (true, None) => parse_email(email, &mut violations).map(CustomerKey::Email),
            (false, id) => parse_id(id, &mut violations).map(CustomerKey::Id),
        };
        customer.map(|customer| Self { customer }).ok_or(violations)
    }

    /// The command to delete the customer with this id.
    pub fn by_id(id: CustomerId) -> Self {
        let customer = CustomerKey::Id(id);
        Self { customer }
    }
}

/// The outcome of a [`DeleteCustomer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The customer.
    pub customer_id: CustomerId,
    /// How many devices were removed from it.
    pub unassigned: usize,
    /// Whether it is deleted now. Otherwise it has more devices, and the command has to run again.
    pub is_deleted: bool,
}

impl Command for DeleteCustomer {
    type Outcome = Outcome;

    const KIND: ChangeKind = ChangeKind::Delete;

    fn weight(&self) -> usize {
        MAX_PAIRS
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        touches.customer(self.customer.clone(), None);
        touches.devices_of(self.customer.clone(), MAX_PAIRS);
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Outcome, Rejection> {
        let (customer, field) = match &self.customer {
            CustomerKey::Email(email) => (state.customer(email), Field::Email),
            CustomerKey::Id(id) => (state.customer_data(*id).map(|_| *id), Field::CustomerId),
        };
        let customer_id = customer.ok_or(Rejection::CustomerNotFound(field))?;
        let devices = state.devices_owned_by(customer_id);
        let unassigned = devices.known.len().min(MAX_PAIRS);
        let is_deleted = devices.is_complete && unassigned == devices.known.len();
        for device in devices.known.into_iter().take(unassigned) {
            state.unassign((customer_id, device));
        }
        if is_deleted {
            state.delete_customer(customer_id);
        }
        Ok(Outcome {
            customer_id,
            unassigned,
            is_deleted,
        })
    }

    fn tally(outcome: &Outcome) -> Tally {
        Tally {
            unassigned: outcome.unassigned,
            customers_deleted: usize::from(outcome.is_deleted),
            ..Tally::default()
        }
    }
}
