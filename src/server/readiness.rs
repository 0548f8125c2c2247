//! Reports whether the process is ready, on the admin listener and over gRPC.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_check_response, health_client::HealthClient},
    server::HealthReporter,
};

use super::upstream_connections::UpstreamConnections;
use crate::{
    admin::Readiness,
    error_chain::error_chain,
    grpc,
    storage::{Health, HealthSettings},
};

/// Reports whether the process is ready.
pub(super) struct ReadinessReporter {
    readiness: watch::Sender<Readiness>,
    grpc: Option<HealthReporter>,
}

impl ReadinessReporter {
    /// Starts with [`Readiness::Ready`]. The receiver is for the admin listener; `grpc` is for gRPC, if that is served.
    pub(super) async fn new(grpc: Option<HealthReporter>) -> (Self, watch::Receiver<Readiness>) {
        let (readiness, receiver) = watch::channel(Readiness::Ready);
        let reporter = Self { readiness, grpc };
        reporter.set_grpc(ServingStatus::Serving).await;
        (reporter, receiver)
    }

    /// Reports `readiness`, and returns whether it has changed.
    pub(super) async fn set(&self, readiness: Readiness) -> bool {
        let is_new = self
            .readiness
            .send_if_modified(|reported| std::mem::replace(reported, readiness) != readiness);
        if is_new {
            self.set_grpc(match readiness {
                Readiness::Ready => ServingStatus::Serving,
                _ => ServingStatus::NotServing,
            })
            .await;
        }
        is_new
    }

    async fn set_grpc(&self, status: ServingStatus) {
        if let Some(reporter) = &self.grpc {
            for name in ["", grpc::SERVICE] {
                reporter.set_service_status(name, status).await;
            }
        }
    }

    /// Reports over gRPC that the service is not ready, for good, and ends the streams of `Watch`.
    pub(super) async fn set_not_ready(self) {
        if let Some(mut reporter) = self.grpc {
            for name in ["", grpc::SERVICE] {
                reporter.clear_service_status(name).await;
                // For calls of `Check`.
                reporter.set_service_status(name, ServingStatus::NotServing).await;
            }
        }
    }

    /// Reports the health of the database. Never returns.
    pub(super) async fn follow_database(&self, mut health: watch::Receiver<Health>) {
        loop {
            let current = *health.borrow_and_update();
            self.set(match current {
                // A newer schema still has all that this version needs, and both versions serve during an upgrade.
                Health::Good | Health::SchemaAhead => Readiness::Ready,
                Health::OutOfReach => Readiness::DatabaseOutOfReach,
                Health::NotWritable { .. } => Readiness::DatabaseNotWritable,
                Health::SchemaBehind => Readiness::SchemaBehind,
            })
            .await;
            if health.changed().await.is_err() {
                // The health task has ended.
                std::future::pending().await
            }
        }
    }

    /// Checks the health of the service, and reports it. Never returns.
    pub(super) async fn follow_upstream(&self, upstream: UpstreamConnections, settings: HealthSettings) {
        let mut upstream = HealthClient::new(upstream);
        loop {
            let next = Instant::now() + settings.interval;
            let (readiness, error) = check(&mut upstream, settings.answer_within()).await;
            if self.set(readiness).await {
                match readiness {
                    Readiness::Ready => tracing::info!("the upstream is ready"),
                    _ => tracing::warn!(reason = %readiness, error, "the upstream is not ready"),
                }
            }
            tokio::time::sleep_until(next.into()).await;
        }
    }
}

/// Whether the upstream is ready, and the error if it cannot be asked.
async fn check(upstream: &mut HealthClient<UpstreamConnections>, timeout: Duration) -> (Readiness, Option<String>) {
    let request = HealthCheckRequest {
        service: grpc::SERVICE.to_owned(),
    };
    match tokio::time::timeout(timeout, upstream.check(request)).await {
        Ok(Ok(response)) => match response.into_inner().status() {
            health_check_response::ServingStatus::Serving => (Readiness::Ready, None),
            _ => (Readiness::UpstreamNotReady, None),
        },
        Ok(Err(status)) => {
            let error = status.source().map_or_else(|| status.message().to_owned(), error_chain);
            (Readiness::UpstreamOutOfReach, Some(error))
        }
        Err(_elapsed) => (
            Readiness::UpstreamOutOfReach,
            Some(format!("no response within {timeout:?}")),
        ),
    }
}
