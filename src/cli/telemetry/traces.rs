//! Traces: collected, and sent to a collector in batches, on their own thread. If the collector is away, spans are lost and
//! nothing else.

use std::{
    env,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    resource::EnvResourceDetector,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use tonic::transport::Endpoint;
use tracing::{Level, Subscriber};
use tracing_subscriber::{Layer, registry::LookupSpan};

use super::{CommandError, evaluated_each_time};
use crate::{config::TraceConfig, telemetry::trace};

/// How long connecting to the collector and sending a batch may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long sending the last spans may take when the program ends.
const FLUSH: Duration = Duration::from_secs(1);
/// How often lost spans are logged.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The traces of this process, if they are enabled.
#[derive(Default)]
pub(super) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Starts collecting traces, if they are enabled. Must run within a runtime, which runs the connection.
    pub(super) fn start(config: &TraceConfig, service: &'static str) -> Result<Self, CommandError> {
        let Some(endpoint) = &config.otlp_endpoint else {
            return Ok(Self::default());
        };
        let usage = |problem: String| {
            CommandError::Usage(format!(
                "--otlp-endpoint (OTEL_EXPORTER_OTLP_ENDPOINT): {problem}; write http://host:4317"
            ))
        };
        let channel = Endpoint::from_shared(endpoint.clone())
            .map_err(|error| usage(error.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(EXPORT_TIMEOUT)
            .connect_lazy();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_channel(channel)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|error| usage(error.to_string()))?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(service))
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                config.trace_sample_ratio,
            ))))
            .with_batch_exporter(Reporting {
                exporter,
                last: Mutex::default(),
            })
            .build();
        Ok(Self(Some(provider)))
    }

    /// A layer that takes the spans of traces, and nothing else.
    pub(super) fn layer<S>(&self) -> Option<Box<dyn Layer<S> + Send + Sync>>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let provider = self.0.as_ref()?;
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("device-assignment"))
            .with_context_activation(false)
            .with_tracked_inactivity(false)
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false);
        let filter = evaluated_each_time(|what| what.target() == trace::TARGET);
        let filter = filter.with_max_level_hint(Level::INFO);
        Some(layer.with_filter(filter).boxed())
    }

    /// Sends the last spans, within a bound. Blocks.
    pub(super) fn flush(&self) {
        if let Some(provider) = &self.0
            && provider.shutdown_with_timeout(FLUSH).is_err()
        {
            tracing::warn!("the last traces could not be sent in time");
        }
    }
}

/// The sender of the traces. OpenTelemetry's own environment variables override it.
fn resource(service: &'static str) -> Resource {
    let resource = Resource::builder_empty()
        .with_attribute(KeyValue::new("service.name", service))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => resource.with_service_name(name).build(),
        _ => resource.build(),
    }
}

/// Logs lost spans, at a limited rate.
#[derive(Debug)]
struct Reporting<E> {
    exporter: E,
    last: Mutex<Option<Instant>>,
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        if let Err(error) = &result {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
                *last = Some(Instant::now());
                tracing::warn!(%error, "traces cannot be sent and are lost; calls are not affected");
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
