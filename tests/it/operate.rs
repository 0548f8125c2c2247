//! Organizations and API keys, as operators manage them.

use std::process::Output;

use sea_orm::ConnectionTrait;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Api, INVALID_KEY, Kind, Program, Suite, TestDatabase,
    program::{command, finish, refused, run, sentence, shown as shown_on_terminal, stderr, stdout, talk},
};

const UNKNOWN_KEY: &str = "key_00000000000000000000000000";

pub fn register(suite: &mut Suite) {
    suite.on_each("operate::organizations_are_created_and_listed", organizations);
    suite.on_each("operate::a_name_is_taken_once", taken_name);
    suite.on_each("operate::bad_names_are_a_mistake_of_usage", bad_names);
    suite.on_each("operate::a_created_key_stands_alone_on_stdout", created_key);
    suite.on_each("operate::keys_are_listed_without_themselves", listed_keys);
    suite.on_each("operate::older_keys_show_no_characters", older_key);
    suite.on_each("operate::a_terminal_gets_aligned_columns", terminal);
    suite.on_each("operate::revoking_is_for_good", revoked_key);
    suite.test("operate::only_what_creates_creates_a_database", no_database);
    let name = |kind| format!("operate::commands_that_only_read_change_no_schema::{kind}");
    suite.test(&name("sqlite"), || old_schema(Kind::Sqlite));
    suite.with_postgres(&name("postgres"), || old_schema(Kind::Postgres));
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

/// The id of a new key, which is not on stdout: there is the key alone.
#[track_caller]
fn printed_id(said: &str) -> String {
    let mut lines = said.lines().filter_map(|line| line.strip_prefix("created "));
    let id = lines.find_map(|line| line.strip_suffix("; the key is shown only now:"));
    id.unwrap_or_else(|| panic!("{said}")).to_owned()
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
    let data = printed(&output);
    let key = data.strip_suffix('\n').expect("a line");
    assert_eq!(key.len(), 53, "{key}");
    assert!(key.starts_with("tlm_"), "{key}");
    assert!(
        key.chars().all(|char| char.is_ascii_alphanumeric() || char == '_'),
        "{key}"
    );
    let said = stderr(&output);
    let id = printed_id(&said);
    assert!(!said.contains(key), "{said}");
    let list = printed(&on(database, &["api-key", "list", "--organization", "acme"]).await);
    assert!(list.starts_with(&format!("{id}\t")), "{list}");

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
    let (second, second_key) = create_key(database, &["--scope", "read"]).await;
    printed(&on(database, &["api-key", "revoke", &second]).await);
    printed(&on(database, &["api-key", "create", "--organization", "globex"]).await);

    let as_json = printed(&on(database, &[list.as_slice(), &["--json"]].concat()).await);
    let rows = printed(&on(database, &list).await);
    for printed in [&as_json, &rows] {
        assert!(!printed.contains(&key), "{printed}");
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
    assert_eq!(
        (&keys[0]["scope"], &keys[1]["scope"]),
        (&"write".into(), &"read".into())
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
        let (start, end) = (text(&key["keyStart"]), text(&key["keyEnd"]));
        format!(
            "{id}\t{label}\t{created_at}\t{state}\tnever used\t{start}…{end}\t{}",
            text(&key["scope"])
        )
    };
    for (shown, key) in keys.iter().zip([&key, &second_key]) {
        assert_eq!(shown["keyStart"], key[..8]);
        assert_eq!(shown["keyEnd"], key[key.len() - 4..]);
    }
    assert_eq!(
        lines[0],
        row(&keys[0], format!("expires {}", text(&keys[0]["expiresAt"])))
    );
    assert_eq!(
        lines[1],
        row(&keys[1], format!("revoked {}", text(&keys[1]["revokedAt"])))
    );
}

/// Keys from before the characters were stored.
async fn older_key(database: &'static TestDatabase) {
    create_organization(database, "acme").await;
    create_key(database, &[]).await;
    let connection = database.connect().await;
    let forget = "UPDATE api_key SET key_start = NULL, key_end = NULL";
    connection.execute_unprepared(forget).await.expect("updated");
    connection.close().await.expect("closed");
    let list = ["api-key", "list", "--organization", "acme"];
    let rows = printed(&on(database, &list).await);
    assert!(rows.ends_with("\tnever used\t-\twrite\n"), "{rows}");
    let keys = objects(&printed(&on(database, &[list.as_slice(), &["--json"]].concat()).await));
    assert_eq!((&keys[0]["keyStart"], &keys[0]["keyEnd"]), (&Value::Null, &Value::Null));
}

/// What a terminal shows of what the program prints.
async fn shown(database: &TestDatabase, arguments: &[&str]) -> String {
    let shown = shown_on_terminal(command(&[arguments, &["--database-url", database.url()]].concat())).await;
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    shown
}

async fn terminal(database: &'static TestDatabase) {
    let list = ["api-key", "list", "--organization", "acme"];
    create_organization(database, "acme").await;
    assert_eq!(shown(database, &list).await, "", "no headings without rows");
    create_organization(database, "東京").await;
    let (id, key) = create_key(database, &["--label", "gateway", "--expires-in", "90d"]).await;
    let (revoked, revoked_key) = create_key(database, &["--expires-in", "90d", "--scope", "read"]).await;
    printed(&on(database, &["api-key", "revoke", &revoked]).await);
    let (expired, expired_key) = create_key(database, &["--expires-in", "0s"]).await;
    let (valid, valid_key) = create_key(database, &[]).await;

    let hint = |key: &str| format!("{}…{}", &key[..8], &key[key.len() - 4..]);
    let expected = format!(
        "ID                              KEY            SCOPE  EXPIRES  USED   LABEL\n\
         {id}  {}  write  in 89d   never  gateway\n\
         {revoked}  {}  read   revoked  never  unnamed\n\
         {expired}  {}  write  expired  never  unnamed\n\
         {valid}  {}  write  never    never  unnamed\n",
        hint(&key),
        hint(&revoked_key),
        hint(&expired_key),
        hint(&valid_key),
    );
    assert_eq!(shown(database, &list).await, expected);

    let rows = objects(&printed(&on(database, &["organization", "list", "--json"]).await));
    let [acme, tokyo] = rows.as_slice() else {
        panic!("{rows:?}")
    };
    let cell = |row: &Value, member: &str| text(&row[member]);
    let expected = format!(
        "ID                              NAME  CREATED AT\n\
         {}  acme  {}\n\
         {}  東京  {}\n",
        cell(acme, "id"),
        cell(acme, "createdAt"),
        cell(tokyo, "id"),
        cell(tokyo, "createdAt"),
    );
    assert_eq!(shown(database, &["organization", "list"]).await, expected);
}

/// A command that only reads says what to do, and leaves the schema to those who write.
async fn old_schema(kind: Kind) {
    let database = TestDatabase::empty(kind).await;
    database.open().await.close().await;
    let identifier = ["device", "show", "SN-1", "--organization", "acme"];
    let email = ["customer", "show", "ann@example.com", "--organization", "acme"];
    for arguments in [
        ["organization", "list"].as_slice(),
        &["api-key", "list", "--organization", "acme"],
        &identifier,
        &email,
        &["verify"],
    ] {
        let said = sentence(&on(&database, arguments).await, 1);
        assert!(
            said.starts_with("device-assignment: the schema of the database is behind by ")
                && said.contains("; run `device-assignment migrate`"),
            "{said}"
        );
        let status = printed(&on(&database, &["migrate", "--status"]).await);
        assert!(status.lines().all(|line| line.starts_with("pending\t")), "{status}");
    }
    database.remove().await;
}

/// A typing error in the URL of a database must not look like an empty database.
async fn no_database() {
    let folder = TempDir::new().expect("a folder");
    let identifier = ["device", "show", "SN-1", "--organization", "acme"];
    let email = ["customer", "show", "ann@example.com", "--organization", "acme"];
    let list = folder.path().join("devices.csv");
    std::fs::write(&list, "identifier,type\n").expect("a file");
    let import = ["device", "import", "--organization", "acme", "devices.csv"];
    for arguments in [
        ["organization", "list"].as_slice(),
        &["api-key", "list", "--organization", "acme"],
        &["api-key", "create", "--organization", "acme"],
        &["api-key", "revoke", UNKNOWN_KEY],
        &identifier,
        &email,
        &import,
        &["migrate", "--status"],
    ] {
        let mut command = command(arguments);
        command.current_dir(folder.path());
        let said = sentence(&finish(command).await, 1);
        assert!(
            said.starts_with(
                "device-assignment: no database at device-assignment.db; check --database-url (DATABASE_URL)"
            ),
            "{said}"
        );
        let files = folder.path().read_dir().expect("a folder").count();
        assert_eq!(files, 1, "{arguments:?} creates nothing");
    }
}

async fn revoked_key(database: &'static TestDatabase) {
    create_organization(database, "acme").await;
    let (id, key) = create_key(database, &[]).await;
    let revoked_at = async || {
        let list = ["api-key", "list", "--json", "--organization", "acme"];
        objects(&printed(&on(database, &list).await))[0]["revokedAt"].clone()
    };
    assert_eq!(revoked_at().await, Value::Null);
    let output = on(database, &["api-key", "revoke", &id]).await;
    assert_eq!(printed(&output), "", "nothing to read by a program");
    assert_eq!(talk(&output), format!("{id} is revoked\n"));
    let first = revoked_at().await;
    let output = on(database, &["api-key", "revoke", &id]).await;
    assert_eq!(printed(&output), "");
    assert_eq!(talk(&output), format!("{id} was already revoked at {}\n", text(&first)));
    assert_eq!(revoked_at().await, first, "the first time counts");

    for id in ["", "key_", "1", &id.replace("key_", "dev_"), &id[..29], &key] {
        let said = refused(&on(database, &["api-key", "revoke", id]).await, 2);
        assert!(said.contains("invalid key id"), "{said}");
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
    for api in [Api::Grpc, Api::Rest] {
        let client = program.client(api, &key);
        client.create("a@example.com", &["SN-1"]).await.ok();
        let answer = client.with_key(Some(&expired)).create("a@example.com", &["SN-1"]).await;
        assert_eq!(
            (answer.code.as_str(), answer.error.as_str()),
            ("UNAUTHENTICATED", INVALID_KEY)
        );
    }
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
}
