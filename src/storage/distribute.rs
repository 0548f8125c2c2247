//! Distributes the tables over the servers of Citus.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, FromQueryResult, Statement};

use super::{Database, DatabaseError};

/// Tables of which each server has all rows: few rows, which statements of every organization read.
const EVERYWHERE: [&str; 3] = ["organization", "api_key", "history"];

/// Tables whose rows are on the server of their organization, in an order in which none comes before one that it references.
const BY_ORGANIZATION: [&str; 5] = [
    "customer",
    "device",
    "device_assignment",
    "change_log",
    "idempotency_key",
];

/// The first of them decides where an organization is.
const FIRST: &str = BY_ORGANIZATION[0];

/// Settings of the transaction that distributes: the tables that all servers have are changed first, and after that one connection
/// to each server does the rest. Tables that reference them must not become tables of Citus before their turn.
const SETTINGS: [&str; 2] = [
    "SET LOCAL citus.multi_shard_modify_mode = 'sequential'",
    "SET LOCAL citus.enable_local_reference_table_foreign_keys = 'off'",
];

/// Triggers that Citus does not support on distributed tables. The first keeps versions out that do not write the change log: they
/// cannot run on Citus. The second rejects mistakes of others, which `verify` finds.
const TRIGGERS: [(&str, &str); 5] = [
    ("require_change_log", "customer"),
    ("require_change_log", "device"),
    ("require_change_log", "device_assignment"),
    ("refuse_orphans", "customer"),
    ("refuse_orphans", "device"),
];

/// The tables of the schema, and where Citus keeps each.
const PLACEMENTS: &str = "\
    SELECT \
        class.relname::text AS name, \
        CASE \
            WHEN part.logicalrelid IS NULL THEN 'local' \
            WHEN part.partmethod = 'h' THEN 'by ' || column_to_column_name(part.logicalrelid, part.partkey) \
            ELSE 'everywhere' \
        END AS placement, \
        (SELECT count(*) FROM pg_dist_shard AS shard WHERE shard.logicalrelid = class.oid) AS shards \
    FROM pg_class AS class \
    LEFT JOIN pg_dist_partition AS part ON part.logicalrelid = class.oid \
    WHERE class.oid = ANY ($1::text[]::regclass[]::oid[]) \
    ORDER BY array_position($1::text[], class.relname::text)";

/// Where Citus keeps a table.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct TablePlacement {
    /// The name of the table.
    pub name: String,
    /// `everywhere`, `by organization_id`, or `local`: only on the server that was connected to.
    pub placement: String,
    /// The number of parts that can be moved between servers.
    pub shards: i64,
}

impl Database {
    /// Where Citus keeps each table, in a fixed order. `None` if the database does not have the extension.
    ///
    /// # Errors
    /// When the database cannot be read, and when a table is missing.
    pub async fn placements(&self) -> Result<Option<Vec<TablePlacement>>, DatabaseError> {
        if self.url().is_sqlite() {
            return Ok(None);
        }
        let placements = self.operate(async |db| {
            if !has_citus(db).await? {
                return Ok(None);
            }
            placements(db).await.map(Some)
        });
        placements.await
    }

    /// Empties what is left of the tables on the server that was connected to: Citus copies rows to the servers and hides the old
    /// ones, personal data included.
    pub(super) async fn empty_local_tables(&self) -> Result<(), DatabaseError> {
        let connection = self.schema_connection().await?;
        let emptied = async {
            // A table cannot be emptied while one that references it still has rows.
            for table in BY_ORGANIZATION.iter().rev() {
                let empty = format!("SELECT truncate_local_data_after_distributing_table('{table}')");
                connection.execute_unprepared(&empty).await?;
            }
            Ok(())
        };
        let emptied = self.while_reachable(emptied).await;
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "closing a connection failed");
        }
        emptied
    }
}

/// Whether the tables are distributed: all that a newer version adds are, too.
pub(super) async fn is_distributed(transaction: &DatabaseTransaction) -> Result<bool, DbErr> {
    if !has_citus(transaction).await? {
        return Ok(false);
    }
    let placements = placements(transaction).await?;
    Ok(placements
        .iter()
        .any(|table| table.name == FIRST && table.placement != "local"))
}

/// Distributes the tables that are not distributed yet.
///
/// # Errors
/// [`DatabaseError::NoCitus`], and when the database cannot be changed.
pub(super) async fn distribute(transaction: &DatabaseTransaction) -> Result<(), DatabaseError> {
    if transaction.get_database_backend() != DbBackend::Postgres || !has_citus(transaction).await? {
        return Err(DatabaseError::NoCitus);
    }
    let local: Vec<_> = placements(transaction)
        .await?
        .into_iter()
        .filter(|table| table.placement == "local")
        .map(|table| table.name)
        .collect();
    let is_local = |table: &str| local.iter().any(|local| local == table);
    for setting in SETTINGS {
        transaction.execute_unprepared(setting).await?;
    }
    for (trigger, table) in TRIGGERS {
        if is_local(table) {
            let drop = format!("DROP TRIGGER IF EXISTS {trigger} ON {table}");
            transaction.execute_unprepared(&drop).await?;
        }
    }
    for table in EVERYWHERE.into_iter().filter(|table| is_local(table)) {
        let create = format!("SELECT create_reference_table('{table}')");
        transaction.execute_unprepared(&create).await?;
    }
    for table in BY_ORGANIZATION.into_iter().filter(|table| is_local(table)) {
        let beside = if table == FIRST { "none" } else { FIRST };
        let create =
            format!("SELECT create_distributed_table('{table}', 'organization_id', colocate_with => '{beside}')");
        transaction.execute_unprepared(&create).await?;
    }
    Ok(())
}

async fn has_citus(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(false);
    }
    let find = Statement::from_string(
        DbBackend::Postgres,
        "SELECT 1 FROM pg_extension WHERE extname = 'citus'",
    );
    Ok(db.query_one_raw(find).await?.is_some())
}

async fn placements(db: &impl ConnectionTrait) -> Result<Vec<TablePlacement>, DbErr> {
    let tables: Vec<String> = EVERYWHERE
        .into_iter()
        .chain(BY_ORGANIZATION)
        .map(str::to_owned)
        .collect();
    let find = Statement::from_sql_and_values(DbBackend::Postgres, PLACEMENTS, [tables.into()]);
    TablePlacement::find_by_statement(find).all(db).await
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// The words after each occurrence of `before` in the migrations for PostgreSQL.
    fn words_after(before: &str) -> Vec<Vec<String>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/src");
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).expect("the steps") {
            let path = entry.expect("a step").path().join("postgres.sql");
            let Ok(sql) = fs::read_to_string(path) else { continue };
            let after = sql.split(before).skip(1);
            found.extend(after.map(|text| text.split_whitespace().take(20).map(str::to_owned).collect()));
        }
        found
    }

    #[test]
    fn every_table_has_its_place() {
        let mut created: Vec<_> = words_after("CREATE TABLE ")
            .into_iter()
            .map(|words| words[0].clone())
            .collect();
        created.sort_unstable();
        let mut placed: Vec<_> = EVERYWHERE.into_iter().chain(BY_ORGANIZATION).collect();
        placed.sort_unstable();
        assert_eq!(created, placed, "a new table is distributed, too");
    }

    #[test]
    fn no_trigger_stays() {
        let mut created: Vec<_> = words_after("CREATE TRIGGER ")
            .into_iter()
            .map(|words| {
                let on = words.iter().position(|word| word == "ON").expect("a table");
                (words[0].clone(), words[on + 1].clone())
            })
            .collect();
        created.sort_unstable();
        let mut dropped = TRIGGERS.map(|(trigger, table)| (trigger.to_owned(), table.to_owned()));
        dropped.sort_unstable();
        assert_eq!(created, dropped, "Citus supports no trigger on a distributed table");
    }
}
