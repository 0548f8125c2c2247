//! The list of a customer's devices.

use time::OffsetDateTime;

use super::{
    Error, Field, FieldProblem, Violations,
    assign_devices::customer,
    customer::CustomerKey,
    id::{CustomerId, DeviceId, OrganizationId},
    page::{Entry, ListQuery, PageFields, PageRequest, page_size},
};

/// List the devices of this customer, in the order of their identifiers. Valid by construction.
#[derive(Debug, Clone)]
pub struct ListOwnerDevices {
    /// The customer.
    pub owner: CustomerKey,
    /// The page.
    pub page: PageRequest<String>,
}

impl ListOwnerDevices {
    /// Reads the fields of a request. Either `email` or `id` has to be given.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] with every problem of every field, and [`Error::InvalidPageToken`].
    pub fn parse(
        organization: OrganizationId,
        email: Option<&str>,
        id: Option<&str>,
        page: &PageFields,
    ) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let owner = match (email, id) {
            (None, None) => {
                let problem = FieldProblem::MissingWithout(Field::OwnerId);
                violations.push(Field::CustomerEmail, problem);
                None
            }
            (Some(email), None) => customer(email, &mut violations).map(CustomerKey::Email),
            (None, Some(id)) => customer_id(id, Field::OwnerId, &mut violations).map(CustomerKey::Id),
            (Some(_), Some(_)) => {
                violations.push(Field::CustomerEmail, FieldProblem::GivenWith(Field::OwnerId));
                None
            }
        };
        let size = page_size(page.size, &mut violations);
        let (Some(owner), Some(size)) = (owner, size) else {
            return Err(Error::InvalidRequest(violations));
        };
        let query = ListQuery::new("ListOwnerDevices", organization);
        let query = match &owner {
            CustomerKey::Email(email) => query.with(email.as_str()),
            CustomerKey::Id(id) => query.with(&id.to_string()),
        };
        let page = PageRequest::parse(page, size, query)?;
        Ok(Self { owner, page })
    }
}

/// The id of a customer.
pub(super) fn customer_id(id: &str, field: Field, violations: &mut Violations) -> Option<CustomerId> {
    let parsed = id.trim().parse();
    parsed
        .map_err(|_| violations.push(field, FieldProblem::NotACustomerId))
        .ok()
}

/// A device of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerDevice {
    /// Its identifier.
    pub identifier: String,
    /// Its id.
    pub id: DeviceId,
    /// Its type.
    pub device_type: String,
    /// When it was assigned to the customer.
    pub assigned_at: OffsetDateTime,
}

impl Entry for OwnerDevice {
    type Position = String;

    fn position(&self) -> String {
        self.identifier.clone()
    }

    fn bytes(&self) -> usize {
        self.identifier.len() + self.device_type.len()
    }
}
