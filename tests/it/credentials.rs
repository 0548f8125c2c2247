//! `CheckCredentials`: whose key it is, and that asking costs nothing of the key's limits.

use std::time::Duration;

use device_assignment::{
    pb::{CheckCredentialsRequest, CheckCredentialsResponse, organization_service_client::OrganizationServiceClient},
    service::Limit,
};
use serde_json::{Value, json};
use tonic::{Code, Request, Status};

use crate::{
    limits::{assert_too_many, settings},
    support::{Api, Client, Suite, TestDatabase, TestServer, new_key, organization, read_key},
};

const PATH: &str = "/api/ext-v1/credentials";
const HOUR: Duration = Duration::from_secs(3_600);

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = |test: &str| format!("credentials::{test}::{}", api.name());
        suite.on_each(&name("tell_whose_key_it_is"), move |db| tell(db, api));
        suite.on_each(&name("are_refused_like_those_of_any_call"), move |db| refused(db, api));
        suite.on_each(&name("cost_nothing_to_check"), move |db| free(db, api));
    }
    suite.on_each("credentials::a_gateway_reports_what_it_refused", reported);
}

async fn check(client: &Client, request: CheckCredentialsRequest) -> Result<CheckCredentialsResponse, Status> {
    let mut request = Request::new(request);
    client.sign(request.metadata_mut());
    let answer = OrganizationServiceClient::new(client.channel())
        .check_credentials(request)
        .await;
    answer.map(tonic::Response::into_inner)
}

/// The answer as JSON, or the name of the code.
async fn credentials(client: &Client) -> Result<Value, String> {
    if client.api == Api::Grpc {
        let answer = check(client, CheckCredentialsRequest::default()).await;
        return match answer {
            Ok(answer) => Ok(serde_json::to_value(answer).expect("JSON")),
            Err(status) => Err(device_assignment::code::code_name(status.code()).to_owned()),
        };
    }
    let response = client
        .request(reqwest::Method::GET, PATH)
        .send()
        .await
        .expect("an answer");
    let status = response.status();
    let mut body: Value = response.json().await.expect("JSON");
    if status == 200 {
        Ok(body)
    } else {
        Err(body["code"].take().as_str().expect("a code").to_owned())
    }
}

async fn tell(database: &TestDatabase, api: Api) {
    let lasting = organization(database, "acme").await;
    let expiring = new_key(database, "acme", Some(HOUR)).await;
    let server = TestServer::start(database).await;
    let mut lasting = credentials(&server.client(api, &lasting)).await.expect("valid");
    let told = credentials(&server.client(api, expiring.secret.reveal()))
        .await
        .expect("valid");
    let seconds = |time: Option<time::OffsetDateTime>| {
        let time = time.expect("a time").replace_nanosecond(0).expect("a second");
        time.format(&time::format_description::well_known::Rfc3339)
            .expect("a time")
    };
    let record = &expiring.record;
    assert_eq!(
        told,
        json!({
            "organizationId": record.organization.to_string(),
            "organizationName": "acme",
            "apiKeyId": record.id.to_string(),
            "label": "another",
            "createdAt": seconds(Some(record.created_at)),
            "expiresAt": seconds(record.expires_at),
            "scope": "write",
        })
    );
    assert_eq!(lasting["expiresAt"].take(), Value::Null);
    assert_eq!(
        (&lasting["label"], &lasting["scope"]),
        (&json!("test"), &json!("write"))
    );
    let reader = read_key(database, "acme").await;
    let reader = credentials(&server.client(api, &reader)).await.expect("valid");
    assert_eq!((&reader["label"], &reader["scope"]), (&json!("reader"), &json!("read")));
    server.stop().await;
}

async fn refused(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    for wrong in [None, Some("tlm_x")] {
        let answer = credentials(&client.with_key(wrong)).await;
        assert_eq!(answer, Err("UNAUTHENTICATED".to_owned()));
    }
    if api != Api::Grpc {
        let request = client.request(reqwest::Method::POST, PATH);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 405);
        assert_eq!(answer.headers()["allow"], "GET");
    }
    server.stop().await;
}

async fn free(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, settings(|limits| limits.calls = Limit::new(HOUR, 2))).await;
    let client = server.client(api, &key);
    for _ in 0..5 {
        credentials(&client).await.expect("valid");
    }
    client.create("john@example.com", &["SN-1"]).await.ok();
    client.create("john@example.com", &["SN-1"]).await.ok();
    assert_too_many(&client.create("john@example.com", &["SN-1"]).await, "RATE_LIMITED");
    // Nor is asking refused then: who waits may know for what.
    credentials(&client).await.expect("valid");
    server.stop().await;
}

async fn reported(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let settings = settings(|limits| {
        limits.calls = Limit::new(HOUR, 5);
        limits.devices = Limit::new(HOUR, 20_000);
    });
    let server = TestServer::start_with(database, settings).await;
    let client = server.client(Api::Grpc, &key);
    let report = |refused_calls, refused_devices| CheckCredentialsRequest {
        refused_calls,
        refused_devices,
    };
    check(&client, report(1, 0)).await.expect("counted");
    check(&client, report(1, 15_000)).await.expect("counted");
    let answer = check(&client, report(0, 6_000)).await.expect_err("too many devices");
    assert_eq!(answer.code(), Code::ResourceExhausted);
    // As does a gateway: a call, and as many devices as there are.
    let many = vec!["a"; 12_000];
    let answer = server.client(Api::Rest, &key).assign("john@example.com", &many).await;
    assert_too_many(&answer, "RATE_LIMITED");
    client.create("john@example.com", &["SN-1"]).await.ok();
    check(&client, report(1, 0)).await.expect("counted");
    assert_too_many(&client.create("john@example.com", &["SN-1"]).await, "RATE_LIMITED");
    server.stop().await;
}
