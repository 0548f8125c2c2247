//! Files that only their owner may read.

use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Read and write for the owner, nothing for others.
const OWNER_ONLY: u32 = 0o600;

/// Opens an empty file for writing. A file that exists is emptied, and loses the permissions of everybody but its owner
/// first.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(OWNER_ONLY)
        .open(path)?;
    // A pipe or a terminal has neither content nor permissions to change.
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
        file.set_len(0)?;
    }
    Ok(file)
}
