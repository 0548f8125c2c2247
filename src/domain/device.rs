//! What identifies a device, and what kind of device it is.

use super::text::bounded_text;

bounded_text!(
    /// A serial number, a MAC address or whatever else the organization tells its devices apart by: 1 to 255
    /// characters, compared byte by byte.
    DeviceIdentifier,
    255
);

bounded_text!(
    /// The kind of a device, as "sensor" or "Gateway": 1 to 100 characters.
    DeviceType,
    100
);

impl From<DeviceIdentifier> for String {
    fn from(identifier: DeviceIdentifier) -> Self {
        identifier.0
    }
}
