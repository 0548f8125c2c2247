//! The list of an organization's devices.

use time::OffsetDateTime;

use super::{
    Error, Field, FieldProblem, InvalidText, Violations,
    device::{DeviceIdentifier, DeviceType},
    id::{DeviceId, OrganizationId},
    page::{Entry, ListQuery, PageFields, PageRequest, page_size},
};

/// List devices in the order of their identifiers. Valid by construction.
#[derive(Debug, Clone)]
pub struct ListDevices {
    /// Only devices of this type.
    pub device_type: Option<DeviceType>,
    /// Only devices whose identifier begins with this.
    pub prefix: Option<DeviceIdentifier>,
    /// Only devices without owners.
    pub is_unassigned: bool,
    /// The page.
    pub page: PageRequest<String>,
}

impl ListDevices {
    /// Reads the fields of a request. An empty filter is no filter.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] with every problem of every field, and [`Error::InvalidPageToken`].
    pub fn parse(
        organization: OrganizationId,
        device_type: &str,
        prefix: &str,
        is_unassigned: bool,
        page: &PageFields,
    ) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let device_type = optional(DeviceType::parse(device_type), Field::Type, &mut violations);
        let prefix = optional(DeviceIdentifier::parse(prefix), Field::Prefix, &mut violations);
        let size = page_size(page.size, &mut violations);
        let (Some(size), 0) = (size, violations.count()) else {
            return Err(Error::InvalidRequest(violations));
        };
        let query = ListQuery::new("ListDevices", organization)
            .with(device_type.as_ref().map_or("", DeviceType::as_str))
            .with(prefix.as_ref().map_or("", DeviceIdentifier::as_str))
            .with(if is_unassigned { "unassigned" } else { "" });
        let page = PageRequest::parse(page, size, query)?;
        Ok(Self {
            device_type,
            prefix,
            is_unassigned,
            page,
        })
    }
}

fn optional<T>(parsed: Result<T, InvalidText>, field: Field, violations: &mut Violations) -> Option<T> {
    match parsed {
        Ok(value) => Some(value),
        Err(InvalidText::Empty) => None,
        Err(problem) => {
            violations.push(field, FieldProblem::Text(problem));
            None
        }
    }
}

/// A device in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDevice {
    /// Its identifier.
    pub identifier: String,
    /// Its id.
    pub id: DeviceId,
    /// Its type.
    pub device_type: String,
    /// When it was created.
    pub created_at: OffsetDateTime,
}

impl Entry for ListedDevice {
    type Position = String;

    fn position(&self) -> String {
        self.identifier.clone()
    }

    fn bytes(&self) -> usize {
        self.identifier.len() + self.device_type.len()
    }
}
