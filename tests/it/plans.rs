//! Calls look rows up by key: the plans of their statements scan no big table and sort no big table, whatever the database knows of
//! its tables. A plan that is made while a table is empty is kept, and must still be good when the table is full.
//!
//! The service runs with a log that has its statements, and on PostgreSQL the plans of those that it runs (`auto_explain`).

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Api, Kind, Program, Suite, TestDatabase, TestServer, devices, organization, postgres::PostgresServer,
    program::command,
};

/// The tables that grow.
const BIG: [&str; 5] = [
    "customer",
    "device",
    "device_assignment",
    "change_log",
    "idempotency_key",
];
/// How many devices and customers there are in the end.
const ROWS: usize = 3_000;
/// The most rows of a table that may be sorted for a page of 10 entries. Sets that a statement has found are not counted: it bounds
/// them.
const SORTED: f64 = 500.0;

const JOHN: &str = "john@example.com";

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "plans::no_big_table_is_scanned", |database| async move {
        each_state(database).await;
    });
    suite.with_postgres("plans::no_big_table_is_scanned_or_sorted::postgres", on_postgres);
}

/// What a program logs whose statements and plans are looked at.
pub const LOG: &str = "info,sqlx::query=debug,sqlx::postgres::notice=info";

/// Settings of PostgreSQL, so that it sends the plan of each statement to the program that runs it.
pub const EXPLAINED: [&str; 6] = [
    "session_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=0",
    "auto_explain.log_analyze=on",
    "auto_explain.log_timing=off",
    "auto_explain.log_format=json",
    "auto_explain.log_level=notice",
];

async fn on_postgres() {
    let settings = [&["fsync=off", "autovacuum=off"], EXPLAINED.as_slice()].concat();
    let server = PostgresServer::start_durable(&settings).expect("a server");
    let database = TestDatabase::on(&server).await;
    each_state(&database).await;
    server.stop();
}

/// Checks the plans on empty and full tables, each before and after the database has looked at them.
async fn each_state(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    check(database, &key, "empty").await;
    database.rows("ANALYZE").await;
    check(database, &key, "empty and analyzed").await;
    let identifiers = identifiers();
    let identifiers: Vec<_> = identifiers.iter().map(String::as_str).collect();
    devices(database, "acme", &identifiers).await;
    own(database, &key).await;
    check(database, &key, "full, and analyzed when it was empty").await;
    database.rows("ANALYZE").await;
    check(database, &key, "full and analyzed").await;
}

/// The devices that the calls name, and more.
pub fn identifiers() -> Vec<String> {
    (0..ROWS).map(|number| format!("SN-{number:04}")).collect()
}

/// Gives device SN-0000 thousands of owners, and John two devices. The [`identifiers`] exist.
pub async fn own(database: &TestDatabase, key: &str) {
    let identifiers = identifiers();
    let identifiers: Vec<_> = identifiers.iter().map(String::as_str).collect();
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, key);
    client.assign(JOHN, &["SN-0001", "SN-0002"]).await.ok();
    client.assign("fleet@example.com", &identifiers[..ROWS / 2]).await.ok();
    let emails: Vec<_> = (0..ROWS).map(|number| format!("c{number:04}@example.com")).collect();
    for emails in emails.chunks(1_000) {
        let request = json!({ "deviceIdentifier": "SN-0000", "customerEmails": emails });
        let path = "/api/ext-v1/deviceAssignment/assignDeviceToOwners";
        let answer = rest(
            &format!("http://{}", server.rest),
            key,
            &(Method::POST, path.into(), request),
        )
        .await;
        assert_eq!(answer["success"], true, "{answer}");
    }
    server.stop().await;
}

type Call = (Method, String, Value);

/// Every call that reads, and previews of every call that writes, which read the same as the call.
fn calls() -> Vec<Call> {
    let get = |path: &str| (Method::GET, format!("/api/ext-v1/{path}"), Value::Null);
    let post = |path: &str, body: Value| (Method::POST, format!("/api/ext-v1/{path}"), body);
    let preview = |path: &str, mut body: Value| {
        body["validateOnly"] = true.into();
        post(path, body)
    };
    let two = json!(["SN-0001", "SN-0002"]);
    let john = json!({ "customerEmail": JOHN, "deviceIdentifiers": two });
    vec![
        get("devices?pageSize=10"),
        get("devices?pageSize=10&prefix=SN-1&type=imported"),
        get("devices?pageSize=10&unassigned=true"),
        get("device?identifier=SN-0000"),
        get("deviceAssignment/owners?deviceIdentifier=SN-0000&pageSize=10"),
        get("deviceAssignment/devices?customerId=cust_01m835zmv6e3ts9whpry4tgqhh&pageSize=10"),
        post(
            "deviceAssignment/listOwnerDevices",
            json!({ "customerEmail": JOHN, "pageSize": 10 }),
        ),
        post(
            "deviceAssignment/batchGetDeviceOwners",
            json!({ "deviceIdentifiers": ["SN-0000", "SN-0001"] }),
        ),
        post("customer/queryCustomer", json!({ "email": JOHN })),
        get("customer/getCustomer/cust_01m835zmv6e3ts9whpry4tgqhh"),
        get("customers?pageSize=10"),
        post(
            "customer/listCustomers",
            json!({ "emailPrefix": "john", "pageSize": 10 }),
        ),
        get("changes?after=0&pageSize=10&includeNames=true"),
        preview("deviceAssignment/assignDevicesToOwner", john.clone()),
        preview("deviceAssignment/unassignDevicesFromOwner", john.clone()),
        preview("deviceAssignment/transferDevicesToOwner", john),
        preview(
            "deviceAssignment/assignDeviceToOwners",
            json!({ "deviceIdentifier": "SN-0000", "customerEmails": [JOHN] }),
        ),
        preview(
            "deviceAssignment/unassignDeviceFromOwner",
            json!({ "customerEmail": JOHN, "deviceIdentifier": "SN-0001" }),
        ),
        preview("device", json!({ "identifier": "SN-0001", "type": "sensor" })),
        preview("device/bulk-metadata", json!({ "devices": { "SN-0001": {} } })),
        preview("device/deleteDevice", json!({ "identifier": "SN-0001" })),
        preview("customer/createOrUpdateCustomer", json!({ "email": JOHN })),
        preview("customer/deleteCustomer", json!({ "email": JOHN })),
    ]
}

async fn rest(url: &str, key: &str, (method, path, body): &Call) -> Value {
    let request = reqwest::Client::new()
        .request(method.clone(), format!("{url}{path}"))
        .header("x-api-key", key);
    let request = if body.is_null() { request } else { request.json(body) };
    let response = request.send().await.expect("a response");
    // Devices and customers are missing while the tables are empty; later the customer exists that is created.
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("JSON");
    assert!([200, 400, 404, 409].contains(&status), "{path}: {body}");
    let reason = body["reason"].as_str().unwrap_or_default();
    assert!(
        !["INVALID_REQUEST", "INVALID_JSON", "NOT_FOUND"].contains(&reason),
        "{path}: {body}"
    );
    body
}

/// Makes every call, on a service whose statements are not planned yet, and checks the plans.
pub async fn check(database: &TestDatabase, key: &str, state: &str) {
    let mut serve = command(&["serve", "--database-url", database.url()]);
    serve.env("RUST_LOG", LOG);
    let program = Program::spawn(serve).await;
    let url = format!("http://{}", program.rest);
    for mut call in calls() {
        let answer = rest(&url, key, &call).await;
        // The next page begins in the middle of an index.
        if let Some(token) = answer["nextPageToken"].as_str().filter(|token| !token.is_empty())
            && call.0 == Method::GET
        {
            call.1.push_str(&format!("&pageToken={token}"));
            rest(&url, key, &call).await;
        }
    }
    let (_, log) = program.terminate().await;
    let log: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let wrong = match database.kind {
        Kind::Sqlite => scans_of_sqlite(database, &log).await,
        Kind::Postgres => faults_of_postgres(&log),
    };
    assert!(wrong.is_empty(), "{state}: {}", wrong.join("\n\n"));
}

/// The statements that read a big table.
fn statements(log: &[Value]) -> BTreeSet<String> {
    let queries = log.iter().filter(|line| line["target"] == "sqlx::query");
    let texts = queries.map(|line| match line["db.statement"].as_str() {
        Some("") | None => line["summary"].as_str().unwrap_or_default().to_owned(),
        Some(text) => text.trim().to_owned(),
    });
    texts.filter(|text| reads_a_big_table(text)).collect()
}

fn reads_a_big_table(sql: &str) -> bool {
    (sql.starts_with("SELECT") || sql.starts_with("WITH")) && !names_of_big_tables(sql).is_empty()
}

/// What a statement calls its big tables.
fn names_of_big_tables(sql: &str) -> BTreeSet<String> {
    let sql = sql.replace(['"', '(', ')', ','], " ");
    let words: Vec<_> = sql.split_whitespace().collect();
    let is = |word: Option<&&str>, expected: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(expected));
    let mut names = BTreeSet::new();
    for (at, pair) in words.windows(2).enumerate() {
        let [before, table] = pair else { continue };
        if !["FROM", "JOIN"].iter().any(|word| is(Some(before), word)) || !BIG.contains(table) {
            continue;
        }
        let alias = words.get(at + 3).filter(|_| is(words.get(at + 2), "AS"));
        names.insert((*alias.unwrap_or(table)).to_owned());
    }
    names
}

async fn scans_of_sqlite(database: &TestDatabase, log: &[Value]) -> Vec<String> {
    let statements = statements(log);
    assert!(statements.len() >= 18, "{statements:#?}");
    let mut wrong = Vec::new();
    for sql in statements {
        let names = names_of_big_tables(&sql);
        for row in database.rows(&format!("EXPLAIN QUERY PLAN {sql}")).await {
            let step: String = row.try_get("", "detail").expect("a step");
            let scanned = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
            if scanned.is_some_and(|scanned| names.contains(scanned)) {
                wrong.push(format!("{step}, in {sql}"));
            }
        }
    }
    wrong
}

/// The plans of the statements that read a big table, in the order of the log of a program.
pub fn plans(log: &[Value]) -> impl Iterator<Item = Value> {
    let notices = log.iter().filter(|line| line["target"] == "sqlx::postgres::notice");
    let messages = notices.filter_map(|line| line["message"].as_str());
    let plans = messages.filter_map(|message| message.split_once("plan:\n"));
    let plans = plans.map(|(_, plan)| serde_json::from_str::<Value>(plan).expect("JSON"));
    plans.filter(|plan| reads_a_big_table(text_of(plan)))
}

fn text_of(plan: &Value) -> &str {
    plan["Query Text"].as_str().unwrap_or_default()
}

fn faults_of_postgres(log: &[Value]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut wrong = BTreeSet::new();
    for plan in plans(log) {
        let text = text_of(&plan);
        seen.insert(text.to_owned());
        let mut faults = Vec::new();
        // It takes longer than the statement.
        if plan.get("JIT").is_some() {
            faults.push("compiled".to_owned());
        }
        walk(&plan["Plan"], &mut faults);
        wrong.extend(faults.into_iter().map(|fault| format!("{fault}, in {text}")));
    }
    assert!(seen.len() >= 18, "{seen:#?}");
    wrong.into_iter().collect()
}

/// Whether the rows of a node are those of a big table, and not those of a set that the statement has found before.
fn comes_from_a_table(node: &Value) -> bool {
    let inputs = node["Plans"].as_array().into_iter().flatten();
    let mut inputs = inputs.filter(|inner| !["InitPlan", "SubPlan"].contains(&relationship(inner)));
    BIG.iter().any(|table| node["Relation Name"] == *table) || inputs.any(comes_from_a_table)
}

fn relationship(node: &Value) -> &str {
    node["Parent Relationship"].as_str().unwrap_or_default()
}

/// Collects the nodes of a plan that read or sort a big table as a whole.
fn walk(node: &Value, faults: &mut Vec<String>) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let table = node["Relation Name"].as_str().unwrap_or_default();
    let is_by_key = node["Index Cond"].is_string() || !kind.starts_with("Index");
    if BIG.contains(&table) && (kind == "Seq Scan" || !is_by_key) {
        faults.push(format!("{kind} of {table}"));
    }
    // The rows that a sort receives: it passes on only those that are asked for.
    let received = node["Plans"][0]["Actual Rows"].as_f64().unwrap_or_default();
    if kind.contains("Sort") && received > SORTED && comes_from_a_table(node) {
        faults.push(format!("{kind} of {received} rows"));
    }
    for inner in node["Plans"].as_array().into_iter().flatten() {
        walk(inner, faults);
    }
}
