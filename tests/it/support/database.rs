//! A private, migrated database for each test.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use device_assignment::storage::{Database, DatabaseUrl, migrate};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, Statement, sqlx::Executor as _};
use tempfile::TempDir;

use super::{citus, postgres::PostgresServer};

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

static SHARED: OnceLock<Result<PostgresServer, String>> = OnceLock::new();
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Starts the server that the tests share, and makes the migrated template that their databases are copied from. Called
/// once, on the main thread: the server ends with the thread that starts it.
pub fn prepare_postgres() {
    let server = PostgresServer::start_shared().inspect(|server| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let template = template();
            if citus::is_used() {
                return citus::prepare_template(&template).await;
            }
            admin(server, &format!("CREATE DATABASE {template}")).await;
            let url = DatabaseUrl::parse(&server.url(&template)).expect("a URL");
            let database = Database::open(url).await.expect("a database");
            migrate(&database).await.expect("a migrated template");
            database.close().await;
        });
    });
    assert!(SHARED.set(server).is_ok(), "PostgreSQL is prepared once");
}

/// Why PostgreSQL cannot be tested with, if so.
pub fn postgres_missing() -> Option<&'static str> {
    SHARED.get().expect("prepared").as_ref().err().map(String::as_str)
}

/// Drops what [`prepare_postgres`] made.
pub fn clean_up_postgres() {
    if let Some(Ok(server)) = SHARED.get() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(drop(server, &template()));
        // A static is not dropped.
        server.stop();
    }
}

fn template() -> String {
    format!("template_{}", std::process::id())
}

fn shared() -> &'static PostgresServer {
    SHARED.get().expect("prepared").as_ref().expect("a PostgreSQL server")
}

/// Creates a database, on Citus on every server.
async fn create(server: &PostgresServer, name: &str, options: &str) {
    if citus::is_used() {
        citus::create(name, options).await;
    } else {
        admin(server, &format!("CREATE DATABASE {name} {options}")).await;
    }
}

/// Drops a database, on Citus on every server.
async fn drop(server: &PostgresServer, name: &str) {
    if citus::is_used() {
        citus::remove(name).await;
    } else {
        admin(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }
}

async fn admin(server: &PostgresServer, sql: &str) {
    let connection = connect(server.admin_url()).await;
    connection.execute_unprepared(sql).await.expect(sql);
    connection.close().await.expect("closed");
}

/// A pool that no task looks after: that of the driver can spin for ever (see `connect` of the storage).
pub async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options
        .idle_timeout(None)
        .max_lifetime(None)
        .map_sqlx_postgres_opts(|options| options.extra_float_digits(None))
        // The fence of the schema rejects writes past the change log from anybody else.
        .map_sqlx_postgres_pool_opts(|pool| {
            pool.after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute("SET device_assignment.log = 'on'").await?;
                    Ok(())
                })
            })
        });
    sea_orm::Database::connect(options).await.expect("a connection")
}

/// A database of its own, empty but for the schema; dropped when the test ends.
pub struct TestDatabase {
    pub kind: Kind,
    url: String,
    name: String,
    folder: Option<PathBuf>,
}

impl TestDatabase {
    pub async fn create(kind: Kind) -> Self {
        let database = Self::create_without_schema(kind).await;
        if kind == Kind::Sqlite {
            migrate(&database.open().await).await.expect("a migrated database");
        }
        database
    }

    /// On PostgreSQL, with the schema all the same: it is copied from a template.
    async fn create_without_schema(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => Self::empty(kind).await,
            Kind::Postgres => Self::on_shared(&format!("TEMPLATE {}", template())).await,
        }
    }

    /// A database that has not even a schema.
    pub async fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                let folder = TempDir::with_prefix("sqlite-").expect("a folder").keep();
                let path = folder.join("test.db");
                Self {
                    kind,
                    url: format!("sqlite://{}?mode=rwc", path.display()),
                    name: String::new(),
                    folder: Some(folder),
                }
            }
            Kind::Postgres => Self::on_shared("").await,
        }
    }

    async fn on_shared(options: &str) -> Self {
        let database = Self::to_be_created();
        create(shared(), &database.name, options).await;
        database
    }

    /// One on PostgreSQL that the test has yet to create, by its name.
    pub fn to_be_created() -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        Self {
            kind: Kind::Postgres,
            url: shared().url(&name),
            name,
            folder: None,
        }
    }

    /// A migrated database on a server of the test's own.
    pub async fn on(server: &PostgresServer) -> Self {
        let name = "durable".to_owned();
        admin(server, &format!("CREATE DATABASE {name}")).await;
        let database = Self::at(Kind::Postgres, server.url(&name));
        migrate(&database.open().await).await.expect("a migrated database");
        database
    }

    /// The same database on a copy of its server.
    pub fn copy_on(&self, server: &PostgresServer) -> Self {
        let base = self.url.split_once('?').map_or(self.url.as_str(), |(base, _)| base);
        let (_, name) = base.rsplit_once('/').expect("a name");
        Self::at(self.kind, server.url(name))
    }

    /// A database that exists. [`remove`](Self::remove) leaves it there.
    pub fn at(kind: Kind, url: String) -> Self {
        Self {
            kind,
            url,
            name: String::new(),
            folder: None,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database as the service has it.
    pub async fn open(&self) -> Database {
        Database::open(DatabaseUrl::parse(&self.url).expect("a URL"))
            .await
            .expect("a database")
    }

    /// A plain connection, to look behind the service.
    pub async fn connect(&self) -> DatabaseConnection {
        connect(&self.url).await
    }

    /// Every row of every table, in a fixed order.
    pub async fn dump(&self) -> String {
        self.dump_of(&[
            ("organization", "id, name", "id"),
            ("api_key", "organization_id, id, label", "id"),
            (
                "customer",
                "organization_id, id, phone, address, metadata, email, name",
                "id",
            ),
            (
                "device",
                "organization_id, id, properties, identifier, device_type",
                "id",
            ),
            (
                "device_assignment",
                "organization_id, customer_id, device_id",
                "1, 2, 3",
            ),
        ])
        .await
    }

    /// Every row of these tables, each with its columns and their order.
    pub async fn dump_of(&self, tables: &[(&str, &str, &str)]) -> String {
        let connection = self.connect().await;
        let mut dump = String::new();
        for (table, columns, order) in tables {
            let sql = format!("SELECT {columns} FROM {table} ORDER BY {order}");
            for row in connection.query_all_raw(self.statement(&sql)).await.expect(&sql) {
                write!(dump, "{table}").expect("a string");
                for column in columns.split(", ") {
                    let value = match row.try_get::<String>("", column) {
                        Ok(text) => text,
                        Err(_) => row
                            .try_get::<sea_orm::prelude::Uuid>("", column)
                            .expect(column)
                            .to_string(),
                    };
                    write!(dump, " {value}").expect("a string");
                }
                dump.push('\n');
            }
        }
        connection.close().await.expect("closed");
        dump
    }

    /// One number from the database.
    pub async fn number(&self, sql: &str) -> i64 {
        let connection = self.connect().await;
        let row = connection
            .query_one_raw(self.statement(sql))
            .await
            .expect(sql)
            .expect("a row");
        let number = row.try_get_by_index(0).expect("a number");
        connection.close().await.expect("closed");
        number
    }

    /// The rows that `sql` finds.
    pub async fn rows(&self, sql: &str) -> Vec<sea_orm::QueryResult> {
        let connection = self.connect().await;
        let rows = connection.query_all_raw(self.statement(sql)).await.expect(sql);
        connection.close().await.expect("closed");
        rows
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}")).await
    }

    pub fn statement(&self, sql: &str) -> Statement {
        Statement::from_string(self.backend(), sql)
    }

    pub fn backend(&self) -> DbBackend {
        match self.kind {
            Kind::Sqlite => DbBackend::Sqlite,
            Kind::Postgres => DbBackend::Postgres,
        }
    }

    /// Removes it. Not done by dropping, because a test that fails leaves its database to be looked at.
    pub async fn remove(&self) {
        if let Some(folder) = &self.folder {
            fs::remove_dir_all(folder).expect("a folder to remove");
        }
        if !self.name.is_empty() {
            drop(shared(), &self.name).await;
        }
    }
}

/// Whether a missing PostgreSQL is a failure.
pub fn postgres_required() -> bool {
    env::var("REQUIRE_POSTGRES").is_ok_and(|value| value == "1")
}
