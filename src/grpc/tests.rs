//! The policies, before methods that misbehave.

use axum::{Router, body::Body, http::Request, routing::post};
use tempfile::TempDir;
use tonic::{Code, Status};
use tower::ServiceExt;

use super::*;
use crate::{
    domain::{
        api_key::Scope,
        organization::{ApiKeyLabel, OrganizationName},
    },
    service::{ServiceSettings, create_api_key, create_organization},
    storage::{Database, DatabaseUrl, migrate},
    supervision::Supervisor,
};

const SETTINGS: GrpcSettings = GrpcSettings {
    max_message_bytes: 1_024,
    max_answer_bytes: 1_024,
    body_timeout: Duration::from_secs(60),
    default_timeout: Duration::from_millis(50),
    max_timeout: Duration::from_secs(60),
    max_keyless_calls: 1,
};

/// The path of a method that panics, and of one that never answers.
const PANICS: &str = "/telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner";
const HANGS: &str = "/telemetron.device_assignment.v1.OrganizationService/CheckCredentials";
/// The path of a method that is not on the list of methods.
const UNLISTED: &str = "/test.Service/Panics";

/// Misbehaving methods behind the policies, and a key for them.
async fn misbehaving(folder: &TempDir) -> (Router, String) {
    let url = format!("sqlite://{}/test.db?mode=rwc", folder.path().display());
    let database = Database::open(DatabaseUrl::parse(&url).expect("a URL"))
        .await
        .expect("a database");
    migrate(&database).await.expect("a schema");
    let name = OrganizationName::parse("acme").expect("a name");
    create_organization(&database, &name).await.expect("an organization");
    let label = ApiKeyLabel::parse("test").expect("a label");
    let key = create_api_key(&database, "acme", &label, Scope::Write, None)
        .await
        .expect("a key");
    let service = Service::start(
        database,
        ServiceSettings::default(),
        Arc::default(),
        &Supervisor::default(),
    );
    let methods = Router::new()
        .route(PANICS, post(async || -> () { panic!("with a secret") }))
        .route(UNLISTED, post(async || -> () { panic!("called") }))
        .route(HANGS, post(std::future::pending::<()>));
    let router = with_policies(methods, Arc::new(service), SETTINGS, Shares::new(1_024));
    (router, key.secret.reveal().to_owned())
}

async fn call(router: &Router, path: &str, headers: &[(&str, &str)]) -> Status {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    assert!(
        response.headers().contains_key("x-request-id"),
        "every answer has an id"
    );
    Status::from_header_map(response.headers()).expect("an error")
}

#[tokio::test]
async fn a_panic_ends_its_call_and_nothing_else() {
    let folder = TempDir::new().expect("a folder");
    let (router, key) = misbehaving(&folder).await;
    for _ in 0..2 {
        let status = call(&router, PANICS, &[("x-api-key", &key)]).await;
        assert_eq!((status.code(), status.message()), (Code::Internal, "Internal error"));
    }
}

#[tokio::test]
async fn a_call_is_answered_when_its_time_is_over() {
    let folder = TempDir::new().expect("a folder");
    let (router, key) = misbehaving(&folder).await;
    for timeout in ["10m", "1u", "not a timeout"] {
        let headers = [("x-api-key", key.as_str()), ("grpc-timeout", timeout)];
        let status = call(&router, HANGS, &headers).await;
        assert_eq!(
            (status.code(), status.message()),
            (Code::DeadlineExceeded, "Deadline exceeded")
        );
    }
}

#[tokio::test]
async fn a_method_needs_a_key() {
    let folder = TempDir::new().expect("a folder");
    let (router, _) = misbehaving(&folder).await;
    for path in [PANICS, HANGS] {
        let status = call(&router, path, &[]).await;
        assert_eq!(status.code(), Code::Unauthenticated, "{path}");
    }
}

#[tokio::test]
async fn a_method_that_is_not_on_the_list_cannot_be_called() {
    let folder = TempDir::new().expect("a folder");
    let (router, key) = misbehaving(&folder).await;
    for path in [
        UNLISTED,
        "/test.Service/IsNotThere",
        "/grpc.health.v1.Health/IsNotThere",
        "/",
    ] {
        for headers in [[].as_slice(), &[("x-api-key", key.as_str())]] {
            let status = call(&router, path, headers).await;
            let expected = (Code::Unimplemented, "There is no such method");
            assert_eq!((status.code(), status.message()), expected, "{path}");
        }
    }
}
