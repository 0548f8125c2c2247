//! The limit of the database: the same calls without the service, each as a transaction with the best possible statement.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use device_assignment::storage::{Database, Purpose};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{
    prelude::Uuid,
    sqlx::{self, ConnectOptions as _, Connection, PgConnection, Row as _, SqliteConnection},
};

use crate::world::{self, Organization, Sizes};

/// A small call of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Assigns three devices to a customer.
    Assign,
    /// Removes the three devices that a customer owns from the start.
    Unassign,
    /// Transfers the three devices that a customer owns from the start to another one.
    Transfer,
}

/// Calls per second of pgbench, which runs the small call as one prepared statement.
pub fn pgbench(
    folder: &Path,
    url: &str,
    organizations: &[Organization],
    sizes: Sizes,
    call: Call,
    connections: usize,
    duration: Duration,
) -> f64 {
    let mut command = Command::new("pgbench");
    command.args(["--no-vacuum", "--protocol=prepared"]);
    command
        .arg(format!("--client={connections}"))
        .arg(format!("--jobs={}", connections.min(2)));
    command.arg(format!("--time={}", duration.as_secs().max(1)));
    for (number, organization) in organizations.iter().enumerate() {
        let script = folder.join(format!("small-{number}.sql"));
        fs::write(&script, small_call(call, &organization.id, sizes)).expect("a script");
        command.arg("--file").arg(script);
    }
    // libpq does not know all parameters of the service's driver; both know those of a benchmark.
    let output = command.arg(url).output().expect("pgbench runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
    rate.and_then(|rest| rest.split(' ').next())
        .and_then(|rate| rate.parse().ok())
        .unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn small_call(call: Call, organization: &str, sizes: Sizes) -> String {
    let customers = sizes.customers_each() - 1;
    let devices = sizes.devices_each();
    let device = |which: u64| match call {
        Call::Assign => format!("\\set d{which} random(0, {})\n", devices - 1),
        // As `world::owned`.
        Call::Unassign => format!("\\set d{which} (:c * {} + {which}) % {devices}\n", world::OWNED),
        Call::Transfer => format!("\\set d{which} (:owner * {} + {which}) % {devices}\n", world::OWNED),
    };
    let mut chosen: String = (0..world::OWNED).map(device).collect();
    if call == Call::Transfer {
        chosen.insert_str(0, &format!("\\set owner random(0, {customers})\n"));
    }
    let find = format!(
        "c AS (SELECT id FROM customer WHERE organization_id = '{organization}' \
         AND email = 'customer-' || :c || '@example.com'), \
         d AS (SELECT id, identifier FROM device WHERE organization_id = '{organization}' \
         AND identifier IN ('SN-' || :d0, 'SN-' || :d1, 'SN-' || :d2)), "
    );
    let write = match call {
        Call::Assign => format!(
            "a AS (INSERT INTO device_assignment SELECT '{organization}', c.id, d.id, now() FROM c, d \
             ON CONFLICT DO NOTHING RETURNING device_id)"
        ),
        Call::Unassign => format!(
            "a AS (DELETE FROM device_assignment AS owned USING c, d WHERE owned.organization_id = '{organization}' \
             AND owned.customer_id = c.id AND owned.device_id = d.id RETURNING owned.device_id)"
        ),
        Call::Transfer => format!(
            "o AS (DELETE FROM device_assignment AS owned USING c, d WHERE owned.organization_id = '{organization}' \
             AND owned.device_id = d.id AND owned.customer_id <> c.id), \
             a AS (INSERT INTO device_assignment SELECT '{organization}', c.id, d.id, now() FROM c, d \
             ON CONFLICT DO NOTHING RETURNING device_id)"
        ),
    };
    format!(
        "\\set c random(0, {customers})\n{chosen}WITH {find}{write} \
         SELECT c.id, d.id, d.identifier, EXISTS (SELECT FROM a WHERE a.device_id = d.id) FROM c, d;\n"
    )
}

/// Calls per second of one connection that runs calls of `count` known devices, each as a transaction.
pub async fn raw(
    database: &Database,
    organizations: &[Organization],
    sizes: Sizes,
    count: u64,
    duration: Duration,
    seed: u64,
) -> f64 {
    let url = database.url();
    let mut connection = if url.is_sqlite() {
        let options = url.sqlite_options(Purpose::Writes).expect("options");
        Raw::Sqlite(options.connect().await.expect("a connection"))
    } else {
        let connection = url.connect_to_postgres(Purpose::Writes).await;
        Raw::Postgres(connection.expect("a connection"))
    };
    let mut random = StdRng::seed_from_u64(seed);
    let start = Instant::now();
    let mut calls = 0_u32;
    while start.elapsed() < duration {
        let organization: Uuid = organizations[random.random_range(0..organizations.len())]
            .id
            .parse()
            .expect("an id");
        let email = world::email(random.random_range(0..sizes.customers_each()));
        let identifiers: Vec<String> = (0..count)
            .map(|_| world::identifier(random.random_range(0..sizes.devices_each())))
            .collect();
        match &mut connection {
            Raw::Postgres(connection) => postgres_call(connection, organization, email, identifiers).await,
            Raw::Sqlite(connection) => sqlite_call(connection, organization, email, &identifiers).await,
        }
        .expect("carried out");
        calls += 1;
    }
    let rate = f64::from(calls) / start.elapsed().as_secs_f64();
    match connection {
        Raw::Postgres(connection) => connection.close().await,
        Raw::Sqlite(connection) => connection.close().await,
    }
    .expect("closed");
    rate
}

/// What is read by hand, each call as one statement.
#[derive(Debug, Clone, Copy)]
pub enum Read {
    /// The owners of this many devices.
    Owners(u64),
    /// The devices of a customer.
    Devices,
    /// A page of all devices, each page after the one before.
    DevicePage,
    /// A page of all customers, likewise.
    CustomerPage,
}

/// The rows of a page by hand: one more than the service lists by default, to know whether another page follows.
const PAGE: usize = 101;

impl Read {
    const fn sql(self) -> &'static str {
        match self {
            Self::Owners(_) => {
                "SELECT d.identifier, d.id, d.device_type, c.id, c.email, a.created_at FROM device AS d \
                 LEFT JOIN device_assignment AS a ON a.organization_id = d.organization_id AND a.device_id = d.id \
                 LEFT JOIN customer AS c ON c.organization_id = a.organization_id AND c.id = a.customer_id \
                 WHERE d.organization_id = $1 AND d.identifier = ANY($2)"
            }
            Self::Devices => {
                "SELECT d.identifier, d.id, d.device_type, c.id, c.email, a.created_at FROM customer AS c \
                 JOIN device_assignment AS a ON a.organization_id = c.organization_id AND a.customer_id = c.id \
                 JOIN device AS d ON d.organization_id = a.organization_id AND d.id = a.device_id \
                 WHERE c.organization_id = $1 AND c.email = ANY($2) ORDER BY a.device_id LIMIT 101"
            }
            Self::DevicePage => {
                "SELECT identifier, id, device_type, created_at FROM device \
                 WHERE organization_id = $1 AND identifier > $2 ORDER BY identifier LIMIT 101"
            }
            Self::CustomerPage => {
                "SELECT id, email, name, phone, created_at FROM customer \
                 WHERE organization_id = $1 AND id > $2 ORDER BY id LIMIT 101"
            }
        }
    }
}

/// Reads per second of PostgreSQL over this many connections, which one thread serves, as one serves the load generator.
pub async fn reads(
    database: &Database,
    organizations: &[Organization],
    sizes: Sizes,
    read: Read,
    connections: usize,
    duration: Duration,
    seed: u64,
) -> f64 {
    let mut opened = Vec::new();
    for _ in 0..connections {
        let connection = database.url().connect_to_postgres(Purpose::Writes).await;
        opened.push(connection.expect("a connection"));
    }
    let start = Instant::now();
    let readers = opened.into_iter().zip(seed..).map(|(mut connection, seed)| async move {
        let mut random = StdRng::seed_from_u64(seed);
        let mut calls = 0_u32;
        // Where the next page of each organization begins.
        let mut after: Vec<(String, Uuid)> = vec![Default::default(); organizations.len()];
        while start.elapsed() < duration {
            let number = random.random_range(0..organizations.len());
            let organization: Uuid = organizations[number].id.parse().expect("an id");
            let query = sqlx::query(read.sql()).bind(organization);
            let query = match read {
                Read::Owners(count) => {
                    let devices = (0..count).map(|_| random.random_range(0..sizes.devices_each()));
                    query.bind(devices.map(world::identifier).collect::<Vec<_>>())
                }
                Read::Devices => query.bind(vec![world::email(random.random_range(0..sizes.customers_each()))]),
                Read::DevicePage => query.bind(after[number].0.clone()),
                Read::CustomerPage => query.bind(after[number].1),
            };
            let rows = query.fetch_all(&mut connection).await.expect("read");
            if matches!(read, Read::DevicePage | Read::CustomerPage) {
                let last = (rows.len() == PAGE).then(|| &rows[PAGE - 2]);
                after[number] = match (read, last) {
                    (Read::DevicePage, Some(last)) => (last.get("identifier"), Uuid::nil()),
                    (_, Some(last)) => (String::new(), last.get("id")),
                    (_, None) => Default::default(),
                };
            }
            calls += 1;
        }
        connection.close().await.expect("closed");
        calls
    });
    let calls: u32 = futures_util::future::join_all(readers).await.into_iter().sum();
    f64::from(calls) / start.elapsed().as_secs_f64()
}

/// A plain connection of the driver.
enum Raw {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// One statement, which is one transaction. It returns the found rows and then the new ones: a join would be planned as a
/// nested loop.
async fn postgres_call(
    connection: &mut PgConnection,
    organization: Uuid,
    email: String,
    identifiers: Vec<String>,
) -> Result<(), sqlx::Error> {
    let sql = "WITH c AS (SELECT id FROM customer WHERE organization_id = $1 AND email = $2), \
               d AS (SELECT id, identifier FROM device WHERE organization_id = $1 AND identifier = ANY($3)), \
               a AS (INSERT INTO device_assignment SELECT $1, c.id, d.id, now() FROM c, d \
               ON CONFLICT DO NOTHING RETURNING device_id) \
               SELECT id, identifier FROM d UNION ALL SELECT device_id, NULL FROM a";
    let query = sqlx::query_as(sql).bind(organization).bind(email).bind(identifiers);
    let _: Vec<(Uuid, Option<String>)> = query.fetch_all(connection).await?;
    Ok(())
}

/// The same in one transaction of three statements: SQLite cannot insert within a query.
async fn sqlite_call(
    connection: &mut SqliteConnection,
    organization: Uuid,
    email: String,
    identifiers: &[String],
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let customer = "SELECT id FROM customer WHERE organization_id = ?1 AND email = ?2";
    let customer: (Uuid,) = sqlx::query_as(customer)
        .bind(organization)
        .bind(email)
        .fetch_one(&mut *transaction)
        .await?;
    let identifiers = serde_json::to_string(identifiers).expect("JSON");
    let devices = "SELECT device.id, device.identifier FROM json_each(?2) AS row CROSS JOIN device \
                   ON device.organization_id = ?1 AND device.identifier = row.value";
    let _: Vec<(Uuid, String)> = sqlx::query_as(devices)
        .bind(organization)
        .bind(&identifiers)
        .fetch_all(&mut *transaction)
        .await?;
    let insert = "INSERT INTO device_assignment SELECT ?1, ?2, device.id, '2026-01-01T00:00:00Z' \
                  FROM json_each(?3) AS row CROSS JOIN device \
                  ON device.organization_id = ?1 AND device.identifier = row.value WHERE true \
                  ON CONFLICT DO NOTHING";
    sqlx::query(insert)
        .bind(organization)
        .bind(customer.0)
        .bind(&identifiers)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}
