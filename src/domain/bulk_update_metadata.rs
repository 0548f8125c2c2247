//! The command to replace the properties of many devices, and its outcome.

use std::collections::HashSet;

use super::{
    Field, FieldProblem, Tally, Violations,
    change::ChangeKind,
    command::{Command, Rejection, Touches},
    device::DeviceIdentifier,
    id::DeviceId,
    json_object::JsonObject,
    state::State,
};

/// Give these devices these properties. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkUpdateMetadata {
    devices: Vec<(DeviceIdentifier, JsonObject)>,
}

impl BulkUpdateMetadata {
    /// The most devices of a request, as the public API documents it.
    pub const MAX_DEVICES: usize = 1_000;

    /// Parses the fields of a request: identifiers of devices, and the JSON object of each.
    ///
    /// # Errors
    /// Every invalid field.
    pub fn parse<'r>(devices: impl ExactSizeIterator<Item = (&'r str, &'r str)>) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let count = devices.len();
        if count == 0 {
            violations.push(Field::Devices, FieldProblem::NoEntries);
        }
        if count > Self::MAX_DEVICES {
            let max = Self::MAX_DEVICES;
            return Err(Violations::too_many_devices(Field::Devices, count, max));
        }
        let mut seen = HashSet::new();
        let mut parsed = Vec::with_capacity(count);
        for (index, (identifier, metadata)) in devices.enumerate() {
            let field = Field::IdentifierOf(index);
            let name = violations.check(field, FieldProblem::Text, Some(DeviceIdentifier::parse(identifier)));
            if name.as_ref().is_some_and(|name| !seen.insert(name.clone())) {
                violations.push(field, FieldProblem::Repeated);
            }
            let field = Field::MetadataOf(index);
            let metadata = violations.check(field, FieldProblem::Json, Some(JsonObject::parse(metadata)));
            parsed.extend(name.zip(metadata));
        }
        if violations.count() == 0 {
            Ok(Self { devices: parsed })
        } else {
            Err(violations)
        }
    }
}

/// The outcome of a [`BulkUpdateMetadata`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Each identifier in the order of the request, and its device if there is one.
    pub devices: Vec<(DeviceIdentifier, Option<DeviceId>)>,
    /// How many devices have other properties than before.
    pub changed: usize,
}

impl Command for BulkUpdateMetadata {
    type Outcome = Outcome;

    const KIND: ChangeKind = ChangeKind::Update;

    fn weight(&self) -> usize {
        self.devices.len()
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        touches.devices(self.devices.iter().map(|(identifier, _)| identifier));
        for (identifier, properties) in &self.devices {
            touches.properties(identifier, Some(properties));
        }
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Outcome, Rejection> {
        let mut changed = 0;
        let devices = self.devices.iter().map(|(identifier, properties)| {
            let device = state.device(identifier);
            if let Some(device) = device {
                changed += usize::from(state.set_properties((identifier, device), properties));
            }
            (identifier.clone(), device)
        });
        let devices = devices.collect();
        Ok(Outcome { devices, changed })
    }

    fn tally(outcome: &Outcome) -> Tally {
        let unknown = outcome.devices.iter().filter(|(_, device)| device.is_none());
        Tally {
            devices_updated: outcome.changed,
            skipped: unknown.count(),
            ..Tally::default()
        }
    }
}
