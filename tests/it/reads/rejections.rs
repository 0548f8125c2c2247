//! What must be rejected: one table, each row a call.

use serde_json::{Value, json};

use super::{Read, World, read};
use crate::support::{Api, TestDatabase, TestServer};

/// A call that must be rejected.
pub struct Rejection {
    pub name: &'static str,
    read: Read,
    request: Value,
    code: &'static str,
    http: u16,
    reason: &'static str,
    error: &'static str,
    /// The invalid fields.
    fields: &'static [&'static str],
}

pub fn rejections() -> Vec<Rejection> {
    let mut table = Vec::new();
    let mut invalid = |name, read, request, error, fields| {
        table.push(Rejection {
            name,
            read,
            request,
            code: "INVALID_ARGUMENT",
            http: 400,
            reason: "INVALID_REQUEST",
            error,
            fields,
        });
    };
    let batch = |ids: &[&str]| json!({ "deviceIdentifiers": ids });
    invalid(
        "batch_nothing",
        Read::BatchGetDeviceOwners,
        json!({}),
        "deviceIdentifiers must not be empty",
        &["deviceIdentifiers"],
    );
    invalid(
        "batch_blank",
        Read::BatchGetDeviceOwners,
        batch(&["SN-001", " ", "SN\0-1"]),
        "deviceIdentifiers[1] must not be empty (the first of 2 problems)",
        &["deviceIdentifiers[1]", "deviceIdentifiers[2]"],
    );
    invalid(
        "batch_1001",
        Read::BatchGetDeviceOwners,
        batch(&["SN-001"; 1_001]),
        "Too many devices. Maximum 1000 per request",
        &["deviceIdentifiers"],
    );
    // The sequence of changes in `World`: one import, two assignments.
    for read in Read::ALL {
        let mut request = example(read);
        request["minRevision"] = json!("4");
        table.push(Rejection {
            name: Box::leak(format!("future_revision_{read:?}").into_boxed_str()),
            read,
            request,
            code: "INVALID_ARGUMENT",
            http: 400,
            reason: "REVISION_IN_FUTURE",
            error: "minRevision is greater than the organization's current revision, 3",
            fields: &[],
        });
    }
    table
}

/// A request that succeeds in a [`World`].
pub fn example(read: Read) -> Value {
    match read {
        Read::BatchGetDeviceOwners => json!({ "deviceIdentifiers": ["SN-001"] }),
    }
}

pub async fn is_rejected(database: &TestDatabase, api: Api, rejection: &Rejection) {
    let World { key, .. } = World::new(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let answer = read(&client, rejection.read, &rejection.request).await.in_json_names();
    assert_eq!(
        (answer.code.as_str(), answer.error.as_str(), answer.reason.as_deref()),
        (rejection.code, rejection.error, Some(rejection.reason))
    );
    let fields: Vec<&str> = answer.violations.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, rejection.fields);
    assert!(answer.http.is_none_or(|(status, _)| status == rejection.http));
    server.stop().await;
}
