//! Names of organizations and labels of their API keys.

use super::text::bounded_text;

bounded_text!(
    /// The name of an organization: 1 to 100 characters.
    OrganizationName,
    100
);

bounded_text!(
    /// The label of an API key: 1 to 100 characters.
    ApiKeyLabel,
    100
);
