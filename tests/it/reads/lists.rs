//! What all lists have in common, and the lists of devices of a customer and of owners of a device.

use reqwest::Method;
use serde_json::{Value, json};

use super::{JANE, JOHN, Read, Rules, World, read};
use crate::support::{Answer, Api, Client, Suite, TestDatabase, TestServer, organization};

pub fn register(rules: &mut Rules<'_>) {
    rules.rule("owner_devices_the_documented_answer", |client, _, _| {
        Box::pin(owner_devices(client))
    });
    rules.rule("device_owners_the_documented_answer", |client, _, _| {
        Box::pin(device_owners(client))
    });
    rules.rule("lists_see_one_organization", |client, other, _| {
        Box::pin(one_organization(client, other))
    });
    rules.rule("lists_have_pages", |client, other, _| Box::pin(pages(client, other)));
    let api = rules.api;
    let name = |test: &str| format!("reads::{test}::{}", api.name());
    if api != Api::Grpc {
        rules
            .suite
            .on_each(&name("query_strings_are_strict"), move |db| query_strings(db, api));
    }
    rules
        .suite
        .on_each(&name("pages_miss_and_repeat_nothing"), move |db| stable_pages(db, api));
}

pub fn register_once(suite: &mut Suite) {
    suite.on_each("reads::devices_of_a_large_customer", large_customer);
}

/// The texts that a member of the entries of a list has.
pub fn texts(answer: &Answer, list: &str, member: &str) -> Vec<String> {
    let entries = answer.body[list].as_array().expect("a list");
    let text = |entry: &Value| entry[member].as_str().expect("text").to_owned();
    entries.iter().map(text).collect()
}

/// All pages of a list, each with at most `size` entries: the member of the entries, and the number of pages.
pub async fn all_pages(
    client: &Client,
    call: Read,
    request: &Value,
    size: usize,
    (list, member): (&str, &str),
) -> (Vec<String>, usize) {
    let (mut all, mut pages) = (Vec::new(), 0);
    let mut request = request.clone();
    request["pageSize"] = json!(size);
    loop {
        let answer = read(client, call, &request).await.ok();
        let entries = texts(&answer, list, member);
        assert!(entries.len() <= size, "{answer:?}");
        all.extend(entries);
        pages += 1;
        match answer.body["nextPageToken"].as_str().expect("text") {
            "" => return (all, pages),
            token => request["pageToken"] = json!(token),
        }
    }
}

async fn owner_devices(client: Client) {
    let by_email = json!({ "customerEmail": " John.Doe@example.com " });
    let answer = read(&client, Read::ListOwnerDevices, &by_email).await.ok();
    let device = |index: usize, member: &str| answer.body["devices"][index][member].clone();
    let expected = json!({
        "devices": [
            {
                "identifier": "SN-001",
                "deviceId": device(0, "deviceId"),
                "type": "imported",
                "assignedAt": device(0, "assignedAt"),
            },
            {
                "identifier": "SN-002",
                "deviceId": device(1, "deviceId"),
                "type": "imported",
                "assignedAt": device(1, "assignedAt"),
            },
        ],
        "nextPageToken": "",
        "revision": "3",
    });
    assert_eq!(answer.body, expected);
    assert!(
        device(0, "assignedAt")
            .as_str()
            .is_some_and(|time| time.len() == 20 && time.ends_with('Z'))
    );
    let owners = read(
        &client,
        Read::ListDeviceOwners,
        &json!({ "deviceIdentifier": "SN-001" }),
    )
    .await;
    let by_id = json!({ "customerId": owners.body["owners"][0]["customerId"] });
    assert_eq!(read(&client, Read::ListOwnerDevices, &by_id).await.ok().body, expected);
    client.unassign(JOHN, &["SN-001", "SN-002"]).await.ok();
    let answer = read(&client, Read::ListOwnerDevices, &by_id).await.ok();
    assert_eq!(
        answer.body,
        json!({ "devices": [], "nextPageToken": "", "revision": "4" })
    );
}

async fn device_owners(client: Client) {
    let of = |device: &str| json!({ "deviceIdentifier": device });
    let answer = read(&client, Read::ListDeviceOwners, &of(" SN-001 ")).await.ok();
    let owner = &answer.body["owners"][0];
    let expected = json!({
        "owners": [{
            "customerId": owner["customerId"],
            "email": JOHN,
            "assignedAt": owner["assignedAt"],
        }],
        "nextPageToken": "",
        "revision": "3",
    });
    assert_eq!(answer.body, expected);
    let both = read(&client, Read::ListDeviceOwners, &of("SN-002")).await.ok();
    let ids = texts(&both, "owners", "customerId");
    assert!(ids.is_sorted() && ids.len() == 2, "{ids:?}");
    let answer = read(&client, Read::ListDeviceOwners, &of("SN-003")).await.ok();
    assert_eq!(
        answer.body,
        json!({ "owners": [], "nextPageToken": "", "revision": "3" })
    );
}

async fn one_organization(client: Client, other: Client) {
    let of_john = json!({ "customerEmail": JOHN });
    let own = read(&client, Read::ListOwnerDevices, &of_john).await.ok();
    let others = read(&other, Read::ListOwnerDevices, &of_john).await.ok();
    assert_eq!(texts(&own, "devices", "identifier"), ["SN-001", "SN-002"]);
    assert_eq!(texts(&others, "devices", "identifier"), ["OTHER-1", "SN-001"]);
    let device = json!({ "deviceIdentifier": "SN-001" });
    let john = |answer: Answer| texts(&answer.ok(), "owners", "customerId");
    let own = john(read(&client, Read::ListDeviceOwners, &device).await);
    let others = john(read(&other, Read::ListDeviceOwners, &device).await);
    assert_ne!(own, others);
    let stranger = json!({ "customerId": others[0] });
    let answer = read(&client, Read::ListOwnerDevices, &stranger).await;
    assert_eq!(
        answer.reason.as_deref(),
        Some("CUSTOMER_NOT_FOUND"),
        "the id of another organization"
    );
    let device = json!({ "deviceIdentifier": "OTHER-1" });
    let answer = read(&client, Read::ListDeviceOwners, &device).await;
    assert_eq!(answer.reason.as_deref(), Some("DEVICE_NOT_FOUND"));
}

async fn pages(client: Client, other: Client) {
    let of_john = json!({ "customerEmail": JOHN });
    let devices = ("devices", "identifier");
    for (size, count) in [(1, 2), (2, 1), (3, 1), (5_000, 1)] {
        let (all, pages) = all_pages(&client, Read::ListOwnerDevices, &of_john, size, devices).await;
        assert_eq!(
            (all, pages),
            (vec!["SN-001".to_owned(), "SN-002".to_owned()], count),
            "{size}"
        );
    }
    let of_device = json!({ "deviceIdentifier": "SN-002" });
    let (mut owners, pages) = all_pages(&client, Read::ListDeviceOwners, &of_device, 1, ("owners", "email")).await;
    owners.sort();
    assert_eq!((owners, pages), (vec![JANE.to_owned(), JOHN.to_owned()], 2));

    // A token belongs to its query.
    let first = json!({ "customerEmail": JOHN, "pageSize": 1 });
    let token = read(&client, Read::ListOwnerDevices, &first).await.ok().body["nextPageToken"].clone();
    assert!(!token.as_str().expect("text").is_empty());
    let with_token = |mut request: Value, token: &Value| {
        request["pageToken"] = token.clone();
        request
    };
    let damaged = json!(format!("{}x", token.as_str().expect("text")));
    for (client, call, request) in [
        (&other, Read::ListOwnerDevices, with_token(of_john.clone(), &token)),
        (
            &client,
            Read::ListOwnerDevices,
            with_token(json!({ "customerEmail": JANE }), &token),
        ),
        (&client, Read::ListDeviceOwners, with_token(of_device, &token)),
        (&client, Read::ListOwnerDevices, with_token(of_john.clone(), &damaged)),
        (
            &client,
            Read::ListOwnerDevices,
            with_token(of_john.clone(), &json!(".")),
        ),
    ] {
        let answer = read(client, call, &request).await.in_json_names();
        assert_eq!(answer.reason.as_deref(), Some("INVALID_PAGE_TOKEN"), "{request}");
        assert_eq!(
            answer.error,
            "pageToken is invalid: send the nextPageToken of the same query, unchanged"
        );
        assert!(answer.http.is_none_or(|(status, _)| status == 400));
    }
    // The size of a page is not part of the query.
    let mut second = with_token(of_john, &token);
    second["pageSize"] = json!(7);
    let answer = read(&client, Read::ListOwnerDevices, &second).await.ok();
    assert_eq!(texts(&answer, "devices", "identifier"), ["SN-002"]);
    assert!(!token.to_string().contains(JOHN), "no address in a token");
}

async fn query_strings(database: &TestDatabase, api: Api) {
    let World { key, .. } = World::new(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    client.create(JOHN, &["a b+c%25é"]).await.ok();
    let path = "/api/ext-v1/deviceAssignment/owners";
    for query in [
        "deviceIdentifier=a+b%2Bc%2525%C3%A9",
        "deviceIdentifier=a%20b%2bc%2525%c3%a9&pageSize=1",
        "&pageToken=&deviceIdentifier=%20a+b%2Bc%2525%C3%A9%0A&minRevision=3&",
    ] {
        let answer = client
            .send(client.request(Method::GET, &format!("{path}?{query}")))
            .await;
        assert_eq!(texts(&answer.ok(), "owners", "email"), [JOHN], "{query}");
    }
    let parameters = "the parameters are deviceIdentifier, pageSize, pageToken, minRevision";
    for (query, error, field) in [
        (
            "deviceIdentifier=SN-001&deviceIdentifier=SN-001",
            "deviceIdentifier is repeated; send it once",
            "deviceIdentifier",
        ),
        (
            "deviceidentifier=SN-001",
            &format!("deviceidentifier is not a parameter of this request; {parameters}"),
            "deviceidentifier",
        ),
        (
            "deviceIdentifier=SN-001&pageSize=x",
            "pageSize must be an integer",
            "pageSize",
        ),
        (
            "deviceIdentifier=SN-001&pageSize=-1",
            "pageSize must not be negative",
            "pageSize",
        ),
        (
            "deviceIdentifier=SN%00",
            "deviceIdentifier must not contain control characters",
            "deviceIdentifier",
        ),
        ("", "deviceIdentifier is required", "deviceIdentifier"),
    ] {
        let answer = client
            .send(client.request(Method::GET, &format!("{path}?{query}")))
            .await;
        assert_eq!(
            (answer.code.as_str(), answer.error.as_str()),
            ("INVALID_ARGUMENT", error),
            "{query}"
        );
        assert_eq!(answer.reason.as_deref(), Some("INVALID_REQUEST"));
        assert_eq!(answer.violations[0].0, field);
    }
    // Addresses stay out of URLs.
    let by_email = "/api/ext-v1/deviceAssignment/devices?customerEmail=john.doe@example.com";
    let answer = client.send(client.request(Method::GET, by_email)).await;
    assert_eq!(answer.violations[0].0, "customerEmail");
    for query in ["", "?customerId=", "?pageSize=10"] {
        let path = format!("/api/ext-v1/deviceAssignment/devices{query}");
        let answer = client.send(client.request(Method::GET, &path)).await;
        assert_eq!(answer.error, "customerId is required", "{query}");
        assert_eq!(answer.violations[0].0, "customerId", "{query}");
    }
    for method in [Method::POST, Method::HEAD, Method::PUT] {
        let answer = client.request(method, path).send().await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["allow"]),
            (405, &"GET".parse().expect("a value"))
        );
    }
    // The key comes first.
    let answer = client.with_key(None);
    let answer = answer.send(answer.request(Method::GET, &format!("{path}?x=1"))).await;
    assert_eq!(answer.code, "UNAUTHENTICATED");
    server.stop().await;
}

/// While devices come and go, every device that was there all the time is listed once.
async fn stable_pages(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let name = |number: usize| format!("SN-{number:03}");
    let names: Vec<String> = (0..60).map(name).collect();
    let (stay, go): (Vec<&str>, Vec<&str>) = names
        .iter()
        .map(String::as_str)
        .partition(|name| name.ends_with(['0', '3', '7']));
    client.create(JOHN, &stay).await.ok();
    client.create(JOHN, &go).await.ok();
    let mut request = json!({ "customerEmail": JOHN, "pageSize": 7 });
    let mut listed = Vec::new();
    let mut first_revision = None;
    for round in 0.. {
        let answer = read(&client, Read::ListOwnerDevices, &request).await.ok();
        listed.extend(texts(&answer, "devices", "identifier"));
        let revision: u64 = answer.body["revision"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a number");
        assert!(revision >= *first_revision.get_or_insert(revision));
        let token = answer.body["nextPageToken"].clone();
        if token == "" {
            break;
        }
        request["pageToken"] = token;
        if round % 2 == 0 {
            client.unassign(JOHN, &go).await.ok();
        } else {
            client.assign(JOHN, &go).await.ok();
        }
    }
    assert!(
        listed.is_sorted_by(|one, next| one < next),
        "in order, and none twice: {listed:?}"
    );
    for device in stay {
        assert!(
            listed.iter().any(|listed| listed == device),
            "{device} is missing: {listed:?}"
        );
    }
    server.stop().await;
}

/// The devices of a customer who has too many to sort them for each page, among those of others.
async fn large_customer(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    let names: Vec<String> = (0..30_000).map(|number| format!("SN-{number:05}")).collect();
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (number, name) in names.iter().enumerate() {
        // A gap that is longer than a scan.
        let is_own = number % 2 == 0 && !(6_000..18_000).contains(&number) || number == 29_999;
        if is_own {
            own.push(name.as_str())
        } else {
            others.push(name.as_str())
        }
    }
    for part in others.chunks(10_000) {
        client.create(JANE, part).await.ok();
    }
    for (size, expected) in [(9_000, 9_000), (9_001, 9_001)] {
        client.create(JOHN, &own[..size]).await.ok();
        let of_john = json!({ "customerEmail": JOHN });
        let (all, pages) = all_pages(
            &client,
            Read::ListOwnerDevices,
            &of_john,
            1_000,
            ("devices", "identifier"),
        )
        .await;
        assert_eq!(all, own[..expected]);
        println!("{size} devices of 30,000 in {pages} pages");
    }
    let more: Vec<String> = (0..2_000).map(|number| format!("ZZ-{number:05}")).collect();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    client.create(JOHN, &more).await.ok();
    let of_john = json!({ "customerEmail": JOHN });
    let (all, pages) = all_pages(
        &client,
        Read::ListOwnerDevices,
        &of_john,
        1_000,
        ("devices", "identifier"),
    )
    .await;
    assert_eq!(all, [own, more].concat());
    // Short pages where the customer has few devices.
    assert!((12..=20).contains(&pages), "{pages}");
    server.stop().await;
}
