//! The gRPC API: error details, messages that cannot be read, reflection, health, and who needs a key.

use axum::http;
use device_assignment::{
    pb::{self, AssignDevicesToOwnerRequest},
    server::ServerSettings,
};
use http_body_util::{BodyExt, Full};
use insta::{allow_duplicates, assert_snapshot};
use prost::Message;
use tonic::{Code, Request, Status, body::Body, metadata::MetadataMap};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};
use tonic_types::StatusExt;
use tower::{Service, ServiceExt};

use crate::{
    contract::world,
    support::{Api, Client, Suite, TestDatabase, TestServer},
};

pub fn register(suite: &mut Suite) {
    suite.on_each("grpc::details_of_a_refusal", grpc_details);
    suite.on_each("grpc::messages_that_cannot_be_read", unreadable_messages);
    suite.on_each("grpc::an_unknown_method_is_unimplemented", unknown_methods);
    suite.on_each("grpc::reflection_lists_everything", reflection);
    suite.on_each("grpc::health", health);
    suite.on_each("grpc::no_business_method_without_a_key", deny_by_default);
}

async fn grpc_details(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    let mut request = Request::new(AssignDevicesToOwnerRequest {
        validate_only: false,
        customer_email: "john".into(),
        device_identifiers: vec!["SN-001".into(), String::new()],
        auto_create_devices: true,
        device_type: None,
    });
    client.sign(request.metadata_mut());
    let status = client
        .grpc()
        .assign_devices_to_owner(request)
        .await
        .expect_err("a refusal");
    let details = status.get_error_details();
    let mut text = format!(
        "{:?}: {}\n{:?}\n",
        status.code(),
        status.message(),
        details.error_info()
    );
    for violation in &details.bad_request().expect("violations").field_violations {
        text.push_str(&format!("{}: {}\n", violation.field, violation.description));
    }
    allow_duplicates! { assert_snapshot!(text, @r#"
    InvalidArgument: customer_email must be a valid email address (the first of 3 problems)
    Some(ErrorInfo { reason: "INVALID_REQUEST", domain: "telemetron.ai", metadata: {"violationCount": "3"} })
    customer_email: customer_email must be a valid email address
    device_identifiers[1]: device_identifiers[1] must not be empty
    device_type: device_type is required when auto_create_devices is true
    "#) };

    // Clients cap what they take in trailers near 8 KiB: the largest refusal must fit.
    let identifiers = vec!["\u{1}".repeat(300); 10_000];
    let mut request = Request::new(AssignDevicesToOwnerRequest {
        validate_only: false,
        customer_email: "x".repeat(300),
        device_identifiers: identifiers,
        auto_create_devices: true,
        device_type: Some("\u{1}".into()),
    });
    client.sign(request.metadata_mut());
    let status = client
        .grpc()
        .assign_devices_to_owner(request)
        .await
        .expect_err("a refusal");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "customer_email must be a valid email address (the first of 10002 problems)"
    );
    // In base64, and beside the sentence once more.
    assert!(
        status.details().len() * 4 / 3 < 4_096,
        "{} bytes of details",
        status.details().len()
    );
    server.stop().await;
}

async fn unreadable_messages(database: &TestDatabase) {
    let key = world(database).await;
    let settings = ServerSettings {
        max_request_bytes: 64 * 1024,
        ..ServerSettings::default()
    };
    let server = TestServer::start_with(database, settings).await;
    let client = server.client(Api::Grpc, &key);
    let large = client
        .create("john.doe@example.com", &["x".repeat(64 * 1024).as_str()])
        .await;
    assert_eq!(large.code, "INVALID_ARGUMENT");
    assert_eq!(large.error, "Request too large. Maximum 65536 bytes");
    assert_eq!(large.reason.as_deref(), Some("INVALID_MESSAGE"));

    // Field 1 is a string; here it is a number.
    let broken = raw_call(&client, "DeviceAssignmentService/AssignDevicesToOwner", &[0x08, 0x01]).await;
    assert_eq!(broken.code(), Code::InvalidArgument);
    assert_eq!(broken.message(), "The request message cannot be decoded");
    server.stop().await;
}

/// With or without a key, and whatever the service.
async fn unknown_methods(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    for client in [client.clone(), client.with_key(None), client.with_key(Some("tlm_x"))] {
        for path in [
            "telemetron.device_assignment.v1.DeviceAssignmentService/NoSuchMethod",
            "telemetron.device_assignment.v1.NoSuchService/AssignDevicesToOwner",
            "no.such.Service/Method",
            "grpc.health.v1.Health/NoSuchMethod",
        ] {
            let status = raw_call_at(&client, path, &[]).await;
            assert_eq!(status.code(), Code::Unimplemented, "{path}");
            let info = status.get_details_error_info().expect("a reason");
            assert_eq!(info.reason, "UNKNOWN_METHOD", "{path}");
        }
    }
    server.stop().await;
}

/// Sends these bytes as the message of a method.
async fn raw_call(client: &Client, method: &str, message: &[u8]) -> Status {
    raw_call_at(client, &format!("telemetron.device_assignment.v1.{method}"), message).await
}

async fn raw_call_at(client: &Client, path: &str, message: &[u8]) -> Status {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).expect("small").to_be_bytes());
    framed.extend(message);
    let mut metadata = MetadataMap::new();
    client.sign(&mut metadata);
    let mut request = http::Request::post(format!("http://service/{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::new(framed.into()).map_err(|never| match never {})))
        .expect("a request");
    request.headers_mut().extend(metadata.into_headers());
    let mut channel = client.channel();
    let response = channel
        .ready()
        .await
        .expect("ready")
        .call(request)
        .await
        .expect("an answer");
    Status::from_header_map(response.headers()).expect("a refusal")
}

async fn reflection(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let channel = server.client(Api::Grpc, &key).channel();
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "telemetron.device_assignment.v1.DeviceAssignmentService",
    ];

    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let answers = client
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .expect("an answer");
    let answer = answers
        .into_inner()
        .message()
        .await
        .expect("an answer")
        .expect("a message");
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer.message_response
    else {
        panic!("{answer:?}");
    };
    let names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    for name in expected {
        assert!(names.iter().any(|listed| listed == name), "{name} in {names:?}");
    }

    // grpcurl before 1.9 speaks only this version.
    for symbol in [
        expected[2],
        "google.rpc.BadRequest",
        "google.rpc.ErrorInfo",
        "google.rpc.RetryInfo",
    ] {
        let request = v1alpha::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(
                v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol.into()),
            ),
        };
        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel.clone());
        let answers = client
            .server_reflection_info(tokio_stream::iter([request]))
            .await
            .expect("an answer");
        let answer = answers
            .into_inner()
            .message()
            .await
            .expect("an answer")
            .expect("a message");
        let Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_)) =
            answer.message_response
        else {
            panic!("{symbol}: {answer:?}");
        };
    }
    server.stop().await;
}

async fn health(database: &TestDatabase) {
    let server = TestServer::start(database).await;
    let mut client = HealthClient::new(server.client(Api::Grpc, "").channel());
    for service in ["", "telemetron.device_assignment.v1.DeviceAssignmentService"] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let answer = client.check(request).await.expect("an answer");
        assert!(answer.metadata().contains_key("x-request-id"));
        assert_eq!(
            answer.into_inner().status(),
            tonic_health::ServingStatus::Serving.into(),
            "{service:?}"
        );
    }
    let request = HealthCheckRequest {
        service: "nothing".into(),
    };
    assert_eq!(client.check(request).await.expect_err("unknown").code(), Code::NotFound);
    server.stop().await;
}

/// Every method of every service that is not meant for probes and tools, found by the descriptors, needs a key.
async fn deny_by_default(database: &TestDatabase) {
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, "").with_key(None);
    let descriptors = prost_types::FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).expect("descriptors");
    let mut methods = 0;
    for file in descriptors.file {
        for service in &file.service {
            for method in &service.method {
                methods += 1;
                let name = format!("{}/{}", service.name(), method.name());
                let status = raw_call(&client, &name, &[]).await;
                assert_eq!(status.code(), Code::Unauthenticated, "{name}");
            }
        }
    }
    assert!(methods > 1, "the descriptors have methods");
    server.stop().await;
}
