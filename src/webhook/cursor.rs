//! The file that keeps how far a webhook has come.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The last change that was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CursorPosition {
    /// The id of the organization.
    pub organization: String,
    /// The history that the revision belongs to; empty before the first change.
    pub history: String,
    /// The revision of the change; 0 before the first one.
    pub revision: u64,
}

/// A cursor file, for one process at a time. The position is replaced as a whole: after a crash, the file has the old or the
/// new one.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    position: CursorPosition,
    /// The lock of the process, until it ends.
    _lock: File,
}

/// Why a cursor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file, or the lock beside it, cannot be read or written.
    #[error("{}: {problem}; name a file for --cursor that can be written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        problem: io::Error,
    },
    /// The file has other content.
    #[error("{}: the file is not a cursor; name another file for --cursor", .0.display())]
    Malformed(PathBuf),
    /// Another process uses the file.
    #[error("{}: another process uses this cursor; give each webhook its own file with --cursor", .0.display())]
    InUse(PathBuf),
    /// The cursor belongs to another organization.
    #[error("{}: the cursor belongs to {found}, and the API key to {expected}; give each webhook its own file with --cursor", path.display())]
    OtherOrganization {
        /// The file.
        path: PathBuf,
        /// The organization in the file.
        found: String,
        /// The organization of the key.
        expected: String,
    },
}

impl Cursor {
    /// Opens a cursor file. If it does not exist, it is created with the position `start`.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open(path: &Path, start: CursorPosition) -> Result<Self, CursorError> {
        let failed = |path: &Path, problem| CursorError::File {
            path: path.to_owned(),
            problem,
        };
        let lock_path = path.with_added_extension("lock");
        let lock = File::options().create(true).append(true).open(&lock_path);
        let lock = lock.map_err(|problem| failed(&lock_path, problem))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => CursorError::InUse(path.to_owned()),
            TryLockError::Error(problem) => failed(&lock_path, problem),
        })?;
        let position = match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|_| CursorError::Malformed(path.to_owned()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Before the first change is delivered: a file that cannot be written must be found now.
                write(path, &start).map_err(|problem| failed(path, problem))?;
                start.clone()
            }
            Err(problem) => return Err(failed(path, problem)),
        };
        if position.organization != start.organization {
            return Err(CursorError::OtherOrganization {
                path: path.to_owned(),
                found: position.organization,
                expected: start.organization,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            position,
            _lock: lock,
        })
    }

    /// The position.
    pub fn position(&self) -> &CursorPosition {
        &self.position
    }

    /// Stores that the change with this revision was delivered.
    ///
    /// # Errors
    /// When the file cannot be written. It is unchanged then.
    pub fn advance(&mut self, history: &str, revision: u64) -> Result<(), CursorError> {
        let position = CursorPosition {
            history: history.to_owned(),
            revision,
            ..self.position.clone()
        };
        write(&self.path, &position).map_err(|problem| CursorError::File {
            path: self.path.clone(),
            problem,
        })?;
        self.position = position;
        Ok(())
    }
}

/// Replaces a cursor file as a whole.
fn write(path: &Path, position: &CursorPosition) -> io::Result<()> {
    let new = path.with_added_extension("new");
    let mut text = serde_json::to_vec(position)?;
    text.push(b'\n');
    let mut file = File::create(&new)?;
    file.write_all(&text)?;
    // Otherwise the renamed file could be empty after a power failure.
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(organization: &str) -> CursorPosition {
        CursorPosition {
            organization: organization.into(),
            history: String::new(),
            revision: 7,
        }
    }

    #[test]
    fn a_cursor_keeps_its_position() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cursor");
        let mut cursor = Cursor::open(&path, start("org_a")).expect("a cursor");
        assert_eq!(cursor.position(), &start("org_a"));
        assert_eq!(
            fs::read_to_string(&path).expect("a file"),
            "{\"organization\":\"org_a\",\"history\":\"\",\"revision\":7}\n",
            "the start is kept before the first change is delivered"
        );
        assert!(matches!(
            Cursor::open(&path, start("org_a")),
            Err(CursorError::InUse(_))
        ));
        cursor.advance("hist_a", 8).expect("stored");
        drop(cursor);
        let text = fs::read_to_string(&path).expect("a file");
        assert_eq!(
            text,
            "{\"organization\":\"org_a\",\"history\":\"hist_a\",\"revision\":8}\n"
        );
        let cursor = Cursor::open(&path, start("org_a")).expect("a cursor");
        assert_eq!(
            (cursor.position().history.as_str(), cursor.position().revision),
            ("hist_a", 8)
        );
        drop(cursor);
        let other = Cursor::open(&path, start("org_b"));
        assert!(matches!(other, Err(CursorError::OtherOrganization { .. })), "{other:?}");
    }

    #[test]
    fn other_files_are_not_cursors() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("cursor");
        for text in [
            "",
            "{}",
            "4711",
            r#"{"organization":"org_a","history":"","revision":1,"more":1}"#,
        ] {
            fs::write(&path, text).expect("written");
            let cursor = Cursor::open(&path, start("org_a"));
            assert!(matches!(cursor, Err(CursorError::Malformed(_))), "{text:?}: {cursor:?}");
        }
        let read_only = folder.path().join("read-only");
        fs::create_dir(read_only.with_added_extension("new")).expect("a folder in the way");
        let cursor = Cursor::open(&read_only, start("org_a"));
        assert!(matches!(cursor, Err(CursorError::File { .. })), "{cursor:?}");
        let nowhere = Cursor::open(&folder.path().join("no/cursor"), start("org_a"));
        assert!(matches!(nowhere, Err(CursorError::File { .. })), "{nowhere:?}");
    }
}
