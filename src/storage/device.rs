//! Devices that an operator imports.

use std::time::{Duration, Instant};

use super::{
    Database, DatabaseError,
    any_write_connection::AnyWriteConnection,
    group::{Committed, Group},
    job::CommandJob,
};
use crate::domain::{
    Cause, Error,
    change::Erasure,
    change::{ChangeOrigin, Revision},
    id::OrganizationId,
    import_devices::{ImportDevices, Imported},
};

/// How long a write may wait for the lock of its organization.
const LOCK_DEADLINE: Duration = Duration::from_secs(60);

/// Imports devices of one organization, one transaction after another.
pub struct DeviceImport {
    connection: AnyWriteConnection,
    organization: OrganizationId,
    origin: ChangeOrigin,
}

impl DeviceImport {
    /// Prepares an import into `organization`.
    pub fn new(database: &Database, organization: OrganizationId, origin: ChangeOrigin) -> Self {
        Self {
            connection: AnyWriteConnection::new(database),
            organization,
            origin,
        }
    }

    /// Creates the devices that are new, and gives those that exist the type of the list, in one transaction.
    ///
    /// # Errors
    /// When the database cannot be written: nothing of this call is written, and it can be repeated.
    pub async fn write(&mut self, command: ImportDevices) -> Result<(Imported, Revision), Error> {
        let deadline = Instant::now() + LOCK_DEADLINE;
        let mut job = CommandJob::new(command, self.origin.clone());
        loop {
            let group = Group {
                organization: self.organization,
                jobs: vec![&mut job],
                erasure: Erasure::Unneeded,
            };
            let lock_wait = deadline.saturating_duration_since(Instant::now());
            match self.connection.commit(group, lock_wait).await? {
                Committed::At(head) => {
                    let applied = job.finish(head);
                    let (outcome, revision) = applied
                        .ok_or_else(|| Error::Internal(Cause::new("an import was committed without its devices")))?;
                    return Ok((outcome?, revision));
                }
                Committed::Held if Instant::now() < deadline => {}
                Committed::Held => return Err(DatabaseError::TooMuchContention.into()),
            }
        }
    }
}
