//! The look-up of one device.

use time::OffsetDateTime;

use super::{Field, FieldProblem, InvalidText, Violations, change::Revision, device::DeviceIdentifier, id::DeviceId};

/// Look this device up. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetDevice {
    /// The device.
    pub identifier: DeviceIdentifier,
    /// The revision that the answer must have or exceed.
    pub min_revision: Revision,
}

impl GetDevice {
    /// Reads the fields of a request.
    ///
    /// # Errors
    /// Every problem of every field.
    pub fn parse(identifier: &str, min_revision: u64) -> Result<Self, Violations> {
        let identifier = DeviceIdentifier::parse(identifier).map_err(|problem| {
            let problem = match problem {
                InvalidText::Empty => FieldProblem::Missing,
                problem => FieldProblem::Text(problem),
            };
            Violations::one(Field::Identifier, problem)
        })?;
        let min_revision = min_revision.into();
        Ok(Self {
            identifier,
            min_revision,
        })
    }
}

/// A device with all that is stored of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceDetails {
    /// Its id.
    pub id: DeviceId,
    /// Its identifier.
    pub identifier: String,
    /// Its type.
    pub device_type: String,
    /// Its properties: a JSON object.
    pub properties: String,
    /// How many owners it has.
    pub owners: u64,
    /// When it was created.
    pub created_at: OffsetDateTime,
}
