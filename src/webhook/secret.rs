//! The secrets that webhooks are signed with.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// The length of a secret in bytes, as Standard Webhooks 1.0.0 has it.
const LENGTH: std::ops::RangeInclusive<usize> = 24..=64;

/// Secrets that webhooks are signed with: one, or several while receivers change to a new one.
pub struct Secrets(Vec<Hmac<Sha256>>);

/// Why a text is not a secret. It never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It begins otherwise.
    #[error("a webhook secret begins with {PREFIX}")]
    Prefix,
    /// The rest is not base64.
    #[error("after {PREFIX}, a webhook secret is base64")]
    Base64,
    /// It is too short or too long.
    #[error("a webhook secret has {} to {} bytes, which are written as base64", LENGTH.start(), LENGTH.end())]
    Length,
}

impl Secrets {
    /// Reads secrets that are separated by white space.
    ///
    /// # Errors
    /// When there is none, and when one is malformed.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let secrets: Result<Vec<_>, _> = text.split_whitespace().map(parse).collect();
        match secrets? {
            secrets if secrets.is_empty() => Err(SecretError::Prefix),
            secrets => Ok(Self(secrets)),
        }
    }

    /// The value of the header `webhook-signature`: a signature with each secret.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp}.");
        let signatures = self.0.iter().map(|secret| {
            let signed = secret.clone().chain_update(&head).chain_update(body).finalize();
            format!("v1,{}", STANDARD.encode(signed.into_bytes()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

fn parse(text: &str) -> Result<Hmac<Sha256>, SecretError> {
    let text = text.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
    let secret = STANDARD.decode(text).map_err(|_| SecretError::Base64)?;
    if !LENGTH.contains(&secret.len()) {
        return Err(SecretError::Length);
    }
    Hmac::new_from_slice(&secret).map_err(|_| SecretError::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the test suites of the libraries of Standard Webhooks.
    const EXAMPLE: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn sign(secrets: &str) -> String {
        let secrets = Secrets::parse(secrets).expect("secrets");
        secrets.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        )
    }

    #[test]
    fn a_signature_is_as_specified() {
        assert_eq!(sign(EXAMPLE), SIGNATURE);
    }

    #[test]
    fn each_secret_has_a_signature() {
        let other = format!("{PREFIX}{}", STANDARD.encode([7; 64]));
        let both = sign(&format!("{other}\n {EXAMPLE}\n"));
        assert_eq!(both, format!("{} {SIGNATURE}", sign(&other)));
    }

    #[test]
    fn malformed_secrets_are_rejected() {
        let of = |length| format!("{PREFIX}{}", STANDARD.encode(vec![7; length]));
        let cases = [
            ("".into(), SecretError::Prefix),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(), SecretError::Prefix),
            (format!("{EXAMPLE} x"), SecretError::Prefix),
            ("whsec_?".into(), SecretError::Base64),
            (of(23), SecretError::Length),
            (of(65), SecretError::Length),
        ];
        for (text, problem) in cases {
            assert_eq!(Secrets::parse(&text).err(), Some(problem), "{text:?}");
        }
    }
}
