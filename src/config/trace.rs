use clap::Args;

/// Where `serve` and `gateway` send traces. Their environment variables are OpenTelemetry's own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceConfig {
    /// Where traces are sent to (OTLP over gRPC), as in http://host:4317; nowhere unless set
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = endpoint)]
    pub otlp_endpoint: Option<String>,

    /// Which share of the traces that begin here is sent, from 0 to 1; of others, their beginning decides
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "RATIO", default_value = "1.0", value_parser = ratio)]
    pub trace_sample_ratio: f64,
}

fn endpoint(text: &str) -> Result<String, String> {
    match text.strip_prefix("http://") {
        Some(host) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err("must start with http://, as in http://host:4317".into()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("must be a number from 0 to 1".into()),
    }
}
