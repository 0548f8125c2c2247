//! The look-up of one customer.

use time::OffsetDateTime;

use super::{
    Field, FieldProblem, Violations,
    change::Revision,
    customer::CustomerKey,
    email::Email,
    id::{CustomerId, OrganizationId},
    list_owner_devices::customer_id,
};

/// The most devices of a customer that are listed with it.
pub const MAX_DEVICES: usize = 10_000;

/// Look this customer up. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetCustomer {
    /// The customer.
    pub customer: CustomerKey,
    /// The revision that the answer must have or exceed.
    pub min_revision: Revision,
}

impl GetCustomer {
    /// Reads the fields of a request for the customer with an email address.
    ///
    /// # Errors
    /// Every problem of every field.
    pub fn by_email(email: &str, min_revision: u64) -> Result<Self, Violations> {
        let email = Email::parse(email).map_err(|_| {
            let is_missing = email.trim().is_empty();
            let problem = if is_missing {
                FieldProblem::Missing
            } else {
                FieldProblem::NotAnEmail
            };
            Violations::one(Field::Email, problem)
        })?;
        Ok(Self {
            customer: CustomerKey::Email(email),
            min_revision: min_revision.into(),
        })
    }

    /// Reads the fields of a request for the customer with an id.
    ///
    /// # Errors
    /// Every problem of every field.
    pub fn by_id(id: &str, min_revision: u64) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let id = customer_id(id, Field::CustomerId, &mut violations).ok_or(violations)?;
        Ok(Self {
            customer: CustomerKey::Id(id),
            min_revision: min_revision.into(),
        })
    }

    /// The field that names the customer.
    pub fn field(&self) -> Field {
        match self.customer {
            CustomerKey::Email(_) => Field::Email,
            CustomerKey::Id(_) => Field::CustomerId,
        }
    }
}

/// A customer with all that is stored of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerDetails {
    /// Its id.
    pub id: CustomerId,
    /// Its organization.
    pub organization: OrganizationId,
    /// Its name.
    pub name: String,
    /// Its email address.
    pub email: String,
    /// Its phone number.
    pub phone: String,
    /// Its postal address.
    pub address: String,
    /// Its metadata: a JSON object.
    pub metadata: String,
    /// The identifiers of its devices in order; of more than [`MAX_DEVICES`], so many of them.
    pub devices: Vec<String>,
    /// How many devices it has.
    pub device_count: u64,
    /// When it was created.
    pub created_at: OffsetDateTime,
}
