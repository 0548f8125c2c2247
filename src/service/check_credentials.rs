//! The owner of the API key of a call.

use super::{Caller, Service};
use crate::{domain::Error, storage::KeyOwner};

impl Service {
    /// The record of the caller's key. Counts what a gateway itself rejected for the caller.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn check_credentials<'a>(
        &self,
        caller: &'a Caller,
        refused_calls: u32,
        refused_devices: u32,
    ) -> Result<&'a KeyOwner, Error> {
        caller.count_rejected(refused_calls, refused_devices)?;
        Ok(&caller.owner)
    }
}
