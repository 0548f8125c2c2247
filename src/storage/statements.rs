//! The statements that are written in SQL: one file for each database, in `sql/`.

use std::sync::OnceLock;

use super::{
    sql::{OnCitus, Sql, without_header},
    statement_kind::StatementKind,
};

/// The text of a statement on Citus: that of PostgreSQL, in a file of its own, or an INSERT within a SELECT.
macro_rules! on_citus {
    ($file:literal) => {
        OnCitus::Same
    };
    ($file:literal has its own text) => {
        OnCitus::Text(without_header(include_str!(concat!("sql/", $file, ".citus.sql"))))
    };
    ($file:literal is within a select) => {
        OnCitus::Within(OnceLock::new())
    };
}

/// Declares each statement by its file, its name in metrics, its SQL command, and that with its tables. In brackets: how its text
/// differs on Citus.
macro_rules! statements {
    ($($name:ident: $file:literal, $metric:literal, $operation:literal, $summary:literal $([$($citus:tt)*])?;)*) => {
        $(pub(super) static $name: Sql = Sql {
            kind: StatementKind::new($metric, $operation, $summary),
            postgres: without_header(include_str!(concat!("sql/", $file, ".postgres.sql"))),
            sqlite: without_header(include_str!(concat!("sql/", $file, ".sqlite.sql"))),
            citus: on_citus!($file $($($citus)*)?),
        };)*

        /// The text of each file, and the statement that is sent.
        #[cfg(test)]
        pub(super) static FILES: &[(&str, &str)] = &[$(
            (include_str!(concat!("sql/", $file, ".postgres.sql")), $name.postgres),
            (include_str!(concat!("sql/", $file, ".sqlite.sql")), $name.sqlite),
        )*];
    };
}

statements! {
    FIND: "find", "find", "SELECT", "SELECT customer device device_assignment";
    READ_REVISION: "read_revision", "read_revision", "SELECT", "SELECT change_log";
    FIND_CUSTOMERS: "find_customers", "find_customers", "SELECT", "SELECT customer";
    FIND_PROPERTIES: "find_properties", "find_properties", "SELECT", "SELECT device";
    FIND_OWNED_IDS: "find_owned_ids", "find_owned_ids", "SELECT", "SELECT device_assignment";
    FIND_OWNER_IDS: "find_owner_ids", "find_owner_ids", "SELECT", "SELECT device device_assignment";
    FIND_TYPES: "find_types", "find_types", "SELECT", "SELECT device";
    FIND_OWNERS: "find_owners", "find_owners", "SELECT", "SELECT device device_assignment customer";
    LIST_DEVICES: "list_devices", "list_devices", "SELECT", "SELECT device_assignment device";
    INSERT_CHANGES: "insert_changes", "insert_changes", "INSERT", "INSERT change_log";
    INSERT_CUSTOMERS: "insert_customers", "insert_customers", "INSERT", "INSERT customer";
    INSERT_DEVICES: "insert_devices", "insert_devices", "INSERT", "INSERT device";
    UPDATE_DEVICE_TYPES: "update_device_types", "update_device_types", "UPDATE", "UPDATE device" [has its own text];
    UPDATE_PROPERTIES: "update_properties", "update_properties", "UPDATE", "UPDATE device" [has its own text];
    FREE_EMAILS: "free_emails", "free_emails", "UPDATE", "UPDATE customer";
    UPDATE_CUSTOMERS: "update_customers", "update_customers", "UPDATE", "UPDATE customer" [has its own text];
    DELETE_CUSTOMERS: "delete_customers", "delete_customers", "DELETE", "DELETE customer";
    DELETE_DEVICES: "delete_devices", "delete_devices", "DELETE", "DELETE device";
    INSERT_ASSIGNMENTS: "insert_assignments", "insert_assignments", "INSERT", "INSERT device_assignment";
    DELETE_ASSIGNMENTS: "delete_assignments", "delete_assignments", "DELETE", "DELETE device_assignment" [has its own text];
    FIND_ANSWERS: "find_answers", "find_answers", "SELECT", "SELECT idempotency_key";
    INSERT_ANSWERS: "insert_answers", "insert_answers", "INSERT", "INSERT idempotency_key" [is within a select];
    ERASE_ANSWERS: "erase_answers", "erase_answers", "UPDATE", "UPDATE idempotency_key";
    DELETE_EXPIRED_ANSWERS: "delete_expired_answers", "delete_expired_answers", "DELETE", "DELETE idempotency_key" [has its own text];
    LIST_CHANGES: "list_changes", "list_changes", "SELECT", "SELECT change_log";
    FIND_HEADS: "find_heads", "find_heads", "SELECT", "SELECT change_log" [has its own text];
    FIND_NAMES: "find_names", "find_names", "SELECT", "SELECT customer device";
    FIND_REVOKED_KEYS: "find_revoked_keys", "find_revoked_keys", "SELECT", "SELECT api_key";
    VERIFY: "verify", "verify", "SELECT", "SELECT change_log customer device device_assignment";
    FIND_UNKNOWN_ORGANIZATIONS: "find_unknown_organizations", "find_unknown_organizations", "SELECT",
        "SELECT customer device device_assignment change_log organization" [has its own text];
    FIND_ERASABLE: "find_erasable", "find_erasable", "SELECT", "SELECT organization change_log" [has its own text];
    ERASE_ORIGINS: "erase_origins", "erase_origins", "UPDATE", "UPDATE change_log";
    NOTE_ERASED_ORIGINS: "note_erased_origins", "note_erased_origins", "UPDATE", "UPDATE organization";
    BEGIN_HISTORY: "begin_history", "begin_history", "UPDATE", "UPDATE history";
    USE_API_KEYS: "use_api_keys", "use_api_keys", "UPDATE", "UPDATE api_key";
}

/// The text of the statement that only PostgreSQL has: SQLite cannot insert within a query.
pub(super) const FIND_AND_ASSIGN_FILE: &str = include_str!("sql/find_and_assign.postgres.sql");

/// Reads what a group of assignments touches, and carries it out if nothing has to be created.
pub(super) static FIND_AND_ASSIGN: Sql = Sql {
    kind: StatementKind::new("find_and_assign", "SELECT", "SELECT customer device device_assignment"),
    postgres: without_header(FIND_AND_ASSIGN_FILE),
    sqlite: "",
    citus: OnCitus::Same,
};

/// The text of what only SQLite has: PostgreSQL runs one statement at a time.
pub(super) const LOG_AND_ASSIGN_FILE: &str = include_str!("sql/log_and_assign.sqlite.sql");

/// Writes a group that creates nothing except assignments, and commits it.
pub(super) static LOG_AND_ASSIGN: Sql = Sql {
    kind: StatementKind::new("log_and_assign", "INSERT", "INSERT change_log device_assignment"),
    postgres: "",
    sqlite: without_header(LOG_AND_ASSIGN_FILE),
    citus: OnCitus::Same,
};

/// Waits for the exclusive lock of an organization, until the end of the transaction. PostgreSQL's alone. The second
/// parameter is how long, in milliseconds. Afterwards the time-out of locks is that of the connection again (`options.rs`): a
/// call with little time left must not make the others of its group fail.
pub(super) static LOCK_ORGANIZATION: Sql = Sql {
    kind: StatementKind::new("lock_organization", "SELECT", "SELECT pg_advisory_xact_lock"),
    postgres: "SELECT set_config('lock_timeout', $2::bigint::text, true) IS NOT NULL, \
               pg_advisory_xact_lock(hashtextextended($1::text, 0))::text IS NOT NULL, \
               set_config('lock_timeout', '2s', true) IS NOT NULL",
    sqlite: "",
    citus: OnCitus::Same,
};

/// Takes the exclusive locks of organizations that nobody else has, until the end of the transaction. PostgreSQL's alone. One row
/// for each organization: whether its lock was taken.
pub(super) static TRY_LOCK_ORGANIZATIONS: Sql = Sql {
    kind: StatementKind::new("try_lock_organizations", "SELECT", "SELECT pg_try_advisory_xact_lock"),
    postgres: "SELECT pg_try_advisory_xact_lock(hashtextextended(named.id::text, 0)) \
               FROM unnest($1::uuid[]) WITH ORDINALITY AS named (id, n) ORDER BY named.n",
    sqlite: "",
    citus: OnCitus::Same,
};
