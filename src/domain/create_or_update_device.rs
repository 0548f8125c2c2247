//! The command to create a device or change the one that exists, and its outcome.

use super::{
    Field, FieldProblem, InvalidText, Tally, Violations,
    change::ChangeKind,
    command::{Command, Rejection, Touches},
    device::{DeviceIdentifier, DeviceType},
    id::DeviceId,
    json_object::JsonObject,
    state::State,
};

/// Create this device, or give it this type and these properties. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateOrUpdateDevice {
    identifier: DeviceIdentifier,
    device_type: Option<DeviceType>,
    properties: Option<JsonObject>,
}

impl CreateOrUpdateDevice {
    /// Parses the fields of a request. What is `None` stays as it is.
    ///
    /// # Errors
    /// Every invalid field.
    pub fn parse(identifier: &str, device_type: Option<&str>, properties: Option<&str>) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let identifier = parse_identifier(identifier, &mut violations);
        let device_type = violations.check(Field::Type, FieldProblem::Text, device_type.map(DeviceType::parse));
        let properties = violations.check(Field::Properties, FieldProblem::Json, properties.map(JsonObject::parse));
        match identifier {
            Some(identifier) if violations.count() == 0 => Ok(Self {
                identifier,
                device_type,
                properties,
            }),
            _ => Err(violations),
        }
    }
}

/// Parses the identifier of the device that a request is about.
pub(super) fn parse_identifier(identifier: &str, violations: &mut Violations) -> Option<DeviceIdentifier> {
    let problem = match DeviceIdentifier::parse(identifier) {
        Ok(identifier) => return Some(identifier),
        Err(InvalidText::Empty) => FieldProblem::Missing,
        Err(problem) => FieldProblem::Text(problem),
    };
    violations.push(Field::Identifier, problem);
    None
}

/// The outcome of a [`CreateOrUpdateDevice`]: the device as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its id.
    pub device_id: DeviceId,
    /// Its identifier.
    pub identifier: DeviceIdentifier,
    /// Its type.
    pub device_type: String,
    /// Its properties, the text of a JSON object.
    pub properties: String,
    /// Whether this call created it.
    pub was_created: bool,
    /// Whether this call changed it.
    pub was_changed: bool,
}

impl Command for CreateOrUpdateDevice {
    type Outcome = Outcome;

    const KIND: ChangeKind = ChangeKind::Update;

    fn weight(&self) -> usize {
        1
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        touches.devices([&self.identifier]);
        touches.types();
        touches.properties(&self.identifier, self.properties.as_ref());
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Outcome, Rejection> {
        let known = state.device(&self.identifier);
        let (device_id, was_changed) = if let Some(device) = known {
            let named = (&self.identifier, device);
            let has_new_type = self.device_type.as_ref().is_some_and(|new| state.set_type(named, new));
            let has_new_properties = self.properties.as_ref();
            let has_new_properties = has_new_properties.is_some_and(|new| state.set_properties(named, new));
            (device, has_new_type || has_new_properties)
        } else {
            let device_type = self.device_type.as_ref().ok_or(Rejection::TypeRequired)?;
            let device = state.create_device_with(&self.identifier, device_type, self.properties.clone());
            (device, false)
        };
        let (device_type, properties) = state.type_and_properties((&self.identifier, device_id));
        Ok(Outcome {
            device_id,
            identifier: self.identifier.clone(),
            device_type,
            properties,
            was_created: known.is_none(),
            was_changed,
        })
    }

    fn tally(outcome: &Outcome) -> Tally {
        Tally {
            devices_created: usize::from(outcome.was_created),
            devices_updated: usize::from(outcome.was_changed),
            ..Tally::default()
        }
    }
}
