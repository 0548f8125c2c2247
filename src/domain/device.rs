//! Identifiers and types of devices.

use super::text::bounded_text;

bounded_text!(
    /// A serial number, a MAC address or another identifier of a device: 1 to 255 characters, compared byte by byte.
    DeviceIdentifier,
    255
);

bounded_text!(
    /// The type of a device, such as "sensor": 1 to 100 characters.
    DeviceType,
    100
);

impl From<DeviceIdentifier> for String {
    fn from(identifier: DeviceIdentifier) -> Self {
        identifier.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_compared_byte_by_byte() {
        // The last two look the same: a letter of its own, and a letter with an accent put on it.
        let texts = ["sn-1", "SN-1", "sn-01", "sn‐1", "sn-\u{e9}", "sn-e\u{301}"];
        for (at, text) in texts.iter().enumerate() {
            let identifier = DeviceIdentifier::parse(text).expect("an identifier");
            assert_eq!(identifier.as_str(), *text);
            for other in &texts[at + 1..] {
                assert_ne!(Ok(&identifier), DeviceIdentifier::parse(other).as_ref());
            }
        }
    }

    #[test]
    fn each_text_has_its_own_bound() {
        assert!(DeviceIdentifier::parse(&"ü".repeat(255)).is_ok());
        assert!(DeviceIdentifier::parse(&"ü".repeat(256)).is_err());
        assert!(DeviceType::parse(&"ü".repeat(100)).is_ok());
        assert!(DeviceType::parse(&"ü".repeat(101)).is_err());
    }
}
