//! The fields of the messages in JSON, from the descriptors (`build/fields.rs`).

include!(concat!(env!("OUT_DIR"), "/fields.rs"));

/// A member of the JSON of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) is_list: bool,
}

/// The JSON type of a member, or of the elements of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Boolean,
    Integer,
    /// A JSON object, which the service checks.
    Json,
    /// An object of objects: the metadata of devices by identifier.
    Metadata,
    /// A 64-bit integer: a string of digits, or a number.
    Revision,
}

/// The members of the request of an RPC.
pub(super) fn members(rpc: &str) -> &'static [Member] {
    let request = REQUESTS.iter().find(|(name, _)| *name == rpc);
    request.map_or(&[], |(_, members)| members)
}

/// Whether `path` leads to a member of the request of an RPC, or to an element of one.
pub(super) fn has_member(rpc: &str, path: &str) -> bool {
    let name = path.split('[').next().unwrap_or(path);
    members(rpc).iter().any(|member| member.name == name)
}

/// `text` with the JSON name of each field that it names as the proto does. The service's sentences contain nothing that a
/// caller sent, so a word that equals the name of a field is one.
pub(crate) fn with_json_names(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|char| !is_of_word(char)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let known = JSON_NAMES.binary_search_by_key(&word, |(name, _)| name);
        let json_name = known.ok().and_then(|index| JSON_NAMES.get(index));
        result.push_str(json_name.map_or(word, |(_, json_name)| json_name));
        let between = after.find(is_of_word).unwrap_or(after.len());
        let (between, after) = after.split_at(between);
        result.push_str(between);
        rest = after;
    }
    result
}

fn is_of_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_get_their_json_names_and_other_words_stay() {
        let cases = [
            ("", ""),
            ("customer_email", "customerEmail"),
            ("device_identifiers[2]", "deviceIdentifiers[2]"),
            (
                "device_type is required when auto_create_devices is true",
                "deviceType is required when autoCreateDevices is true",
            ),
            (" device_type, (device_type)", " deviceType, (deviceType)"),
            (
                "my_device_type device_types device_type_",
                "my_device_type device_types device_type_",
            ),
            (
                "ädevice_type device-type snake_case",
                "ädevice_type device-type snake_case",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(with_json_names(text), expected);
        }
    }

    #[test]
    fn names_are_in_order() {
        assert!(JSON_NAMES.is_sorted_by_key(|(name, _)| name));
        assert!(JSON_NAMES.contains(&("auto_create_devices", "autoCreateDevices")));
    }

    #[test]
    fn the_members_of_a_request_are_known() {
        let members: Vec<_> = members("AssignDevicesToOwner")
            .iter()
            .map(|member| (member.name, member.kind, member.is_list))
            .collect();
        let expected = [
            ("customerEmail", Kind::String, false),
            ("deviceIdentifiers", Kind::String, true),
            ("autoCreateDevices", Kind::Boolean, false),
            ("deviceType", Kind::String, false),
            ("validateOnly", Kind::Boolean, false),
        ];
        assert_eq!(members, expected);
    }
}
