//! The list of an organization's customers.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Error, Field, FieldProblem, InvalidText, Violations,
    email::Email,
    id::{CustomerId, OrganizationId},
    page::{Entry, ListQuery, PageFields, PageRequest, page_size},
    text::trimmed,
};

/// List customers in the order of their ids. Valid by construction.
#[derive(Debug, Clone)]
pub struct ListCustomers {
    /// Only customers whose email address begins with this, in lower case.
    pub email_prefix: Option<String>,
    /// The page.
    pub page: PageRequest<Uuid>,
}

impl ListCustomers {
    /// Reads the fields of a request. An empty filter is no filter.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] with every problem of every field, and [`Error::InvalidPageToken`].
    pub fn parse(organization: OrganizationId, email_prefix: &str, page: &PageFields) -> Result<Self, Error> {
        let mut violations = Violations::default();
        // An address has no more characters than bytes.
        let email_prefix = match trimmed(email_prefix, Email::MAX_BYTES) {
            Ok(prefix) => Some(prefix.to_ascii_lowercase()),
            Err(InvalidText::Empty) => None,
            Err(problem) => {
                violations.push(Field::EmailPrefix, FieldProblem::Text(problem));
                None
            }
        };
        let size = page_size(page.size, &mut violations);
        let (Some(size), 0) = (size, violations.count()) else {
            return Err(Error::InvalidRequest(violations));
        };
        let query = ListQuery::new("ListCustomers", organization).with(email_prefix.as_deref().unwrap_or_default());
        let page = PageRequest::parse(page, size, query)?;
        Ok(Self { email_prefix, page })
    }
}

/// A customer in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCustomer {
    /// Its id.
    pub id: CustomerId,
    /// Its name.
    pub name: String,
    /// Its email address.
    pub email: String,
    /// Its phone number.
    pub phone: String,
    /// When it was created.
    pub created_at: OffsetDateTime,
}

impl Entry for ListedCustomer {
    type Position = Uuid;

    fn position(&self) -> Uuid {
        self.id.uuid()
    }

    fn bytes(&self) -> usize {
        self.name.len() + self.email.len() + self.phone.len()
    }
}
