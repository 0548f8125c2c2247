//! The data that is stored before the measurements: organizations with devices and customers. Their names follow from their
//! numbers, so that the load generator needs no list.

use device_assignment::{
    domain::{
        api_key::Scope,
        organization::{ApiKeyLabel, OrganizationName},
    },
    service::{create_api_key, create_organization},
    storage::{Database, DatabaseUrl, Purpose},
};
use indicatif::{ProgressBar, ProgressStyle};
use sea_orm::{
    ConnectionTrait, DbBackend, Statement,
    sqlx::{self, AssertSqlSafe, ConnectOptions as _, Connection as _},
};
use serde::{Deserialize, Serialize};

/// Rows per statement: large enough to be fast, small enough for a progress bar that moves.
const CHUNK: u64 = 20_000;
/// Devices that each customer of [`Work::Noop`](crate::generator::Work::Noop) and
/// [`Work::Unassign`](crate::generator::Work::Unassign) owns.
pub const OWNED: u64 = 3;

/// The amount of data.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sizes {
    pub organizations: u64,
    pub devices: u64,
    pub customers: u64,
}

impl Sizes {
    pub fn devices_each(self) -> u64 {
        self.devices / self.organizations
    }

    pub fn customers_each(self) -> u64 {
        self.customers / self.organizations
    }
}

pub fn identifier(device: u64) -> String {
    format!("SN-{device}")
}

pub fn email(customer: u64) -> String {
    format!("customer-{customer}@example.com")
}

/// The device that a customer owns from the start.
pub fn owned(sizes: Sizes, customer: u64, which: u64) -> u64 {
    (customer * OWNED + which) % sizes.devices_each()
}

/// An organization and a key to call with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Organization {
    pub id: String,
    pub key: String,
}

/// Fills an empty database.
pub async fn seed(database: &Database, sizes: Sizes) -> Vec<Organization> {
    let mut organizations = Vec::new();
    for number in 0..sizes.organizations {
        let name = OrganizationName::parse(&format!("organization-{number}")).expect("a name");
        let label = ApiKeyLabel::parse("benchmark").expect("a label");
        let organization = create_organization(database, &name).await.expect("an organization");
        let key = create_api_key(database, name.as_str(), &label, Scope::Write, None)
            .await
            .expect("a key");
        organizations.push(Organization {
            id: organization.id.uuid().to_string(),
            key: key.secret.reveal().to_owned(),
        });
    }
    for organization in &organizations {
        fill(database, &organization.id, "device", 0, sizes.devices_each()).await;
        fill(database, &organization.id, "customer", 0, sizes.customers_each()).await;
    }
    organizations
}

/// Creates the devices or customers of an organization whose numbers are `from` to `to`.
pub async fn fill(database: &Database, organization: &str, table: &str, from: u64, to: u64) {
    let bar = ProgressBar::new(to - from).with_message(format!("{table}s"));
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {human_pos}/{human_len} {eta}") {
        bar.set_style(style);
    }
    let connection = database.reads();
    let backend = connection.get_database_backend();
    // Ids in order, as those of the service are: version 7 begins with the time.
    let sql = match (backend, table) {
        (DbBackend::Postgres, "device") => {
            "INSERT INTO device (organization_id, id, identifier, device_type, created_at) \
             SELECT $1::uuid, ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, \
             'SN-' || n, 'sensor', now() FROM generate_series($2::bigint, $3::bigint - 1) n"
        }
        (DbBackend::Postgres, _) => {
            "INSERT INTO customer (organization_id, id, email, name, created_at) \
             SELECT $1::uuid, ('01900000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, \
             'customer-' || n || '@example.com', 'customer-' || n, now() \
             FROM generate_series($2::bigint, $3::bigint - 1) n"
        }
        (_, "device") => {
            "WITH RECURSIVE s(n) AS (SELECT ?2 UNION ALL SELECT n + 1 FROM s WHERE n + 1 < ?3) \
             INSERT INTO device (organization_id, id, identifier, device_type, created_at) \
             SELECT unhex(?1, '-'), unhex('01900000000070008000' || printf('%012x', n)), \
             'SN-' || n, 'sensor', '2026-01-01T00:00:00Z' FROM s"
        }
        _ => {
            "WITH RECURSIVE s(n) AS (SELECT ?2 UNION ALL SELECT n + 1 FROM s WHERE n + 1 < ?3) \
             INSERT INTO customer (organization_id, id, email, name, created_at) \
             SELECT unhex(?1, '-'), unhex('01900000000070009000' || printf('%012x', n)), \
             'customer-' || n || '@example.com', 'customer-' || n, '2026-01-01T00:00:00Z' FROM s"
        }
    };
    let mut next = from;
    while next < to {
        let end = (next + CHUNK).min(to);
        let number = |number: u64| i64::try_from(number).expect("a row number").into();
        let values = [organization.into(), number(next), number(end)];
        let statement = Statement::from_sql_and_values(backend, sql, values);
        connection.execute_raw(statement).await.expect("seeded");
        bar.inc(end - next);
        next = end;
    }
    bar.finish_and_clear();
}

/// Gives each customer the devices that [`owned`] names, unless it has them. The change log does not know: a benchmark never
/// replays it. On PostgreSQL.
pub async fn own(database: &Database, organizations: &[Organization], sizes: Sizes) {
    let (customers, devices) = (sizes.customers_each(), sizes.devices_each());
    for Organization { id, .. } in organizations {
        let sql = format!(
            "INSERT INTO device_assignment \
             SELECT '{id}'::uuid, ('01900000-0000-7000-9000-' || lpad(to_hex(c), 12, '0'))::uuid, \
             ('01900000-0000-7000-8000-' || lpad(to_hex((c * {OWNED} + w) % {devices}), 12, '0'))::uuid, now() \
             FROM generate_series(0, {customers} - 1) AS c, generate_series(0, {OWNED} - 1) AS w ON CONFLICT DO NOTHING"
        );
        execute(database.url(), sql).await;
    }
}

/// Runs statements that may take longer than those of the service.
pub async fn execute(url: &DatabaseUrl, sql: String) {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql));
    if url.is_sqlite() {
        let options = url.sqlite_options(Purpose::Schema).expect("options");
        let mut connection = options.connect().await.expect("a connection");
        sql.execute(&mut connection).await.expect("executed");
        connection.close().await.expect("closed");
    } else {
        let connection = url.connect_to_postgres(Purpose::Schema).await;
        let mut connection = connection.expect("a connection");
        sql.execute(&mut connection).await.expect("executed");
        connection.close().await.expect("closed");
    }
}
