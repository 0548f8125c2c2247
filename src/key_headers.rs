//! The headers, and metadata entries, that carry the API key: `x-api-key`, or `Authorization: Bearer tlm_…`. gRPC and REST
//! read them alike.

/// The header for the API key.
pub(crate) const X_API_KEY: &str = "x-api-key";

#[cfg(feature = "server")]
pub(crate) use server::*;

#[cfg(feature = "server")]
mod server {
    use http::{
        HeaderMap, HeaderValue,
        header::{AUTHORIZATION, Entry, HeaderName},
    };

    const API_KEY: HeaderName = HeaderName::from_static(super::X_API_KEY);

    /// The headers that may carry the API key.
    pub(crate) const KEY_HEADERS: [HeaderName; 2] = [API_KEY, AUTHORIZATION];

    /// The authentication scheme of `Authorization` (RFC 6750).
    const SCHEME: &[u8] = b"bearer";
    /// How every API key begins. Any other credential in `Authorization` is not for this service.
    const KEY_PREFIX: &[u8] = b"tlm_";

    /// The API key that a request carries.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum PresentedKey<'a> {
        /// None.
        Missing,
        /// This one, valid or not.
        One(&'a [u8]),
        /// One of the headers is repeated. Something in between may have added one, so nobody can tell whose call it is.
        Repeated,
        /// The two headers carry different keys.
        Conflicting,
    }

    /// The API key in these headers.
    pub(crate) fn presented(headers: &HeaderMap) -> PresentedKey<'_> {
        let mut plain = headers.get_all(API_KEY).iter().map(HeaderValue::as_bytes);
        let mut bearer = headers.get_all(AUTHORIZATION).iter().filter_map(bearer_key);
        let keys = (plain.next(), bearer.next());
        if plain.next().is_some() || bearer.next().is_some() {
            return PresentedKey::Repeated;
        }
        match keys {
            (None | Some(b""), None) => PresentedKey::Missing,
            (Some(key), None) | (None | Some(b""), Some(key)) => PresentedKey::One(key),
            (Some(key), Some(other)) if key == other => PresentedKey::One(key),
            (Some(_), Some(_)) => PresentedKey::Conflicting,
        }
    }

    /// The API key in a value of `Authorization`.
    pub(crate) fn bearer_key(authorization: &HeaderValue) -> Option<&[u8]> {
        let (scheme, key) = authorization.as_bytes().split_at_checked(SCHEME.len())?;
        let is_bearer = scheme.eq_ignore_ascii_case(SCHEME) && key.starts_with(b" ");
        let key = key.trim_ascii();
        (is_bearer && key.starts_with(KEY_PREFIX)).then_some(key)
    }

    /// Keeps the values of the headers out of every log.
    pub(crate) fn hide(headers: &mut HeaderMap) {
        for name in KEY_HEADERS {
            if let Entry::Occupied(mut values) = headers.entry(name) {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::{PresentedKey::*, *};

        fn headers(plain: &[&'static str], authorization: &[&'static str]) -> HeaderMap {
            let mut headers = HeaderMap::new();
            for value in plain {
                headers.append(API_KEY, HeaderValue::from_static(value));
            }
            for value in authorization {
                headers.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            headers
        }

        #[test]
        fn a_key_is_in_either_header() {
            let cases: [(&[&'static str], &[&'static str], PresentedKey); 20] = [
                (&[], &[], Missing),
                (&[""], &[], Missing),
                (&["tlm_a"], &[], One(b"tlm_a")),
                (&["anything"], &[], One(b"anything")),
                (&[], &["Bearer tlm_a"], One(b"tlm_a")),
                (&[], &["bearer   tlm_a "], One(b"tlm_a")),
                (&[""], &["BEARER tlm_a"], One(b"tlm_a")),
                (&["tlm_a"], &["Bearer tlm_a"], One(b"tlm_a")),
                (&["tlm_a"], &["Bearer tlm_b"], Conflicting),
                (&["a"], &["Bearer tlm_a"], Conflicting),
                // Not for this service.
                (&[], &["Bearer eyJhbGciOi"], Missing),
                (&[], &["Basic dGxtXw=="], Missing),
                (&[], &["Basic tlm_a"], Missing),
                (&[], &["tlm_a"], Missing),
                (&[], &["Bearertlm_a"], Missing),
                (&["tlm_a"], &["Bearer eyJhbGciOi"], One(b"tlm_a")),
                (&[], &["Bearer eyJhbGciOi", "Bearer tlm_a"], One(b"tlm_a")),
                // Repeated, with equal or other values.
                (&["tlm_a", "tlm_a"], &[], Repeated),
                (&["tlm_a", ""], &[], Repeated),
                (&["tlm_a"], &["Bearer tlm_a", "Bearer tlm_a"], Repeated),
            ];
            for (plain, authorization, expected) in cases {
                let headers = headers(plain, authorization);
                assert_eq!(presented(&headers), expected, "{plain:?} {authorization:?}");
            }
        }

        #[test]
        fn the_headers_are_hidden() {
            let mut headers = headers(&["secret-1", "secret-2"], &["Bearer secret-3", "secret-4"]);
            hide(&mut headers);
            assert!(!format!("{headers:?}").contains("secret"), "{headers:?}");
        }
    }
}
