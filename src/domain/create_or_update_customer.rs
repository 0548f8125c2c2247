//! The command to create a customer or change one that exists, and its outcome.

use super::{
    Field, FieldProblem, Tally, Violations,
    change::ChangeKind,
    command::{Command, Rejection, Touches},
    customer::{Address, CustomerData, CustomerKey, CustomerName, Phone},
    email::Email,
    id::CustomerId,
    json_object::JsonObject,
    state::State,
};

/// Create a customer, or change the one with this id. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateOrUpdateCustomer {
    id: Option<CustomerId>,
    email: Email,
    name: Option<CustomerName>,
    phone: Option<Phone>,
    address: Option<Address>,
    metadata: Option<JsonObject>,
}

/// The fields of a request. What is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fields<'r> {
    /// The id of the customer to change. Without it, a customer is created.
    pub id: Option<&'r str>,
    /// The email address.
    pub email: &'r str,
    /// The name.
    pub name: Option<&'r str>,
    /// The phone number.
    pub phone: Option<&'r str>,
    /// The postal address.
    pub address: Option<&'r str>,
    /// The metadata, a JSON object.
    pub metadata: Option<&'r str>,
}

impl CreateOrUpdateCustomer {
    /// Parses the fields of a request.
    ///
    /// # Errors
    /// Every invalid field.
    pub fn parse(fields: Fields<'_>) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let email = parse_email(fields.email, &mut violations);
        let name = violations.check(Field::Name, FieldProblem::Text, fields.name.map(CustomerName::parse));
        let phone = violations.check(Field::Phone, FieldProblem::Text, fields.phone.map(Phone::parse));
        let address = violations.check(Field::Address, FieldProblem::Text, fields.address.map(Address::parse));
        let id = parse_id(fields.id, &mut violations);
        let metadata = fields.metadata.map(JsonObject::parse);
        let metadata = violations.check(Field::Metadata, FieldProblem::Json, metadata);
        match email {
            Some(email) if violations.count() == 0 => Ok(Self {
                id,
                email,
                name,
                phone,
                address,
                metadata,
            }),
            _ => Err(violations),
        }
    }

    /// `data` with the fields of this command.
    fn change(&self, data: CustomerData) -> CustomerData {
        let Self {
            email,
            name,
            phone,
            address,
            metadata,
            ..
        } = self.clone();
        CustomerData {
            email,
            name: name.map_or(data.name, |name| name.as_str().to_owned()),
            phone: phone.map_or(data.phone, String::from),
            address: address.map_or(data.address, String::from),
            metadata: metadata.map(String::from).or(data.metadata),
        }
    }
}

/// Parses the email address of the customer that a request is about.
pub(super) fn parse_email(email: &str, violations: &mut Violations) -> Option<Email> {
    let problem = match Email::parse(email) {
        Ok(email) => return Some(email),
        Err(_) if email.trim().is_empty() => FieldProblem::Missing,
        Err(_) => FieldProblem::NotAnEmail,
    };
    violations.push(Field::Email, problem);
    None
}

/// Parses the id of a customer. An id of another form is an error: a customer that was created because of it could not be found
/// under it.
pub(super) fn parse_id(id: Option<&str>, violations: &mut Violations) -> Option<CustomerId> {
    let id = id.map(|id| id.trim().parse::<CustomerId>());
    violations.check(Field::CustomerId, |_| FieldProblem::NotACustomerId, id)
}

/// The outcome of a [`CreateOrUpdateCustomer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The customer.
    pub customer_id: CustomerId,
    /// Whether this call created it.
    pub was_created: bool,
    /// Whether this call changed it.
    pub was_changed: bool,
}

impl Command for CreateOrUpdateCustomer {
    type Outcome = Outcome;

    const KIND: ChangeKind = ChangeKind::Update;

    fn weight(&self) -> usize {
        1
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        touches.customer(CustomerKey::Email(self.email.clone()), None);
        if let Some(id) = self.id {
            touches.customer(CustomerKey::Id(id), self.metadata.as_ref());
        }
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Outcome, Rejection> {
        let owner = state.customer(&self.email);
        let Some(id) = self.id else {
            if owner.is_some() {
                return Err(Rejection::CustomerExists);
            }
            let customer_id = state.create_customer(self.change(CustomerData::new(self.email.clone())));
            return Ok(Outcome {
                customer_id,
                was_created: true,
                was_changed: false,
            });
        };
        let data = state.customer_data(id);
        let data = data.ok_or(Rejection::CustomerNotFound(Field::CustomerId))?;
        if owner.is_some_and(|owner| owner != id) {
            return Err(Rejection::CustomerExists);
        }
        let changed = self.change(data);
        Ok(Outcome {
            customer_id: id,
            was_created: false,
            was_changed: state.update_customer(id, changed),
        })
    }

    fn tally(outcome: &Outcome) -> Tally {
        Tally {
            customers_created: usize::from(outcome.was_created),
            customers_updated: usize::from(outcome.was_changed),
            ..Tally::default()
        }
    }
}
