//! Idempotency keys: a call with a key is carried out once, and the same call again gets the answer of the first.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::id::CustomerId;

/// The longest key, in characters.
pub const MAX_KEY_CHARS: usize = 255;

/// How long the answer of a call is kept.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// The SHA-256 of a key. The key itself is not stored.
pub type KeyDigest = [u8; 32];

/// The key of a call, and the request that it was sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The digest of the key.
    pub digest: KeyDigest,
    /// A hash of the method, the message and the key. The key makes it useless to those who only know the database: they could
    /// otherwise find the email addresses in messages by trying.
    pub request: [u8; 32],
}

impl IdempotencyKey {
    /// The key of a request. None if it is not a key: 1 to 255 printable ASCII characters.
    pub fn new(key: &[u8], method: &str, message: &[u8]) -> Option<Self> {
        let is_printable = |byte: &u8| *byte == b' ' || byte.is_ascii_graphic();
        if key.is_empty() || key.len() > MAX_KEY_CHARS || !key.iter().all(is_printable) {
            return None;
        }
        let mut request = Sha256::new();
        // Each part with its length, so that no two requests give the same bytes.
        for part in [key, method.as_bytes(), message] {
            request.update((part.len() as u64).to_be_bytes());
            request.update(part);
        }
        Some(Self {
            digest: Sha256::digest(key).into(),
            request: request.finalize().into(),
        })
    }
}

/// An answer to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnswer {
    /// The key and the request.
    pub key: IdempotencyKey,
    /// The message, in protobuf. None if it was erased with a customer that it named.
    pub message: Option<Vec<u8>>,
    /// The customers that the message names.
    pub customers: Vec<CustomerId>,
    /// How many changes the group had made when the call was done.
    pub changes: usize,
}

/// The customers whose ids are in a message, each once. Ids are text there, so that this needs no knowledge of the message.
pub fn named_customers(message: &[u8]) -> Vec<CustomerId> {
    const PREFIX: &[u8] = b"cust_";
    const LENGTH: usize = PREFIX.len() + 26;
    let texts = message.windows(LENGTH).filter(|window| window.starts_with(PREFIX));
    let ids = texts.filter_map(|window| std::str::from_utf8(window).ok()?.parse().ok());
    let mut ids: Vec<CustomerId> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests;
