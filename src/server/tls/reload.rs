//! What is made of files, and made again when they change.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
};

use super::pem::{Expiry, Files, TlsError};

/// Something that was made of files, as of now. Who uses it keeps what they took, whatever comes after.
pub(super) struct Reloading<T> {
    current: watch::Receiver<Arc<T>>,
    /// Ends with the last clone.
    _task: Arc<JoinSet<()>>,
}

/// What was made, and until when it is good, where that is known.
type Made<T> = (T, Option<Expiry>);

impl<T: Send + Sync + 'static> Reloading<T> {
    /// Makes it, and looks at each `interval` whether the files are still the same. They are read, and not watched: so it
    /// makes no difference whether they are written over, renamed, or reached over links that change, as on Kubernetes.
    pub(super) fn start(
        what: &'static str,
        interval: Duration,
        make: impl Fn(&mut Files) -> Result<Made<T>, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let look = move || {
            let mut files = Files::new();
            let made = make(&mut files);
            (files.digest(), made)
        };
        let (digest, made) = look();
        let (first, expiry) = made?;
        tracing::info!(expires = at(&expiry), "{what} is in use");
        let (sender, current) = watch::channel(Arc::new(first));
        let mut task = JoinSet::new();
        task.spawn(keep_up(what, interval, Arc::new(look), (digest, expiry), sender));
        Ok(Self {
            current,
            _task: Arc::new(task),
        })
    }

    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.borrow())
    }
}

async fn keep_up<T: Send + Sync + 'static>(
    what: &'static str,
    interval: Duration,
    look: Arc<impl Fn() -> ([u8; 32], Result<Made<T>, TlsError>) + Send + Sync + 'static>,
    (mut in_use, mut expiry): ([u8; 32], Option<Expiry>),
    sender: watch::Sender<Arc<T>>,
) {
    // Files that were of no use when they were last looked at, and whether that was told.
    let mut broken = None;
    loop {
        tokio::time::sleep(interval).await;
        let look = Arc::clone(&look);
        let Ok((digest, made)) = spawn_blocking(move || look()).await else {
            continue;
        };
        match made {
            _ if digest == in_use => broken = None,
            Ok((made, its_expiry)) => {
                sender.send_replace(Arc::new(made));
                (in_use, expiry, broken) = (digest, its_expiry, None);
                tracing::info!(
                    expires = at(&expiry),
                    "{what} has changed; new connections get the new one"
                );
            }
            Err(error) if broken == Some((digest, false)) => {
                tracing::error!(%error, "{what} has changed, but is of no use; the one before stays in use");
                broken = Some((digest, true));
            }
            // A certificate and its key may be written one after the other: they are looked at twice.
            Err(_) if broken.is_none_or(|(seen, _)| seen != digest) => broken = Some((digest, false)),
            Err(_) => {}
        }
        if let Some(Expiry { at, .. }) = expiry.take_if(|expiry| expiry.is_near()) {
            tracing::warn!(expires = at, "{what} ends soon, and has not been renewed");
        }
    }
}

fn at(expiry: &Option<Expiry>) -> Option<&str> {
    expiry.as_ref().map(|expiry| expiry.at.as_str())
}

impl<T> Clone for Reloading<T> {
    fn clone(&self) -> Self {
        Self {
            current: self.current.clone(),
            _task: Arc::clone(&self._task),
        }
    }
}

impl<T> fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").finish_non_exhaustive()
    }
}
