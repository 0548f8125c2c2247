//! Lists to read: a file, or standard input.

use std::{
    fs::File,
    io::{self, Read},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::CommandError;

/// An open list.
pub(super) struct Input {
    /// Its name, for messages.
    pub(super) name: String,
    pub(super) size: Size,
    file: Option<File>,
}

/// A note about columns that are not used, if there are some.
pub(super) fn ignored_columns(names: &[String]) -> Option<String> {
    match names {
        [] => None,
        [name] => Some(format!("ignoring the column {name}")),
        names => Some(format!("ignoring the columns {}", names.join(", "))),
    }
}

/// How much of a list has been read.
#[derive(Debug, Clone, Default)]
pub(super) struct Size {
    /// All bytes, if known.
    total: Option<u64>,
    read: Arc<AtomicU64>,
}

impl Input {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path) -> Result<Self, CommandError> {
        if path == Path::new("-") {
            return Ok(Self {
                name: "standard input".into(),
                size: Size::default(),
                file: None,
            });
        }
        let name = path.display().to_string();
        let fails = |error: io::Error| {
            CommandError::Failed(format!(
                "{name}: {error}; name a file that can be read, or - for standard input"
            ))
        };
        let file = File::open(path).map_err(fails)?;
        let metadata = file.metadata().map_err(fails)?;
        Ok(Self {
            size: Size {
                total: metadata.is_file().then_some(metadata.len()),
                ..Size::default()
            },
            file: Some(file),
            name,
        })
    }

    /// Whether this is the file at `path`: writing there would destroy the list before it is read.
    pub(super) fn is_file_at(&self, path: &Path) -> bool {
        // Standard input can be a file, too.
        let of_stdin = || {
            File::from(io::stdin().as_fd().try_clone_to_owned().ok()?)
                .metadata()
                .ok()
        };
        let this = match &self.file {
            Some(file) => file.metadata().ok(),
            None => of_stdin(),
        };
        let other = path.metadata().ok();
        this.zip(other)
            .is_some_and(|(this, other)| (this.dev(), this.ino()) == (other.dev(), other.ino()))
    }

    pub(super) fn into_reader(self) -> Box<dyn Read + Send> {
        let Self { size, file, .. } = self;
        match file {
            Some(inner) => Box::new(Counted { inner, size }),
            None => Box::new(io::stdin()),
        }
    }
}

impl Size {
    /// An estimate of all rows from the `rows` that have been read so far.
    pub(super) fn rows(&self, rows: u64) -> Option<u64> {
        let read = self.read.load(Ordering::Relaxed);
        let estimate = u128::from(rows) * u128::from(self.total?) / u128::from(read.max(1));
        u64::try_from(estimate).ok()
    }
}

struct Counted {
    inner: File,
    size: Size,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.size.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
