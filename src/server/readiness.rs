//! Whether the process should be sent work: one truth, shown to operators' tools and over gRPC alike.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tonic::transport::Channel;
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_check_response, health_client::HealthClient},
    server::HealthReporter,
};

use crate::{
    admin::Readiness,
    grpc,
    storage::{Health, HealthSettings},
};

/// What shows whether the process should be sent work.
pub(super) struct Beacon {
    readiness: watch::Sender<Readiness>,
    grpc: Option<HealthReporter>,
}

impl Beacon {
    /// One that shows [`Readiness::Ready`], and where operators' tools see that; over gRPC, if that is served.
    pub(super) async fn new(grpc: Option<HealthReporter>) -> (Self, watch::Receiver<Readiness>) {
        let (readiness, shown) = watch::channel(Readiness::Ready);
        let beacon = Self { readiness, grpc };
        beacon.tell_grpc(ServingStatus::Serving).await;
        (beacon, shown)
    }

    /// Shows this, everywhere, and says whether it is anything new.
    pub(super) async fn show(&self, readiness: Readiness) -> bool {
        let is_new = self
            .readiness
            .send_if_modified(|shown| std::mem::replace(shown, readiness) != readiness);
        if is_new {
            self.tell_grpc(match readiness {
                Readiness::Ready => ServingStatus::Serving,
                _ => ServingStatus::NotServing,
            })
            .await;
        }
        is_new
    }

    async fn tell_grpc(&self, status: ServingStatus) {
        if let Some(reporter) = &self.grpc {
            for name in ["", grpc::SERVICE] {
                reporter.set_service_status(name, status).await;
            }
        }
    }

    /// Lets go of those who watch over gRPC: they were told the last that there is to tell, and would wait for more.
    pub(super) async fn go_out(self) {
        if let Some(mut reporter) = self.grpc {
            for name in ["", grpc::SERVICE] {
                reporter.clear_service_status(name).await;
                // For who only asks.
                reporter.set_service_status(name, ServingStatus::NotServing).await;
            }
        }
    }

    /// Shows what is found out about the database, for as long as it is polled.
    pub(super) async fn follow_database(&self, mut health: watch::Receiver<Health>) {
        loop {
            let found = *health.borrow_and_update();
            self.show(match found {
                // A newer version takes away nothing that this one needs, and both serve while the one replaces the other.
                Health::Good | Health::SchemaAhead => Readiness::Ready,
                Health::OutOfReach => Readiness::DatabaseOutOfReach,
                Health::NotWritable { .. } => Readiness::DatabaseNotWritable,
                Health::SchemaBehind => Readiness::SchemaBehind,
            })
            .await;
            if health.changed().await.is_err() {
                // Nobody is left who finds anything out.
                std::future::pending().await
            }
        }
    }

    /// Asks the service at the other end of `channel` whether it is ready, and shows that, for as long as it is polled.
    pub(super) async fn follow_upstream(&self, channel: Channel, settings: HealthSettings) {
        let mut upstream = HealthClient::new(channel);
        loop {
            let next = Instant::now() + settings.interval;
            let readiness = ask(&mut upstream, settings.answer_within()).await;
            if self.show(readiness).await {
                match readiness {
                    Readiness::Ready => tracing::info!("the upstream is ready"),
                    _ => tracing::warn!(reason = %readiness, "the upstream cannot be sent work"),
                }
            }
            tokio::time::sleep_until(next.into()).await;
        }
    }
}

async fn ask(upstream: &mut HealthClient<Channel>, within: Duration) -> Readiness {
    let question = HealthCheckRequest {
        service: grpc::SERVICE.to_owned(),
    };
    match tokio::time::timeout(within, upstream.check(question)).await {
        Ok(Ok(answer)) => match answer.into_inner().status() {
            health_check_response::ServingStatus::Serving => Readiness::Ready,
            _ => Readiness::UpstreamNotReady,
        },
        Ok(Err(status)) => {
            tracing::debug!(%status, "asking the upstream whether it is ready failed");
            Readiness::UpstreamOutOfReach
        }
        Err(_elapsed) => Readiness::UpstreamOutOfReach,
    }
}
