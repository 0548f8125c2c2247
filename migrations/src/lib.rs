//! The history of the schema: one module a step, each with its SQL for PostgreSQL and for SQLite.
//!
//! A step that has been released is never edited; a change is a new step at the end of the list.

use sea_orm_migration::{MigrationTrait, async_trait::async_trait};

pub use sea_orm_migration::{MigratorTrait, SchemaManager, seaql_migrations};

mod m20261123_000001_create_tables;
mod m20261125_000002_add_key_last_use;
mod m20261125_000003_extend_device_index;

/// All steps, oldest first.
#[derive(Debug)]
pub struct Migrator;

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_create_tables::Migration),
            Box::new(m20261125_000002_add_key_last_use::Migration),
            Box::new(m20261125_000003_extend_device_index::Migration),
        ]
    }
}
