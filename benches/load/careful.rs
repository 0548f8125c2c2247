//! The schema that the limit is measured on: what a careful engineer writes who knows nothing of the change log. It has foreign
//! keys, and the same data as the service has.

use device_assignment::storage::{Database, DatabaseUrl};

use crate::world;

/// The schema of PostgreSQL that holds the tables: in the same database, so that a given one is enough.
const SCHEMA: &str = "careful";

const POSTGRES: &str = "\
    CREATE SCHEMA careful;
    CREATE TABLE careful.organization (LIKE organization INCLUDING ALL);
    CREATE TABLE careful.customer (LIKE customer INCLUDING ALL);
    CREATE TABLE careful.device (LIKE device INCLUDING ALL);
    CREATE TABLE careful.device_assignment (LIKE device_assignment INCLUDING ALL);
    INSERT INTO careful.organization SELECT * FROM organization;
    INSERT INTO careful.customer SELECT * FROM customer ORDER BY organization_id, id;
    INSERT INTO careful.device SELECT * FROM device ORDER BY organization_id, id;
    ALTER TABLE careful.customer ADD FOREIGN KEY (organization_id) REFERENCES careful.organization (id);
    ALTER TABLE careful.device ADD FOREIGN KEY (organization_id) REFERENCES careful.organization (id);
    ALTER TABLE careful.device_assignment
        ADD FOREIGN KEY (organization_id, customer_id) REFERENCES careful.customer (organization_id, id),
        ADD FOREIGN KEY (organization_id, device_id) REFERENCES careful.device (organization_id, id);";

/// SQLite adds a foreign key only with its table.
const SQLITE: &str = "\
    DROP TABLE change_log;
    DROP TABLE history;
    DROP TABLE device_assignment;
    CREATE TABLE device_assignment (
        organization_id  BLOB NOT NULL,
        customer_id      BLOB NOT NULL,
        device_id        BLOB NOT NULL,
        created_at       TEXT NOT NULL,
        PRIMARY KEY (organization_id, customer_id, device_id),
        FOREIGN KEY (organization_id, customer_id) REFERENCES customer (organization_id, id),
        FOREIGN KEY (organization_id, device_id) REFERENCES device (organization_id, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX device_assignment_device ON device_assignment (organization_id, device_id);";

/// The database of the limit.
pub struct Careful {
    pub database: Database,
    pub url: String,
}

impl Careful {
    /// Copies the organizations, customers and devices of the service, which has no assignments yet.
    pub async fn copy_of(database: &Database, url: &str) -> Self {
        let url = if database.url().is_sqlite() {
            let (path, mode) = url.split_once('?').expect("a mode");
            let copy = format!("{path}.careful");
            let into = format!("VACUUM INTO '{}'", copy.trim_start_matches("sqlite://"));
            world::execute(database.url(), into).await;
            format!("{copy}?{mode}")
        } else {
            world::execute(database.url(), POSTGRES.to_owned()).await;
            let separator = if url.contains('?') { '&' } else { '?' };
            format!("{url}{separator}options=-csearch_path%3D{SCHEMA}")
        };
        let careful = Database::open(DatabaseUrl::parse(&url).expect("a URL"));
        let careful = careful.await.expect("a database");
        if careful.url().is_sqlite() {
            world::execute(careful.url(), SQLITE.to_owned()).await;
        }
        Self { database: careful, url }
    }
}
