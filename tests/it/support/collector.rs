//! A trace collector (OTLP).

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, status::StatusCode},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

use super::load::eventually;

/// Receives and keeps spans. Ends when it is dropped.
pub struct Collector {
    pub address: SocketAddr,
    spans: Arc<Mutex<Vec<Collected>>>,
    task: JoinHandle<()>,
}

/// A span, and who sent it.
#[derive(Debug, Clone)]
pub struct Collected {
    pub service: String,
    pub span: Span,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let spans = Arc::<Mutex<Vec<Collected>>>::default();
        let service = TraceServiceServer::new(Service(Arc::clone(&spans)));
        let server = tonic::transport::Server::builder().add_service(service);
        let task = tokio::spawn(async move {
            let served = server.serve_with_incoming(TcpIncoming::from(listener)).await;
            served.expect("a collector that serves");
        });
        Self { address, spans, task }
    }

    /// Where the program sends its traces.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that has arrived.
    pub fn spans(&self) -> Vec<Collected> {
        self.spans.lock().expect("no panic").clone()
    }

    /// Waits until what has arrived is enough.
    pub async fn until(&self, is_enough: impl Fn(&Self) -> bool) {
        eventually("the spans arrive", Duration::from_secs(30), async || is_enough(self)).await;
    }

    /// The spans of one trace, given in hexadecimal digits.
    pub fn trace(&self, id: &str) -> Vec<Collected> {
        let mut spans = self.spans();
        spans.retain(|collected| hex(&collected.span.trace_id) == id);
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Service(Arc<Mutex<Vec<Collected>>>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.0.lock().expect("no panic");
        for of_resource in request.into_inner().resource_spans {
            let resource = of_resource.resource.expect("a resource");
            let service = attribute(&resource.attributes, "service.name").expect("a name");
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let service = service.clone();
                spans.push(Collected { service, span });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collected {
    pub fn get(&self, attribute: &str) -> Option<String> {
        self::attribute(&self.span.attributes, attribute)
    }

    pub fn failed(&self) -> bool {
        let status = self.span.status.as_ref();
        status.is_some_and(|status| status.code() == StatusCode::Error)
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

/// The spans below `parent`, as an indented list in the order of their beginning.
pub fn tree(spans: &[Collected], parent: &str) -> String {
    let mut list = String::new();
    add(&mut list, spans, parent, 0);
    list
}

fn add(list: &mut String, spans: &[Collected], parent: &str, depth: usize) {
    let mut children: Vec<_> = spans
        .iter()
        .filter(|collected| hex(&collected.span.parent_span_id) == parent)
        .collect();
    children.sort_by_key(|collected| collected.span.start_time_unix_nano);
    for child in children {
        let indent = "  ".repeat(depth);
        writeln!(list, "{indent}{}: {}", child.service, child.span.name).expect("a string");
        add(list, spans, &hex(&child.span.span_id), depth + 1);
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string");
        text
    })
}
