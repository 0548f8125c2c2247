//! Whose API key a caller has shown.

use super::{Caller, Service};
use crate::{domain::Error, storage::KeyOwner};

impl Service {
    /// Tells whose key `caller` has shown, and counts what a gateway refused on the caller's behalf.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn check_credentials<'a>(
        &self,
        caller: &'a Caller,
        refused_calls: u32,
        refused_devices: u32,
    ) -> Result<&'a KeyOwner, Error> {
        caller.count_refused(refused_calls, refused_devices)?;
        Ok(&caller.owner)
    }
}
