//! Organizations and API keys, as operators manage them.

use std::process::Output;

use serde_json::Value;

use crate::support::{
    Face, Program, Suite, TestDatabase,
    program::{command, refused, run, sentence, stderr, stdout, talk},
};

const UNKNOWN_KEY: &str = "key_00000000000000000000000000";

pub fn register(suite: &mut Suite) {
    suite.on_each("operate::organizations_are_created_and_listed", organizations);
    suite.on_each("operate::a_name_is_taken_once", taken_name);
    suite.on_each("operate::bad_names_are_a_mistake_of_usage", bad_names);
    suite.on_each("operate::a_created_key_stands_alone_on_stdout", created_key);
    suite.on_each("operate::keys_are_listed_without_themselves", listed_keys);
    suite.on_each("operate::revoking_is_for_good", revoked_key);
    suite.on_each("operate::unknown_organizations_are_pointed_out", unknown_organization);
    suite.on_each("operate::keys_work_against_a_running_server", live_key);
}

async fn on(database: &TestDatabase, arguments: &[&str]) -> Output {
    run(&[arguments, &["--database-url", database.url()]].concat()).await
}

/// Runs the program, which must succeed, and returns what it printed.
#[track_caller]
fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    stdout(output)
}

async fn create_organization(database: &TestDatabase, name: &str) {
    printed(&on(database, &["organization", "create", name]).await);
}

/// Creates a key, and returns its id and itself.
async fn create_key(database: &TestDatabase, options: &[&str]) -> (String, String) {
    let create = ["api-key", "create", "--json", "--organization", "acme"];
    let output = on(database, &[create.as_slice(), options].concat()).await;
    let value: Value = serde_json::from_str(&printed(&output)).expect("JSON");
    (text(&value["id"]), text(&value["key"]))
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// One JSON object a line.
fn objects(printed: &str) -> Vec<Value> {
    let lines = printed.lines();
    lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

async fn organizations(database: &'static TestDatabase) {
    assert_eq!(printed(&on(database, &["organization", "list"]).await), "");
    let output = on(database, &["organization", "create", "  globex "]).await;
    let created = printed(&output);
    assert_eq!(talk(&output), "");
    let output = on(database, &["organization", "create", "acme", "--json"]).await;
    let as_json = objects(&printed(&output));
    assert_eq!(as_json[0]["name"], "acme");

    // By name; the same row whoever prints it.
    let list = objects(&printed(&on(database, &["organization", "list", "--json"]).await));
    assert_eq!(list[..1], as_json[..]);
    assert_eq!(list.len(), 2);
    let row = |value: &Value| {
        format!(
            "{}\t{}\t{}\n",
            text(&value["id"]),
            text(&value["name"]),
            text(&value["createdAt"])
        )
    };
    assert_eq!(row(&list[1]), created);
    let rows = printed(&on(database, &["organization", "list"]).await);
    assert_eq!(rows, list.iter().map(row).collect::<String>());
    for value in &list {
        let id = text(&value["id"]);
        assert!(id.starts_with("org_") && id.len() == 30, "{id}");
        assert!(text(&value["createdAt"]).ends_with('Z'), "{value}");
    }
}

async fn taken_name(database: &'static TestDatabase) {
    create_organization(database, "acme").await;
    let said = sentence(&on(database, &["organization", "create", " acme "]).await, 1);
    assert!(said.contains("There is an organization named acme already"), "{said}");
    assert_eq!(database.count("organization").await, 1);
}

async fn bad_names(database: &'static TestDatabase) {
    let too_long = "ä".repeat(101);
    for (name, problem) in [
        ("", "must not be empty"),
        (" \t ", "must not be empty"),
        (too_long.as_str(), "must be at most 100 characters"),
        ("a\nb", "must not contain control characters"),
    ] {
        let said = refused(&on(database, &["organization", "create", name]).await, 2);
        assert!(said.contains(problem), "{said}");
        let label = ["api-key", "create", "--organization", "acme", "--label", name];
        let said = refused(&on(database, &label).await, 2);
        assert!(said.contains(problem), "{said}");
    }
    assert_eq!(database.count("organization").await, 0);
    create_organization(database, &"ä".repeat(100)).await;
}

async fn created_key(database: &'static TestDatabase) {
    create_organization(database, "acme").await;
    let create = [
        "api-key",
        "create",
        "--organization",
        "acme",
        "--database-url",
        database.url(),
    ];
    let output = command(&create).env("RUST_LOG", "trace").output().await;
    let output = output.expect("the program runs");
    let printed = printed(&output);
    let key = printed.strip_suffix('\n').expect("a line");
    assert_eq!(key.len(), 53, "{key}");
    assert!(key.starts_with("tlm_"), "{key}");
    assert!(
        key.chars().all(|char| char.is_ascii_alphanumeric() || char == '_'),
        "{key}"
    );
    let said = stderr(&output);
    assert!(said.contains("this key is shown only now"), "{said}");
    assert!(!said.contains(key), "{said}");

    let (_, another) = create_key(database, &[]).await;
    assert_ne!(key, another);
    let hex = if database.backend() == sea_orm::DbBackend::Sqlite {
        "hex(digest)"
    } else {
        "encode(digest, 'hex')"
    };
    let digests = format!("SELECT count(*) FROM api_key WHERE length({hex}) = 64");
    assert_eq!(database.number(&digests).await, 2, "what is stored is a SHA-256");
}

async fn listed_keys(database: &'static TestDatabase) {
    create_organization(database, "acme").await;
    create_organization(database, "globex").await;
    let list = ["api-key", "list", "--organization", "acme"];
    assert_eq!(printed(&on(database, &list).await), "");
    let (first, key) = create_key(database, &["--label", "gateway in Graz", "--expires-in", "90d"]).await;
    let (second, _) = create_key(database, &[]).await;
    printed(&on(database, &["api-key", "revoke", &second]).await);
    printed(&on(database, &["api-key", "create", "--organization", "globex"]).await);

    let as_json = printed(&on(database, &[list.as_slice(), &["--json"]].concat()).await);
    let rows = printed(&on(database, &list).await);
    for printed in [&as_json, &rows] {
        assert!(!printed.contains(&key) && !printed.contains("tlm_"), "{printed}");
    }
    let keys = objects(&as_json);
    assert_eq!(
        keys.len(),
        2,
        "those of the other organization are not listed: {as_json}"
    );
    assert_eq!(
        (&keys[0]["id"], &keys[1]["id"]),
        (&first.as_str().into(), &second.as_str().into())
    );
    assert_eq!(
        (&keys[0]["label"], &keys[1]["label"]),
        (&"gateway in Graz".into(), &"unnamed".into())
    );
    assert_eq!(
        (&keys[0]["revokedAt"], &keys[1]["expiresAt"]),
        (&Value::Null, &Value::Null)
    );
    let time = |value: &Value| {
        let format = time::format_description::well_known::Rfc3339;
        time::OffsetDateTime::parse(&text(value), &format).expect("a time")
    };
    let lifetime = time(&keys[0]["expiresAt"]) - time(&keys[0]["createdAt"]);
    // Both are printed to the second.
    assert!(
        (lifetime - time::Duration::days(90)).abs() <= time::Duration::SECOND,
        "{lifetime}"
    );
    let lines: Vec<&str> = rows.lines().collect();
    let row = |key: &Value, state: String| {
        let (id, label, created_at) = (text(&key["id"]), text(&key["label"]), text(&key["createdAt"]));
        format!("{id}\t{label}\t{created_at}\t{state}\tnever used")
    };
    assert_eq!(
        lines[0],
        row(&keys[0], format!("expires {}", text(&keys[0]["expiresAt"])))
    );
    assert_eq!(
        lines[1],
        row(&keys[1], format!("revoked {}", text(&keys[1]["revokedAt"])))
    );
}

async fn revoked_key(database: &'static TestDatabase) {
    create_organization(database, "acme").await;
    let (id, key) = create_key(database, &[]).await;
    let revoked_at = async || {
        let list = ["api-key", "list", "--json", "--organization", "acme"];
        objects(&printed(&on(database, &list).await))[0]["revokedAt"].clone()
    };
    assert_eq!(revoked_at().await, Value::Null);
    let mut times = Vec::new();
    for _ in 0..2 {
        let output = on(database, &["api-key", "revoke", &id]).await;
        assert_eq!(printed(&output), "", "nothing to read by a program");
        assert_eq!(talk(&output), format!("{id} is revoked\n"));
        times.push(revoked_at().await);
    }
    assert!(times[0].is_string());
    assert_eq!(times[0], times[1], "the first time counts");

    for id in ["", "key_", "1", &id.replace("key_", "dev_"), &id[..29], &key] {
        let said = refused(&on(database, &["api-key", "revoke", id]).await, 2);
        assert!(!said.contains(&key), "a key in the wrong place is not repeated: {said}");
    }
    let said = sentence(&on(database, &["api-key", "revoke", UNKNOWN_KEY]).await, 1);
    assert!(said.contains(UNKNOWN_KEY), "{said}");
}

async fn unknown_organization(database: &'static TestDatabase) {
    for subcommand in [
        ["api-key", "create"].as_slice(),
        &["api-key", "list"],
        &["api-key", "create", "--json"],
    ] {
        let arguments = [subcommand, &["--organization", "acme"]].concat();
        let said = sentence(&on(database, &arguments).await, 1);
        assert!(said.contains("There is no organization named \"acme\""), "{said}");
        assert!(said.contains("`device-assignment organization list`"), "{said}");
    }
    let soon = ["api-key", "create", "--organization", "acme", "--expires-in", "soon"];
    refused(&on(database, &soon).await, 2);
    assert_eq!(database.count("api_key").await, 0);
}

/// Operators and callers meet on one database, with no restart between them.
async fn live_key(database: &'static TestDatabase) {
    let program = Program::serve(database.url()).await;
    create_organization(database, "acme").await;
    let (_, key) = create_key(database, &["--expires-in", "90d"]).await;
    let (_, expired) = create_key(database, &["--expires-in", "0s"]).await;
    for face in [Face::Grpc, Face::Rest] {
        let client = program.client(face, &key);
        client.create("a@example.com", &["SN-1"]).await.ok();
        let answer = client.with_key(Some(&expired)).create("a@example.com", &["SN-1"]).await;
        assert_eq!(
            (answer.code.as_str(), answer.error.as_str()),
            ("UNAUTHENTICATED", "Invalid API key")
        );
    }
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
}
