//! The statements that are written in SQL: one file for each database, in `sql/`.

use super::{
    sql::{Sql, without_header},
    statement_kind::StatementKind,
};

/// Declares each statement by its file, its name in metrics, its SQL command, and that with its tables.
macro_rules! statements {
    ($($name:ident: $file:literal, $metric:literal, $operation:literal, $summary:literal;)*) => {
        $(pub(super) static $name: Sql = Sql {
            kind: StatementKind::new($metric, $operation, $summary),
            postgres: without_header(include_str!(concat!("sql/", $file, ".postgres.sql"))),
            sqlite: without_header(include_str!(concat!("sql/", $file, ".sqlite.sql"))),
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
    FIND_AND_ASSIGN: "find_and_assign", "find_and_assign", "SELECT", "SELECT customer device device_assignment";
    INSERT_CUSTOMERS: "insert_customers", "insert_customers", "INSERT", "INSERT customer";
    INSERT_DEVICES: "insert_devices", "insert_devices", "INSERT", "INSERT device";
    INSERT_UNKNOWN_DEVICES: "insert_unknown_devices", "insert_devices", "INSERT", "INSERT device";
    INSERT_ASSIGNMENTS: "insert_assignments", "insert_assignments", "INSERT", "INSERT device_assignment";
    UPDATE_DEVICE_TYPES: "update_device_types", "update_device_types", "UPDATE", "UPDATE device";
    USE_API_KEYS: "use_api_keys", "use_api_keys", "UPDATE", "UPDATE api_key";
}
