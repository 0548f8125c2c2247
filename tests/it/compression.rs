//! Compression: of requests, which the service rejects, and of answers over REST.

use std::io::Read;

use axum::http;
use device_assignment::pb::AssignDevicesToOwnerRequest;
use flate2::{Compression, read::GzDecoder, read::GzEncoder};
use http_body_util::{BodyExt, Full};
use prost::Message;
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;
use tower::{Service, ServiceExt};

use crate::{
    contract::world,
    support::{
        Api, Kind, PATH, Suite, TestDatabase, TestServer,
        example::{clean, python},
        organization,
        program::{finish, is_on_path, stderr, stdout},
    },
};

/// Any method of the service.
const ASSIGN: &str = "/telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

pub fn register(suite: &mut Suite) {
    for api in [Api::Rest, Api::RemoteRest] {
        let name = |test: &str| format!("compression::{test}::{}", api.name());
        suite.on(Kind::Sqlite, &name("compressed_bodies_are_rejected"), move |db| {
            compressed_bodies(db, api)
        });
        suite.on(Kind::Sqlite, &name("answers_are_compressed_on_request"), move |db| {
            compressed_answers(db, api)
        });
    }
    suite.on(
        Kind::Sqlite,
        "compression::compressed_messages_are_rejected",
        compressed_messages,
    );
    suite.with_tools("compression::grpc_of_python", no_python, python_client);
    suite.with_tools("compression::curl", no_curl, curl);
}

fn no_python() -> Option<String> {
    let path = python();
    (!path.exists()).then(|| format!("there is no {}", path.display()))
}

fn no_curl() -> Option<String> {
    (!is_on_path("curl")).then(|| "curl is not on the PATH".to_owned())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::new();
    let mut encoder = GzEncoder::new(bytes, Compression::default());
    encoder.read_to_end(&mut compressed).expect("gzip");
    compressed
}

async fn compressed_bodies(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let body = json!({ "customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"] }).to_string();
    let before = database.dump().await;
    for (encoding, bytes) in [
        ("gzip", gzip(body.as_bytes())),
        ("GZIP", gzip(body.as_bytes())),
        ("br", body.clone().into_bytes()),
        ("identity, gzip", gzip(body.as_bytes())),
    ] {
        let request = client.request(Method::POST, PATH).body(bytes);
        let answer = client.send(request.header("content-encoding", encoding)).await;
        let (status, headers) = answer.http.expect("REST");
        assert_eq!((status, answer.code.as_str()), (415, "UNIMPLEMENTED"), "{encoding}");
        assert_eq!(headers["accept-encoding"], "identity");
        assert_eq!(
            answer.error,
            "Content-Encoding is not supported; send the body uncompressed"
        );
    }
    assert_eq!(database.dump().await, before);
    let request = client.request(Method::POST, PATH).body(body);
    client.send(request.header("content-encoding", "identity")).await.ok();
    server.stop().await;
}

/// What a client gets that sends this `Accept-Encoding`: the content encoding, `Vary`, and the body as it was sent.
struct Raw {
    encoding: Option<String>,
    vary: Option<String>,
    body: Vec<u8>,
}

async fn raw(request: reqwest::RequestBuilder, accepted: &str) -> Raw {
    let response = request
        .header("accept-encoding", accepted)
        .send()
        .await
        .expect("an answer");
    let text = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().expect("text").to_owned())
    };
    let (encoding, vary) = (text("content-encoding"), text("vary"));
    let body = response.bytes().await.expect("a body").into();
    Raw { encoding, vary, body }
}

async fn compressed_answers(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let identifiers: Vec<String> = (0..1_000).map(|number| format!("SN-{number:05}")).collect();
    let identifiers: Vec<&str> = identifiers.iter().map(String::as_str).collect();
    client.create("john@example.com", &identifiers).await.ok();

    // The same call is answered the same, so the bodies can be compared.
    let call = json!({ "customerEmail": "john@example.com", "deviceIdentifiers": identifiers });
    let post = |body: &Value| client.request(Method::POST, PATH).body(body.to_string());
    let plain = raw(post(&call), "identity").await;
    assert_eq!(plain.encoding, None);
    assert_eq!(plain.vary.as_deref(), Some("accept-encoding"));
    assert!(plain.body.ends_with(b"}\n"));
    for accepted in ["gzip", "br;q=1.0, gzip;q=0.8, *;q=0.1"] {
        let compressed = raw(post(&call), accepted).await;
        assert_eq!(compressed.encoding.as_deref(), Some("gzip"), "{accepted}");
        assert_eq!(compressed.vary.as_deref(), Some("accept-encoding"));
        assert!(
            compressed.body.len() * 2 < plain.body.len(),
            "{}",
            compressed.body.len()
        );
        let mut body = Vec::new();
        GzDecoder::new(&compressed.body[..])
            .read_to_end(&mut body)
            .expect("gzip");
        assert!(body == plain.body, "{accepted}");
    }
    assert_eq!(raw(post(&call), "gzip;q=0").await.encoding, None);

    let small = json!({ "customerEmail": "john@example.com", "deviceIdentifiers": ["SN-00001"] });
    assert_eq!(raw(post(&small), "gzip").await.encoding, None);
    let failed = client.with_key(None).request(Method::POST, PATH).body("{}");
    assert_eq!(raw(failed, "gzip").await.encoding, None);
    for page in ["/openapi.json", "/guides/rest"] {
        let compressed = raw(client.request(Method::GET, page), "gzip").await;
        assert_eq!(compressed.encoding.as_deref(), Some("gzip"), "{page}");
    }
    // Is compressed already.
    let bundle = raw(client.request(Method::GET, "/docs/swagger-ui-bundle.js"), "gzip").await;
    let mut script = String::new();
    GzDecoder::new(&bundle.body[..])
        .read_to_string(&mut script)
        .expect("text");
    assert!(script.contains("SwaggerUI"));
    server.stop().await;
}

/// A call without a client in between: what it sends is what is written here.
async fn compressed_messages(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    let before = database.dump().await;
    let message = AssignDevicesToOwnerRequest {
        customer_email: "john.doe@example.com".into(),
        device_identifiers: vec!["SN-001".into()],
        ..AssignDevicesToOwnerRequest::default()
    };
    for (path, message) in [(ASSIGN, message.encode_to_vec()), (HEALTH, Vec::new())] {
        for encoding in ["gzip", "zstd", "deflate"] {
            let compressed = gzip(&message);
            let length = u32::try_from(compressed.len()).expect("a short message");
            let body = [&[1][..], &length.to_be_bytes()[..], &compressed[..]].concat();
            let request = http::Request::post(format!("http://localhost{path}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("x-api-key", &key)
                .header("grpc-encoding", encoding)
                .body(tonic::body::Body::new(Full::from(body).map_err(|never| match never {})))
                .expect("a request");
            let mut channel = client.channel();
            let channel = channel.ready().await.expect("a connection");
            let response = channel.call(request).await.expect("an answer");
            assert_eq!(response.headers()["grpc-accept-encoding"], "identity", "{path}");
            let status = tonic::Status::from_header_map(response.headers()).expect("a status");
            assert_eq!(status.code(), Code::Unimplemented, "{path} {encoding}");
            let reason = status.get_details_error_info().expect("a reason").reason;
            assert_eq!(reason, "UNSUPPORTED_ENCODING");
        }
    }
    assert_eq!(database.dump().await, before);
    server.stop().await;
}

const PYTHON_CLIENT: &str = r#"
import sys
import grpc
from grpc_status import rpc_status

address, key = sys.argv[1:]
with grpc.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
    call = channel.unary_unary("/telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner")
    try:
        call(b"\x0a" + bytes([64]) + b"a" * 64, metadata=[("x-api-key", key)])
    except grpc.RpcError as error:
        print(error.code().name, error.details())
        print(b"UNSUPPORTED_ENCODING" in rpc_status.from_call(error).details[0].value)
"#;

async fn python_client(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let mut command = clean(python());
    command.args(["-c", PYTHON_CLIENT, &server.grpc.to_string(), &key]);
    let output = finish(command).await;
    assert_eq!(
        stdout(&output),
        "UNIMPLEMENTED Compressed requests are not supported; send the message uncompressed\nTrue\n",
        "{}",
        stderr(&output)
    );
    server.stop().await;
}

async fn curl(database: &TestDatabase) {
    let server = TestServer::start(database).await;
    let url = format!("http://{}/openapi.json", server.rest);
    let mut command = clean("curl");
    command.args([
        "--silent",
        "--show-error",
        "--compressed",
        "--write-out",
        "%{size_download}",
        &url,
    ]);
    let output = finish(command).await;
    let said = stdout(&output);
    let (document, bytes) = said.rsplit_once('\n').expect("a line, and a number");
    serde_json::from_str::<Value>(document).expect("JSON");
    let bytes: usize = bytes.parse().expect("a number");
    assert!(bytes * 2 < document.len(), "{bytes} of {}", document.len());
    server.stop().await;
}
