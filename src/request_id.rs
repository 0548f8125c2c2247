//! The id of a request: the caller's, or a new one. gRPC and REST treat it alike.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::{NoContext, Timestamp, Uuid};

/// The header, and the metadata entry, that carries the id.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LENGTH: usize = 64;

/// The id of the request with these headers. If they have no acceptable id, a new one is inserted.
pub(crate) fn give(headers: &mut HeaderMap) -> HeaderValue {
    if let Some(given) = headers.get(HEADER).filter(|given| is_acceptable(given)) {
        return given.clone();
    }
    let id = new();
    headers.insert(HEADER, id.clone());
    id
}

/// The id of a request after [`give`].
pub(crate) fn of(headers: &HeaderMap) -> &str {
    headers.get(HEADER).map(text).unwrap_or_default()
}

/// An id as text.
pub(crate) fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or_default()
}

/// Whether an id is safe in logs and responses.
fn is_acceptable(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=MAX_LENGTH).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// As `domain::id::new_id`: ids that count up would tell callers how many requests others make.
fn new() -> HeaderValue {
    let id = Uuid::new_v7(Timestamp::now(NoContext));
    HeaderValue::try_from(id.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_acceptable(id: &[u8]) -> bool {
        super::is_acceptable(&HeaderValue::from_bytes(id).expect("a header's value"))
    }

    #[test]
    fn an_id_has_1_to_64_safe_characters() {
        for id in [
            "a",
            "0",
            ".",
            "_",
            "-",
            "AZaz09._-",
            "0190163d-8694-739b-aea5-966c26f8ad91",
        ] {
            assert!(is_acceptable(id.as_bytes()), "{id}");
        }
        assert!(is_acceptable(&[b'x'; 64]));
        assert!(!is_acceptable(&[b'x'; 65]));
        assert!(!is_acceptable(b""));
    }

    #[test]
    fn one_unsafe_character_is_too_many() {
        // Every other byte that a header's value can hold.
        let others = (0..=255).filter(|byte| HeaderValue::from_bytes(&[*byte]).is_ok());
        let others =
            others.filter(|byte| !matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'_' | b'-'));
        for other in others {
            assert!(!is_acceptable(&[b'x', other, b'x']), "{other:#x}");
        }
    }

    #[test]
    fn a_new_id_is_acceptable_and_unique() {
        let (one, other) = (new(), new());
        assert!(is_acceptable(one.as_bytes()));
        assert_eq!(one.len(), 36);
        assert_ne!(one, other);
    }
}
