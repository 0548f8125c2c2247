//! Below the API: the schema, the settings of every connection, and the statements.

use std::{collections::BTreeSet, time::Instant};

use device_assignment::{
    domain::api_key::ApiKeyDigest,
    service::revoke_api_key,
    storage::{Database, DatabaseError, DatabaseUrl, Purpose, entity},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, EntityTrait, TransactionTrait,
    sqlx::{self, sqlite::SqlitePoolOptions},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Api, Kind, Program, Suite, TestDatabase, TestServer, new_key, organization, program, seed};

pub fn register(suite: &mut Suite) {
    suite.on(
        Kind::Postgres,
        "storage::settings_of_every_connection",
        postgres_settings,
    );
    suite.on(Kind::Sqlite, "storage::settings_of_every_connection", sqlite_settings);
    suite.on(Kind::Postgres, "storage::keys_hold_organizations_apart", postgres_keys);
    suite.on(Kind::Sqlite, "storage::keys_hold_organizations_apart", sqlite_keys);
    suite.test("storage::a_missing_sqlite_file_is_explained", missing_file);
    suite.on_each("storage::entities_fit_the_schema", entities);
    suite.on_each("storage::the_newest_keys_that_hold_are_listed", newest_keys);
    suite.on_each(
        "storage::a_batch_takes_as_many_statements_whatever_its_size",
        statements,
    );
    suite.on(
        Kind::Postgres,
        "storage::a_call_that_changes_nothing_writes_nothing",
        replay,
    );
    suite.on(Kind::Postgres, "storage::a_device_of_many_owners", many_owners);
    suite.with_postgres("storage::both_databases_give_the_same_answers", differential);
}

/// The first column of the first row, as text.
async fn show(connection: &impl ConnectionTrait, database: &TestDatabase, sql: &str) -> String {
    let row = connection
        .query_one_raw(database.statement(sql))
        .await
        .expect(sql)
        .expect("a row");
    row.try_get_by_index::<String>(0)
        .or_else(|_| row.try_get_by_index::<i64>(0).map(|number| number.to_string()))
        .expect(sql)
}

/// Asserts settings on every connection of a pool.
async fn assert_settings(pool: &DatabaseConnection, size: usize, database: &TestDatabase, settings: &[(&str, &str)]) {
    let mut connections = Vec::new();
    for _ in 0..size {
        // A transaction holds its connection, so that the next one takes another.
        connections.push(pool.begin().await.expect("begun"));
    }
    for connection in &connections {
        for (sql, expected) in settings {
            assert_eq!(show(connection, database, sql).await, *expected, "{sql}");
        }
    }
}

async fn postgres_settings(database: &'static TestDatabase) {
    let settings = [
        ("SHOW statement_timeout", "5s"),
        ("SHOW lock_timeout", "2s"),
        ("SHOW idle_in_transaction_session_timeout", "10s"),
        ("SHOW transaction_isolation", "read committed"),
        ("SHOW synchronous_commit", "on"),
        ("SHOW application_name", "device-assignment"),
    ];
    // Whatever the defaults of the database are.
    let outside = database.connect().await;
    for sql in [
        "synchronous_commit = off",
        "default_transaction_isolation = 'serializable'",
    ] {
        let name = show(&outside, database, "SELECT current_database()").await;
        outside
            .execute_unprepared(&format!("ALTER DATABASE {name} SET {sql}"))
            .await
            .expect(sql);
    }
    outside.close().await.expect("closed");
    let service = database.open().await;
    assert_settings(&service.reads(), 4, database, &settings).await;
    let writes = [
        ("SHOW plan_cache_mode", "force_generic_plan"),
        ("SHOW enable_seqscan", "off"),
    ];
    let writer = service.url().connect_to_postgres(Purpose::Writes).await;
    let mut writer = writer.expect("a connection");
    for (sql, expected) in settings.iter().chain(&writes) {
        let value: String = sqlx::query_scalar(*sql).fetch_one(&mut writer).await.expect(sql);
        assert_eq!(value, *expected, "{sql}");
    }
}

async fn sqlite_settings(database: &'static TestDatabase) {
    let settings = [
        ("PRAGMA journal_mode", "wal"),
        ("PRAGMA synchronous", "2"),
        ("PRAGMA foreign_keys", "1"),
        ("PRAGMA busy_timeout", "5000"),
        ("PRAGMA secure_delete", "1"),
    ];
    let service = database.open().await;
    assert_settings(&service.reads(), 4, database, &settings).await;
    let options = service.url().sqlite_options(Purpose::Writes).expect("options");
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(options)
        .into();
    let writes = [
        ("PRAGMA cache_size", "-65536"),
        ("PRAGMA wal_autocheckpoint", "4000"),
        ("PRAGMA temp_store", "2"),
    ];
    assert_settings(&writer, 1, database, &[settings.as_slice(), &writes].concat()).await;
    let version = show(&service.reads(), database, "SELECT sqlite_version()").await;
    let version: Vec<u32> = version.split('.').map(|part| part.parse().expect("a number")).collect();
    assert!(
        version >= vec![3, 51, 3],
        "older versions can lose what they wrote ahead: {version:?}"
    );
}

/// The error says what to do, and a database that is only read is never created.
async fn missing_file() {
    let folder = TempDir::with_prefix("sqlite-").expect("a folder");
    let path = folder.path().join("devices.db");
    let url = |options: &str| DatabaseUrl::parse(&format!("sqlite://{}{options}", path.display())).expect("a URL");
    let message = |opened: Result<Database, DatabaseError>| {
        let message = opened.expect_err("an error").to_string();
        message.replace(folder.path().to_str().expect("a path"), "FOLDER")
    };

    assert_eq!(
        message(Database::open_existing(url("?mode=rwc")).await),
        "no database at FOLDER/devices.db"
    );
    assert_eq!(
        message(Database::open(url("")).await),
        "no database at FOLDER/devices.db; to create it, add ?mode=rwc to the database URL"
    );
    assert!(!path.exists(), "nothing is created");

    let no_folder = format!("sqlite://{}/missing/devices.db?mode=rwc", folder.path().display());
    let no_folder = DatabaseUrl::parse(&no_folder).expect("a URL");
    assert_eq!(
        message(Database::open(no_folder).await),
        "cannot create the database file FOLDER/missing/devices.db: No such file or directory (os error 2); check that its \
         folder exists and that this user may write to the folder"
    );

    std::fs::create_dir(&path).expect("a folder in place of the file");
    let message = message(Database::open(url("?mode=rwc")).await);
    assert!(
        message.starts_with("cannot open the database file FOLDER/devices.db: "),
        "{message}"
    );
    assert!(
        message.ends_with("; check that it is a file and that this user may read and write it and its folder"),
        "{message}"
    );
}

/// The keys, foreign keys, indexes and collations of the schema, one a line.
pub async fn schema(database: &TestDatabase) -> String {
    let sql = match database.kind {
        Kind::Postgres => {
            "SELECT rel.relname || ': ' || pg_get_constraintdef(con.oid) AS line \
                   FROM pg_constraint con JOIN pg_class rel ON rel.oid = con.conrelid \
                   JOIN pg_namespace n ON n.oid = rel.relnamespace \
                   WHERE n.nspname = 'public' AND con.contype IN ('p', 'u', 'f') AND rel.relname <> 'seaql_migrations' \
                   UNION ALL \
                   SELECT tablename || ': ' || regexp_replace(indexdef, '.* USING', 'INDEX USING') FROM pg_indexes \
                   WHERE indexname = 'device_assignment_device' \
                   UNION ALL \
                   SELECT table_name || '.' || column_name || ' COLLATE ' || collation_name FROM information_schema.columns \
                   WHERE table_schema = 'public' AND data_type = 'text' \
                   AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = 'public') \
                   ORDER BY 1"
        }
        Kind::Sqlite => {
            "SELECT t.name || CASE t.strict WHEN 1 THEN ' STRICT' ELSE '' END AS line FROM pragma_table_list t \
                   WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite%' AND t.name <> 'seaql_migrations' \
                   UNION ALL \
                   SELECT t.name || ' FOREIGN KEY ' || f.id || ' ' || f.\"from\" || ' REFERENCES ' || f.\"table\" || ' ' \
                   || f.\"to\" FROM pragma_table_list t JOIN pragma_foreign_key_list(t.name) f \
                   UNION ALL \
                   SELECT t.name || ' UNIQUE ' || group_concat(c.name) FROM pragma_table_list t \
                   JOIN pragma_index_list(t.name) i ON i.\"unique\" JOIN pragma_index_info(i.name) c \
                   WHERE t.name NOT LIKE 'sqlite%' AND t.name <> 'seaql_migrations' GROUP BY t.name, i.name \
                   ORDER BY 1"
        }
    };
    let rows = database.rows(sql).await;
    let lines: Vec<String> = rows.iter().map(|row| row.try_get_by_index(0).expect("text")).collect();
    lines.join("\n")
}

async fn postgres_keys(database: &'static TestDatabase) {
    insta::assert_snapshot!(schema(database).await, @r#"
    api_key.key_end COLLATE C
    api_key.key_start COLLATE C
    api_key.label COLLATE C
    api_key.scope COLLATE C
    api_key: FOREIGN KEY (organization_id) REFERENCES organization(id)
    api_key: PRIMARY KEY (organization_id, id)
    api_key: UNIQUE (digest)
    change_log.kind COLLATE C
    change_log.operator COLLATE C
    change_log.request_id COLLATE C
    change_log: PRIMARY KEY (organization_id, revision)
    customer.address COLLATE C
    customer.email COLLATE C
    customer.metadata COLLATE C
    customer.name COLLATE C
    customer.phone COLLATE C
    customer: FOREIGN KEY (organization_id) REFERENCES organization(id)
    customer: PRIMARY KEY (organization_id, id)
    customer: UNIQUE (organization_id, email)
    device.device_type COLLATE C
    device.identifier COLLATE C
    device.properties COLLATE C
    device: FOREIGN KEY (organization_id) REFERENCES organization(id)
    device: PRIMARY KEY (organization_id, id)
    device: UNIQUE (organization_id, identifier)
    device_assignment: INDEX USING btree (organization_id, device_id, customer_id)
    device_assignment: PRIMARY KEY (organization_id, customer_id, device_id)
    history: PRIMARY KEY (only_row)
    idempotency_key: PRIMARY KEY (organization_id, key)
    organization.name COLLATE C
    organization: PRIMARY KEY (id)
    organization: UNIQUE (name)
    "#);
}

async fn sqlite_keys(database: &'static TestDatabase) {
    insta::assert_snapshot!(schema(database).await, @r#"
    api_key FOREIGN KEY 0 organization_id REFERENCES organization id
    api_key STRICT
    api_key UNIQUE digest
    api_key UNIQUE organization_id,id
    change_log STRICT
    change_log UNIQUE organization_id,revision
    customer FOREIGN KEY 0 organization_id REFERENCES organization id
    customer STRICT
    customer UNIQUE organization_id,email
    customer UNIQUE organization_id,id
    device FOREIGN KEY 0 organization_id REFERENCES organization id
    device STRICT
    device UNIQUE organization_id,id
    device UNIQUE organization_id,identifier
    device_assignment STRICT
    device_assignment UNIQUE organization_id,customer_id,device_id
    history STRICT
    idempotency_key STRICT
    idempotency_key UNIQUE organization_id,key
    organization STRICT
    organization UNIQUE id
    organization UNIQUE name
    "#);
}

/// Of many keys, the newest are listed, without revoked ones.
async fn newest_keys(database: &'static TestDatabase) {
    const MANY: u32 = 100_000;
    organization(database, "acme").await;
    let (numbers, id, digest) = match database.kind {
        Kind::Sqlite => (
            format!("WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"),
            "unhex(printf('%032x', i))",
            "randomblob(32)",
        ),
        Kind::Postgres => (
            format!("WITH n AS (SELECT generate_series(1, {MANY}) AS i)"),
            "lpad(to_hex(i), 32, '0')::uuid",
            "sha256(i::text::bytea)",
        ),
    };
    let insert = format!(
        "{numbers} INSERT INTO api_key (organization_id, id, digest, label, created_at) \
         SELECT o.id, {id}, {digest}, 'old', o.created_at FROM n, organization AS o"
    );
    let connection = database.connect().await;
    connection.execute_unprepared(&insert).await.expect("many keys");
    connection.close().await.expect("closed");
    let mut newest = Vec::new();
    for _ in 0..4 {
        newest.push(new_key(database, "acme", None).await);
    }
    let service = database.open().await;
    let revoked = newest.remove(2).record.id;
    revoke_api_key(&service, revoked).await.expect("revoked");
    let expected: Vec<ApiKeyDigest> = newest.iter().rev().map(|key| key.secret.digest()).collect();

    let listed = service.newest_digests(3).await.expect("a list");
    assert_eq!(listed, expected);
    let start = Instant::now();
    let listed = service.newest_digests(MANY).await.expect("a list");
    println!("{} digests in {:?}", listed.len(), start.elapsed());
    assert_eq!(listed.len(), usize::try_from(MANY).expect("a count"));
    assert_eq!(listed[..3], expected);
    service.close().await;
}

async fn entities(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    server
        .client(Api::Grpc, &key)
        .create("john@example.com", &["SN-1"])
        .await
        .ok();
    server.stop().await;
    let connection = database.connect().await;
    let organizations = entity::organization::Entity::find()
        .all(&connection)
        .await
        .expect("rows");
    let keys = entity::api_key::Entity::find().all(&connection).await.expect("rows");
    let customers = entity::customer::Entity::find().all(&connection).await.expect("rows");
    let devices = entity::device::Entity::find().all(&connection).await.expect("rows");
    let owners = entity::device_assignment::Entity::find()
        .find_both_related(entity::customer::Entity)
        .all(&connection)
        .await
        .expect("rows");
    let owned = entity::device_assignment::Entity::find()
        .find_both_related(entity::device::Entity)
        .all(&connection)
        .await
        .expect("rows");
    let key_owners = entity::api_key::Entity::find()
        .find_both_related(entity::organization::Entity)
        .all(&connection)
        .await
        .expect("rows");
    assert_eq!(organizations[0].name, "acme");
    assert_eq!(
        (keys[0].organization_id, keys[0].label.as_str()),
        (organizations[0].id, "test")
    );
    assert_eq!(
        (customers[0].email.as_str(), customers[0].name.as_str()),
        ("john@example.com", "john")
    );
    assert_eq!(
        (devices[0].identifier.as_str(), devices[0].device_type.as_str()),
        ("SN-1", "sensor")
    );
    let (assignment, owner) = &owners[0];
    assert_eq!(owner, &customers[0]);
    assert_eq!(owned, [(assignment.clone(), devices[0].clone())]);
    assert_eq!(key_owners, [(keys[0].clone(), organizations[0].clone())]);
    connection.close().await.expect("closed");
}

/// Reads the statements off the program's own log.
async fn statements(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let mut command = program::command(&["serve", "--log-format", "json", "--database-url", database.url()]);
    command
        .arg("--key-usage-interval=1h")
        .env("RUST_LOG", "info,sqlx::query=debug");
    let program = Program::spawn(command).await;
    let client = program.client(Api::Grpc, &key);
    let sizes = [1, 2, 3, 100, 9_999, 10_000];
    for size in sizes {
        let identifiers: Vec<String> = (0..size).map(|number| format!("{size}-{number}")).collect();
        let identifiers: Vec<&str> = identifiers.iter().map(String::as_str).collect();
        let email = format!("customer-{size}@example.com");
        client.create(&email, &identifiers).await.ok();
        client.create(&email, &identifiers).await.ok();
        client.create("another@example.com", &identifiers).await.ok();
    }
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0));

    let mut calls: Vec<Vec<String>> = vec![Vec::new()];
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        if line["message"] == "call" {
            calls.push(Vec::new());
        } else if line["target"] == "sqlx::query" {
            let text = line["db.statement"].as_str().filter(|text| !text.trim().is_empty());
            let text = text.or_else(|| line["summary"].as_str()).expect("a statement");
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            // Keys are looked up every few seconds, a new connection is set up, looks for Citus and compares timelines. SQLite is told
            // where the journals of a large batch go, and its log is emptied after the start.
            let is_of_call = !text.replace("api_key_id", "").contains("api_key")
                && !text.starts_with("SET default_transaction_isolation")
                && !text.contains("timeline")
                && !text.contains("pg_extension")
                && !text.starts_with("PRAGMA");
            if is_of_call && !text.is_empty() {
                calls.last_mut().expect("a call").push(text);
            }
        }
    }
    // The first part also has the statements of the start.
    let [_first_create, noop, _another, rest @ ..] = calls.as_slice() else {
        panic!("{calls:?}")
    };
    assert!(noop.iter().any(|text| text.contains("device_assignment")), "{noop:?}");
    let texts: BTreeSet<&String> = rest.iter().flatten().collect();
    // On PostgreSQL, a large call locks its organization before it reads; on SQLite, it writes with separate statements.
    let first_large = 3 * sizes[1..].iter().filter(|size| **size <= 100).count();
    for (at, three_calls) in rest.chunks_exact(3).enumerate() {
        let is_large = at * 3 >= first_large;
        let like = &rest[if is_large { first_large } else { 0 }..];
        let [create, again, another] = three_calls else {
            panic!("three calls a size")
        };
        assert_eq!(
            create.len(),
            like[0].len(),
            "statements of a call that creates everything: {create:?}"
        );
        assert_eq!(again, &like[1], "statements of a call that changes nothing");
        assert_eq!(
            another.len(),
            like[2].len(),
            "statements of a call that assigns: {another:?}"
        );
    }
    assert_eq!(&rest[1], noop);
    assert_eq!(rest.chunks_exact(3).len(), sizes.len() - 1);
    // Each with one text for any number of rows: a find, the log and three inserts, and what carries out small calls that only assign.
    let texts: Vec<&&String> = texts.iter().filter(|text| text.contains("organization_id")).collect();
    assert_eq!(texts.len(), 6, "{texts:#?}");
    // A call that changes nothing is a single find. On PostgreSQL, so is a call that only assigns; on SQLite, what it writes is one
    // more text.
    let assigns = if database.kind == Kind::Postgres { 1 } else { 2 };
    assert_eq!((noop.len(), rest[2].len()), (1, assigns), "{noop:?} {:?}", rest[2]);
    let scope = if database.kind == Kind::Postgres { "$1" } else { "?1" };
    for text in rest.iter().flatten().flat_map(|text| text.split("; ")) {
        let touches_rows = ["customer", "device"].iter().any(|table| text.contains(table));
        // Each row of what is one text on SQLite names its organization.
        let names_it = text.contains("INTO change_log ( organization_id, ")
            && text.contains("SELECT unhex(entry.value ->> 0), ")
            || text.contains("INTO device_assignment (organization_id, ")
                && text.contains("SELECT unhex(pair.value ->> 0), ");
        let in_scope = text.contains(&format!("organization_id = {scope}"))
            || (text.starts_with("INSERT") && text.contains(&format!("SELECT {scope},")))
            || names_it;
        assert!(
            !touches_rows || in_scope,
            "a statement reaches across organizations: {text}"
        );
    }
}

/// The rows written to all tables except `api_key`, where the use of keys is stored now and then.
const WRITTEN: &str = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables \
                       WHERE relname <> 'api_key'";

async fn replay(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    server
        .client(Api::Grpc, &key)
        .create("john@example.com", &["SN-1", "SN-2"])
        .await
        .ok();
    server.stop().await;
    let written = database.number(WRITTEN).await;
    // One organization and customer, two devices and assignments.
    assert!(written >= 6, "the counter counts: {written}");
    let before = database.dump().await;

    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    for _ in 0..1_000 {
        let answer = client.create("john@example.com", &["SN-1", "SN-2"]).await.ok();
        assert_eq!(answer.identifiers("alreadyAssigned"), ["SN-1", "SN-2"]);
    }
    server.stop().await;
    assert_eq!(database.number(WRITTEN).await, written);
    assert_eq!(database.dump().await, before);
}

/// An assignment is found with one index entry, however many owners a device has, and even if the statistics say that nearly
/// every device has one owner.
async fn many_owners(database: &'static TestDatabase) {
    const OWNERS: i64 = 5_000;
    let key = organization(database, "acme").await;
    let outside = database.connect().await;
    for sql in [
        "INSERT INTO customer SELECT o.id, gen_random_uuid(), n || '@example.com', n, now() \
         FROM organization o, generate_series(1, 5000) n",
        "INSERT INTO device SELECT o.id, gen_random_uuid(), 'SN-' || n, 'sensor', now() \
         FROM organization o, generate_series(0, 60000) n",
        "INSERT INTO device_assignment SELECT organization_id, c.id, d.id, now() \
         FROM customer c JOIN device d USING (organization_id) \
         WHERE d.identifier = 'SN-0'",
        "INSERT INTO device_assignment SELECT organization_id, c.id, d.id, now() \
         FROM customer c JOIN device d USING (organization_id) \
         WHERE c.email = '1@example.com' AND d.identifier <> 'SN-0'",
        "ANALYZE",
    ] {
        outside.execute_unprepared(sql).await.expect("done");
    }
    outside.close().await.expect("closed");
    let read = "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'device_assignment'";
    let before = database.number(read).await;

    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    for owner in 1..=10 {
        let answer = client.assign(&format!("{owner}@example.com"), &["SN-0"]).await.ok();
        assert_eq!(answer.identifiers("alreadyAssigned"), ["SN-0"]);
    }
    // Connections report their statistics when they end.
    server.stop().await;
    let read = database.number(read).await - before;
    assert!((10..OWNERS).contains(&read), "{read} entries read for ten calls");
}

/// The same random calls on both databases give the same responses and the same rows, except for ids.
async fn differential() {
    let seed = seed();
    let mut seen = Vec::new();
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = TestDatabase::create(kind).await;
        let key = organization(&database, "acme").await;
        let server = TestServer::start(&database).await;
        let client = server.client(Api::Rest, &key);
        let mut random = StdRng::seed_from_u64(seed);
        // Texts that a wrong collation, normalization or escaping would confuse.
        let identifiers = [
            "SN-1", "sn-1", "Sn-1", "straße", "strasse", "STRASSE", "é", "e\u{301}", "ﬁ", "fi", "\\", "\"", "'", "%",
            "_", "a b", "a  b", "{}", "[\"x\"]", "null", "1", "01", "1.0", "😀", "\u{200b}", "\u{fffd}",
        ];
        let emails = [
            "a@example.com",
            "A@example.com",
            "ä@example.com",
            "Ä@example.com",
            "a.b@example.com",
            "a+b@example.com",
        ];
        let mut answers = Vec::new();
        for _ in 0..200 {
            let chosen: Vec<&str> = (0..random.random_range(1..8))
                .map(|_| identifiers[random.random_range(0..identifiers.len())])
                .collect();
            let email = emails[random.random_range(0..emails.len())];
            let request = json!({
                "customerEmail": email,
                "deviceIdentifiers": chosen,
                "autoCreateDevices": random.random_bool(0.3),
                "deviceType": "sensor",
            });
            let mut answer = client.call(&request).await;
            answer.request_id.clear();
            answers.push((answer.code, answer.error, without_ids(answer.body)));
        }
        server.stop().await;
        let rows: BTreeSet<String> = database.dump().await.lines().map(rows_without_ids).collect();
        seen.push((answers, rows));
        database.remove().await;
    }
    let [sqlite, postgres] = seen.try_into().expect("two");
    for (index, (one, other)) in sqlite.0.iter().zip(&postgres.0).enumerate() {
        assert_eq!(one, other, "answer {index}");
    }
    assert_eq!(sqlite.1, postgres.1);
    assert!(
        sqlite.0.iter().any(|(code, ..)| code == "FAILED_PRECONDITION"),
        "some calls are rejected"
    );
    assert!(sqlite.0.iter().any(|(code, ..)| code == "OK"), "some calls succeed");
}

fn without_ids(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            members.retain(|name, _| name != "customerId" && name != "deviceId");
            for member in members.values_mut() {
                *member = without_ids(member.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = without_ids(item.take());
            }
        }
        _ => {}
    }
    value
}

fn rows_without_ids(row: &str) -> String {
    let is_id = |word: &&str| word.len() == 36 && word.matches('-').count() == 4;
    row.split(' ').filter(|word| !is_id(word)).collect::<Vec<_>>().join(" ")
}
