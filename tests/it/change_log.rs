//! The change log: `verify` finds what does not fit it, and nobody writes past it.

use sea_orm::{ConnectOptions, ConnectionTrait};

use device_assignment::{
    domain::{Error, change::Revision},
    storage::{DatabaseError, migrate},
};

use crate::support::{Api, Kind, Suite, TestDatabase, TestServer, devices, organization, program};

pub fn register(suite: &mut Suite) {
    suite.on_each("change_log::agrees_with_the_tables", agrees);
    for fault in FAULTS {
        let name = format!("change_log::a_fault_is_found::{}", fault.name);
        suite.on_each(&name, move |database| found(database, fault));
    }
    for fault in LISTS {
        suite.on(
            fault.0,
            &format!("change_log::a_list_of_another_length_is_found::{}", fault.1),
            move |database| found(database, &fault.2),
        );
    }
    for table in ["customer", "device", "device_assignment", "change_log"] {
        let name = format!("change_log::rows_of_no_organization_are_found::{table}");
        suite.on_each(&name, move |database| strangers(database, table));
    }
    suite.on_each("change_log::has_a_revision_for_each_change", revisions);
    suite.on(
        Kind::Postgres,
        "change_log::connections_that_do_not_write_it_are_refused",
        fence,
    );
    suite.on(Kind::Postgres, "change_log::the_documented_way_back_works", way_back);
    suite.on_each("change_log::owners_and_owned_devices_are_not_deleted", guards);
}

/// A fault, as SQL that plants it, and the difference that `verify` has to name.
struct Fault {
    name: &'static str,
    sql: &'static str,
    problem: &'static str,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "an_assignment_past_the_log",
        sql: "INSERT INTO device_assignment SELECT organization_id, c.id, d.id, c.created_at \
              FROM customer c JOIN device d USING (organization_id) \
              WHERE c.email = 'ann@example.com' AND d.identifier = 'SN-3'",
        problem: "an assignment is not in the log",
    },
    Fault {
        name: "a_removal_past_the_log",
        sql: "DELETE FROM device_assignment WHERE device_id = (SELECT id FROM device WHERE identifier = 'SN-1')",
        problem: "an assignment of the log is missing",
    },
    Fault {
        name: "a_customer_past_the_log",
        sql: "INSERT INTO customer (organization_id, id, email, name, created_at) \
              SELECT organization_id, organization_id, 'eve@example.com', 'eve', created_at FROM customer",
        problem: "a customer is not in the log",
    },
    Fault {
        name: "a_lost_device",
        sql: "DELETE FROM device WHERE identifier = 'SN-3'",
        problem: "a device of the log is missing",
    },
    Fault {
        name: "an_orphan",
        sql: "INSERT INTO device_assignment SELECT organization_id, id, organization_id, created_at FROM customer",
        problem: "an assignment has no customer or no device",
    },
    Fault {
        name: "a_lost_change",
        sql: "DELETE FROM change_log WHERE revision = 3",
        problem: "the revisions have a gap before this one",
    },
    Fault {
        name: "a_lost_beginning",
        sql: "DELETE FROM change_log WHERE revision = 1",
        problem: "the revisions have a gap before this one",
    },
    Fault {
        name: "a_list_without_its_other",
        sql: "UPDATE change_log SET unassigned_customers = NULL WHERE revision = 4",
        problem: "the lists of customers and devices do not fit together",
    },
    Fault {
        name: "an_assignment_before_its_customer",
        sql: "UPDATE change_log SET customers_created = (SELECT customers_created FROM change_log AS l \
              WHERE l.organization_id = change_log.organization_id AND l.revision = 2) \
              WHERE revision = 4; \
              UPDATE change_log SET customers_created = NULL WHERE revision = 2",
        problem: "an assignment of the log exists while its customer does not",
    },
    Fault {
        name: "an_assignment_before_its_device",
        sql: "UPDATE change_log SET devices_created = (SELECT devices_created FROM change_log AS l \
              WHERE l.organization_id = change_log.organization_id AND l.revision = 3) \
              WHERE revision = 4; \
              UPDATE change_log SET devices_created = NULL WHERE revision = 3",
        problem: "an assignment of the log exists while its device does not",
    },
    Fault {
        name: "an_assignment_after_its_customer",
        sql: "UPDATE change_log SET customers_deleted = (SELECT customers_created FROM change_log AS l \
              WHERE l.organization_id = change_log.organization_id AND l.revision = 2) \
              WHERE revision = 4",
        problem: "an assignment of the log exists while its customer does not",
    },
    Fault {
        name: "a_removal_after_its_device",
        sql: "UPDATE change_log SET devices_deleted = (SELECT devices_created FROM change_log AS l \
              WHERE l.organization_id = change_log.organization_id AND l.revision = 1) \
              WHERE revision = 3",
        problem: "an assignment of the log exists while its device does not",
    },
    Fault {
        name: "a_repeated_change",
        sql: "INSERT INTO change_log (organization_id, revision, at, kind, assigned_customers, assigned_devices) \
              SELECT organization_id, 5, at, kind, assigned_customers, assigned_devices FROM change_log WHERE revision = 2",
        problem: "an assignment is created twice",
    },
    Fault {
        name: "a_change_of_no_customer",
        sql: "INSERT INTO change_log (organization_id, revision, at, kind, customers_updated) \
              SELECT organization_id, 5, at, 'update', devices_created FROM change_log \
              WHERE devices_created IS NOT NULL ORDER BY revision LIMIT 1",
        problem: "a customer is changed that does not exist",
    },
    Fault {
        name: "a_change_of_no_device",
        sql: "INSERT INTO change_log (organization_id, revision, at, kind, devices_updated) \
              SELECT organization_id, 5, at, 'update', customers_created FROM change_log \
              WHERE customers_created IS NOT NULL ORDER BY revision LIMIT 1",
        problem: "a device is changed that does not exist",
    },
    Fault {
        name: "a_change_of_nothing",
        sql: "INSERT INTO change_log (organization_id, revision, at, kind, unassigned_customers, unassigned_devices) \
              SELECT organization_id, 5, at, kind, unassigned_customers, unassigned_devices FROM change_log \
              WHERE revision = 4",
        problem: "an assignment is removed that does not exist",
    },
];

/// Lists have another form on each database.
const LISTS: &[(Kind, &str, Fault)] = &[
    (
        Kind::Postgres,
        "a_device_more",
        Fault {
            name: "",
            sql: "UPDATE change_log SET assigned_customers = assigned_customers || assigned_customers, \
                  assigned_devices = assigned_devices || assigned_devices || assigned_devices WHERE revision = 2",
            problem: "the lists of customers and devices do not fit together",
        },
    ),
    (
        Kind::Sqlite,
        "a_device_more",
        Fault {
            name: "",
            sql: "UPDATE change_log SET assigned_customers = unhex(hex(assigned_customers) || hex(assigned_customers)), \
                  assigned_devices = unhex(hex(assigned_devices) || hex(assigned_devices) || hex(assigned_devices)) \
                  WHERE revision = 2",
            problem: "the lists of customers and devices do not fit together",
        },
    ),
    (
        Kind::Sqlite,
        "half_an_id",
        Fault {
            name: "",
            sql: "UPDATE change_log SET assigned_devices = unhex(hex(assigned_devices) || '00') WHERE revision = 2",
            problem: "a list of ids is cut off",
        },
    ),
];

/// Four changes: an import of three devices, two assignments that create a customer, and a removal.
async fn change(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1", "SN-2", "SN-3"]).await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    client.assign("ann@example.com", &["SN-1", "SN-2"]).await.ok();
    client.create("ann@example.com", &["SN-1", "SN-4"]).await.ok();
    // Changes nothing.
    client.assign("ann@example.com", &["SN-1", "SN-2"]).await.ok();
    client.unassign("ann@example.com", &["SN-2", "SN-3"]).await.ok();
    server.stop().await;
}

async fn problems(database: &TestDatabase) -> Vec<String> {
    let service = database.open().await;
    let organization = service.organization("acme").await.expect("readable").expect("there");
    let mut problems = Vec::new();
    let count = service
        .verify(organization.id, |difference| problems.push(difference.problem))
        .await
        .expect("readable");
    assert_eq!(count, problems.len() as u64);
    service.close().await;
    problems
}

async fn verify(database: &TestDatabase) -> (Option<i32>, String, String) {
    let output = program::run(&["verify", "--organization", "acme", "--database-url", database.url()]).await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn agrees(database: &'static TestDatabase) {
    change(database).await;
    assert_eq!(problems(database).await, [""; 0]);
    let (code, stdout, stderr) = verify(database).await;
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    let service = database.open().await;
    let history = service.history().await.expect("readable");
    assert_eq!(
        stderr,
        format!("history {history}\nacme: the change log and the tables agree\n")
    );
    service.close().await;
}

async fn found(database: &'static TestDatabase, fault: &Fault) {
    change(database).await;
    let connection = database.connect().await;
    let planted = connection.execute_unprepared(fault.sql).await.expect(fault.sql);
    assert!(planted.rows_affected() > 0, "{}", fault.sql);
    connection.close().await.expect("closed");
    let problems = problems(database).await;
    assert!(problems.iter().any(|problem| problem == fault.problem), "{problems:?}");
    let (code, stdout, stderr) = verify(database).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stdout.contains(fault.problem), "{stdout}");
}

/// A row whose organization does not exist: foreign keys do not know it, or were off.
async fn strangers(database: &'static TestDatabase, table: &'static str) {
    change(database).await;
    let connection = database.connect().await;
    let (off, id) = match database.kind {
        Kind::Postgres => ("SET session_replication_role = replica", "gen_random_uuid()"),
        Kind::Sqlite => ("PRAGMA foreign_keys = OFF", "randomblob(16)"),
    };
    let columns = match table {
        "customer" => "id, email, name, created_at",
        "device" => "id, identifier, device_type, created_at",
        "device_assignment" => "customer_id, device_id, created_at",
        _ => "revision, at, kind",
    };
    let plant = format!(
        "{off}; INSERT INTO {table} (organization_id, {columns}) SELECT {id}, {columns} FROM (SELECT * FROM {table} LIMIT 1) AS one"
    );
    connection.execute_unprepared(&plant).await.expect("planted");
    connection.close().await.expect("closed");
    // Nothing is wrong with acme.
    let (code, _, stderr) = verify(database).await;
    assert_eq!(code, Some(0), "{stderr}");
    let output = program::run(&["verify", "--database-url", database.url()]).await;
    assert_eq!(output.status.code(), Some(1));
    let found = program::stdout(&output);
    let (organization, problem) = found.trim_end().split_once(": ").expect("one line");
    assert_eq!(
        problem,
        format!("the table {table} has rows of an organization that does not exist")
    );
    assert!(program::stderr(&output).ends_with(&format!("{organization}: 1 difference\n")));
}

async fn revisions(database: &'static TestDatabase) {
    change(database).await;
    let rows = database
        .rows("SELECT kind, revision FROM change_log ORDER BY revision")
        .await;
    let rows: Vec<(String, i64)> = rows
        .iter()
        .map(|row| {
            let kind = row.try_get_by_index(0).expect("a kind");
            (kind, row.try_get_by_index(1).expect("a revision"))
        })
        .collect();
    let expected = [("import", 1), ("assign", 2), ("assign", 3), ("unassign", 4)];
    assert_eq!(rows, expected.map(|(kind, revision)| (kind.to_owned(), revision)));
    assert_eq!(Revision::from_stored(4).number(), 4);
    let anonymous = "SELECT count(*) FROM change_log WHERE revision > 1 AND (api_key_id IS NULL OR request_id IS NULL)";
    assert_eq!(database.number(anonymous).await, 0, "calls have a key and a request id");
}

/// The version before does not write the log. Its class of this SQLSTATE is that of a server that is going away.
async fn fence(database: &'static TestDatabase) {
    change(database).await;
    let mut options = ConnectOptions::new(database.url());
    options.idle_timeout(None).max_lifetime(None);
    let stranger = sea_orm::Database::connect(options).await.expect("a connection");
    for sql in [
        "DELETE FROM device_assignment",
        "UPDATE device SET device_type = 'other'",
        "INSERT INTO customer (organization_id, id, email, name, created_at) \
              SELECT organization_id, organization_id, 'eve@example.com', 'eve', created_at FROM customer",
    ] {
        let error = stranger.execute_unprepared(sql).await.expect_err(sql);
        let sea_orm::DbErr::Exec(sea_orm::RuntimeErr::SqlxError(error)) = &error else {
            panic!("{error:?}");
        };
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("57P01"), "{sql}");
        let error = stranger.execute_unprepared(sql).await.expect_err(sql);
        let error = Error::from(DatabaseError::from(error));
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    stranger.close().await.expect("closed");
    assert_eq!(problems(database).await, [""; 0]);
}

/// The steps of docs/OPERATIONS.md to the version before; and the migration of what is there then.
async fn way_back(database: &'static TestDatabase) {
    change(database).await;
    let document = include_str!("../../docs/OPERATIONS.md");
    let steps = document
        .split("```sql\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let connection = database.connect().await;
    connection
        .execute_unprepared(steps.expect("a block of SQL"))
        .await
        .expect("the steps work");
    connection.close().await.expect("closed");
    let foreign_keys =
        "SELECT count(*) FROM pg_constraint WHERE conrelid = 'device_assignment'::regclass AND contype = 'f'";
    assert_eq!(database.number(foreign_keys).await, 2);

    let service = database.open().await;
    migrate(&service).await.expect("migrated again");
    service.close().await;
    assert_eq!(problems(database).await, [""; 0]);
    assert_eq!(database.number(foreign_keys).await, 0);
    let baseline = "SELECT count(*) FROM change_log WHERE kind = 'baseline'";
    assert_eq!(database.number(baseline).await, 3, "customers, devices, assignments");
}

async fn guards(database: &'static TestDatabase) {
    change(database).await;
    let connection = database.connect().await;
    for sql in ["DELETE FROM customer", "DELETE FROM device WHERE identifier = 'SN-1'"] {
        let error = connection.execute_unprepared(sql).await.expect_err(sql);
        assert!(error.to_string().contains("still has assignments"), "{error}");
    }
    // Nobody owns it.
    connection
        .execute_unprepared("DELETE FROM device WHERE identifier = 'SN-2'")
        .await
        .expect("deleted");
    connection.close().await.expect("closed");
}
