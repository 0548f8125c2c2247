//! Stopping on Ctrl-C, and on a supervisor's SIGTERM.

use std::{io, pin::Pin, process::ExitCode};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::CommandError;
use crate::server::ServeError;

/// Resolves when the program is asked to stop.
pub(super) type Asked = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Signals, caught from its creation on.
pub(super) struct Signals(io::Result<(Signal, Signal)>);

impl Signals {
    pub(super) fn catch() -> Self {
        let caught =
            signal(SignalKind::interrupt()).and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
        Self(caught)
    }

    /// Serves until `serve` ends. The first signal asks it to stop; a second one stops at once.
    pub(super) async fn stop<F>(mut self, serve: impl FnOnce(Asked) -> F) -> Result<ExitCode, CommandError>
    where
        F: Future<Output = Result<(), ServeError>>,
    {
        let (ask, asked) = oneshot::channel();
        let asked = Box::pin(async { drop(asked.await) });
        tokio::select! {
            ended = serve(asked) => {
                ended?;
                tracing::info!("stopped");
                Ok(ExitCode::SUCCESS)
            }
            code = async {
                self.next().await;
                tracing::info!("stopping");
                let _ = ask.send(());
                self.next().await
            } => {
                tracing::warn!("stopped at once by a second signal; calls in progress were cut off");
                Ok(ExitCode::from(code))
            }
        }
    }

    /// Waits for a signal, and returns the exit code of a program that the signal ends.
    async fn next(&mut self) -> u8 {
        match &mut self.0 {
            Ok((interrupt, terminate)) => tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            },
            Err(error) => {
                tracing::error!(%error, "cannot catch signals; only SIGKILL stops this program");
                std::future::pending().await
            }
        }
    }
}
