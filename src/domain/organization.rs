//! What organizations and their keys are called.

use super::text::bounded_text;

bounded_text!(
    /// The name of an organization: 1 to 100 characters.
    OrganizationName,
    100
);

bounded_text!(
    /// What an API key is called by its owner: 1 to 100 characters.
    ApiKeyLabel,
    100
);
