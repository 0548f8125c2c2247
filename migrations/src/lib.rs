//! The history of the schema: one folder for each step, with its SQL for PostgreSQL and for SQLite.
//!
//! The statements of a released step are never changed; a change of the schema is a new step at the end of the list.

use sea_orm_migration::{
    DbErr, MigrationName, MigrationTrait,
    async_trait::async_trait,
    sea_orm::{ConnectionTrait, DbBackend},
};

pub use sea_orm_migration::{MigratorTrait, SchemaManager, seaql_migrations};

/// All steps, oldest first.
#[derive(Debug)]
pub struct Migrator;

/// The step in the folder of this name.
macro_rules! step {
    ($name:literal) => {
        Box::new(Step {
            name: $name,
            postgres: include_str!(concat!($name, "/postgres.sql")),
            sqlite: include_str!(concat!($name, "/sqlite.sql")),
        })
    };
}

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            step!("m20261123_000001_create_tables"),
            step!("m20261125_000002_add_key_last_use"),
            step!("m20261125_000003_extend_device_index"),
            step!("m20261129_000004_add_key_hint"),
            step!("m20261129_000005_add_change_log"),
            step!("m20261129_000006_track_erased_origins"),
            step!("m20261129_000008_add_properties"),
            step!("m20261129_000009_add_key_scope"),
            step!("m20261129_000011_add_idempotency_keys"),
        ]
    }
}

struct Step {
    name: &'static str,
    postgres: &'static str,
    sqlite: &'static str,
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = match manager.get_database_backend() {
            DbBackend::Postgres => self.postgres,
            _ => self.sqlite,
        };
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
