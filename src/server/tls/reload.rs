//! A value built from files, and built again when they change.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{sync::watch, task::spawn_blocking};

use super::pem::{Expiry, Files, TlsError};
use crate::{
    supervision::{Supervisor, Tasks},
    telemetry::metrics,
};

/// A value built from files. Users keep the value that they took when it is replaced.
pub(super) struct Reloading<T> {
    current: watch::Receiver<Arc<T>>,
    /// Ends with the last clone.
    _task: Arc<Tasks>,
    supervisor: Supervisor,
}

/// The names of what is built.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// In the log.
    pub(super) what: &'static str,
    /// The certificate, in the metrics.
    pub(super) identity: &'static str,
    /// The certificate authorities, in the metrics.
    pub(super) authorities: &'static str,
}

/// When the certificates in the files expire.
#[derive(Debug, Clone, Default)]
pub(super) struct Expiries {
    /// The certificate, if there is one.
    pub(super) identity: Option<Expiry>,
    /// The certificate authority that expires first, if a file names any.
    pub(super) authorities: Option<Expiry>,
}

impl Expiries {
    /// Updates the metrics.
    fn publish(&self, names: Names) {
        for (certificate, expiry) in [(names.identity, &self.identity), (names.authorities, &self.authorities)] {
            if let Some(expiry) = expiry {
                metrics::certificate_expiry(certificate, expiry.since_1970);
            }
        }
    }
}

/// The value, and the expiries of its certificates.
type Built<T> = (T, Expiries);

impl<T: Send + Sync + 'static> Reloading<T> {
    /// Builds the value, and checks after each `interval` whether the files have changed. They are read, not watched, so it
    /// makes no difference whether they are overwritten, renamed, or reached through links that change, as on Kubernetes.
    pub(super) fn start(
        names: Names,
        interval: Duration,
        build: impl Fn(&mut Files) -> Result<Built<T>, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let load = move || {
            let mut files = Files::new();
            let built = build(&mut files);
            (files.digest(), built)
        };
        let (digest, built) = load();
        let (first, expiries) = built?;
        tracing::info!(expires = at(&expiries.identity), "{} is in use", names.what);
        expiries.publish(names);
        let (sender, current) = watch::channel(Arc::new(first));
        let supervisor = Supervisor::default();
        let mut task = Tasks::new(&supervisor);
        let load = Arc::new(load);
        task.keep_running("tls_reload", move || {
            let in_use = (digest, expiries.identity.clone());
            reload(names, interval, Arc::clone(&load), in_use, sender.clone())
        });
        Ok(Self {
            current,
            _task: Arc::new(task),
            supervisor,
        })
    }

    /// Knows whether the task that reads the files has failed.
    pub(super) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    pub(super) fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.borrow())
    }
}

async fn reload<T: Send + Sync + 'static>(
    names: Names,
    interval: Duration,
    load: Arc<impl Fn() -> ([u8; 32], Result<Built<T>, TlsError>) + Send + Sync + 'static>,
    (mut in_use, mut expiry): ([u8; 32], Option<Expiry>),
    sender: watch::Sender<Arc<T>>,
) {
    let what = names.what;
    // The digest of files that were invalid at the last check, and whether that was logged.
    let mut invalid = None;
    loop {
        tokio::time::sleep(interval).await;
        let load = Arc::clone(&load);
        let Ok((digest, built)) = spawn_blocking(move || load()).await else {
            continue;
        };
        match built {
            _ if digest == in_use => invalid = None,
            Ok((built, expiries)) => {
                sender.send_replace(Arc::new(built));
                expiries.publish(names);
                (in_use, expiry, invalid) = (digest, expiries.identity, None);
                tracing::info!(
                    expires = at(&expiry),
                    "{what} has changed; new connections use the new one"
                );
            }
            Err(error) if invalid == Some((digest, false)) => {
                tracing::error!(%error, "{what} has changed and is invalid; the previous one stays in use");
                invalid = Some((digest, true));
            }
            // A certificate and its key may be written one after the other, so an error counts only at the second check.
            Err(_) if invalid.is_none_or(|(seen, _)| seen != digest) => invalid = Some((digest, false)),
            Err(_) => {}
        }
        if let Some(Expiry { at, .. }) = expiry.take_if(|expiry| expiry.is_near()) {
            tracing::warn!(expires = at, "{what} expires soon and has not been renewed");
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
            supervisor: self.supervisor.clone(),
        }
    }
}

impl<T> fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").finish_non_exhaustive()
    }
}
