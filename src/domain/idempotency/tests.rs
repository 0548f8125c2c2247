use proptest::prelude::*;
use uuid::Uuid;

use super::*;

proptest! {
    #[test]
    fn a_key_has_1_to_255_printable_ascii_characters(key in proptest::collection::vec(any::<u8>(), 0..300)) {
        let is_key = (1..=255).contains(&key.len()) && key.iter().all(|byte| (0x20..0x7f).contains(byte));
        prop_assert_eq!(IdempotencyKey::new(&key, "Method", b"message").is_some(), is_key);
    }

    #[test]
    fn every_id_of_a_customer_in_a_message_is_found(
        ids: Vec<[u8; 16]>,
        between in "[a-z_0-9]{0,12}",
        other: [u8; 16],
    ) {
        let mut expected: Vec<CustomerId> = ids.into_iter().map(|id| CustomerId::from_uuid(Uuid::from_bytes(id))).collect();
        let mut message = between.clone().into_bytes();
        for id in &expected {
            message.extend(id.to_string().bytes());
            message.push(0xff);
            message.extend(between.bytes());
        }
        message.extend(super::super::id::DeviceId::from_uuid(Uuid::from_bytes(other)).to_string().bytes());
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(named_customers(&message), expected);
    }
}

#[test]
fn key_method_and_message_make_the_request() {
    let request = |key: &str, method, message: &[u8]| {
        let key = IdempotencyKey::new(key.as_bytes(), method, message).expect("a key");
        key.request
    };
    let first = request("a", "bc", b"d");
    assert_eq!(first, request("a", "bc", b"d"));
    for other in [
        request("a", "b", b"cd"),
        request("ab", "c", b"d"),
        request("b", "bc", b"d"),
        request("a", "bc", b""),
    ] {
        assert_ne!(first, other);
    }
}
