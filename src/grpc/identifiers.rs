//! Lists of identifiers in messages.

/// As many identifiers as fit in so many bytes.
pub(super) fn that_fit(mut identifiers: Vec<String>, max_bytes: usize) -> Vec<String> {
    /// The tag and the length of an identifier in a message.
    const OVERHEAD: usize = 3;
    let mut left = max_bytes;
    let fit = identifiers.iter().take_while(|identifier| {
        let rest = left.checked_sub(identifier.len() + OVERHEAD);
        left = rest.unwrap_or_default();
        rest.is_some()
    });
    let count = fit.count();
    identifiers.truncate(count);
    identifiers
}
