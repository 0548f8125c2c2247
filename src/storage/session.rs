//! A connection that one task keeps over several statements. A pool would ask the server after each of them whether the
//! connection still lives, which costs a small call as much as the statement itself.

use sea_orm::{
    DatabaseConnection, DbBackend,
    sqlx::{
        self, Connection, Database, FromRow, Postgres, Sqlite, Transaction,
        pool::PoolConnection,
        postgres::{PgArguments, PgRow},
        sqlite::{SqliteArguments, SqliteRow},
    },
};

use super::{
    Failure,
    observed::{BEGIN, COMMIT, POSTGRES, SQLITE, System},
    sql::Statement,
};

/// A connection, until it is dropped.
pub(super) enum Session {
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

/// Why none of several writes happened.
#[derive(Debug)]
pub(super) struct Refused {
    /// The position of the one that failed, if it was one of them.
    pub(super) position: Option<usize>,
    pub(super) failure: Failure,
}

impl Session {
    /// Takes a connection of `pool`, and makes it when it is not there.
    pub(super) async fn take(pool: &DatabaseConnection) -> Result<Self, Failure> {
        Ok(match pool.get_database_backend() {
            DbBackend::Sqlite => Self::Sqlite(pool.get_sqlite_connection_pool().acquire().await?),
            _ => Self::Postgres(pool.get_postgres_connection_pool().acquire().await?),
        })
    }

    /// The rows that `statement` finds.
    pub(super) async fn rows<T>(&mut self, statement: &Statement<'_>) -> Result<Vec<T>, Failure>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let kind = statement.kind();
        Ok(match self {
            Self::Postgres(connection) => {
                let (sql, arguments) = statement.for_postgres()?;
                let query = sqlx::query_as_with(sql, arguments);
                kind.observe(POSTGRES, query.fetch_all(&mut **connection)).await?
            }
            Self::Sqlite(connection) => {
                let (sql, arguments) = statement.for_sqlite()?;
                let query = sqlx::query_as_with(sql, arguments);
                kind.observe(SQLITE, query.fetch_all(&mut **connection)).await?
            }
        })
    }

    /// Carries out `statements` in order, all or none, and says how many rows each of them wrote. Durable on return.
    ///
    /// One statement is a transaction by itself, and several are made one.
    ///
    /// # Errors
    /// When nothing happened, with one exception: when the database became unreachable during the commit, the outcome
    /// is unknown.
    pub(super) async fn write(&mut self, statements: &[Statement<'_>]) -> Result<Vec<u64>, Refused> {
        let written = match self {
            Self::Postgres(connection) => write(&mut **connection, statements).await,
            Self::Sqlite(connection) => write(&mut **connection, statements).await,
        };
        if let Err(refused) = &written
            && !matches!(refused.failure, Failure::Conflict(_))
        {
            // After a commit that failed, driver and database may not agree on whether there is a transaction.
            match self {
                Self::Postgres(connection) => connection.close_on_drop(),
                Self::Sqlite(connection) => connection.close_on_drop(),
            }
        }
        written
    }
}

async fn write<C: Writing>(connection: &mut C, statements: &[Statement<'_>]) -> Result<Vec<u64>, Refused> {
    match statements {
        [] => Ok(Vec::new()),
        [statement] => {
            let bound = C::bind(statement)?;
            match statement.kind().observe(C::SYSTEM, connection.execute(bound)).await {
                Ok(rows) => Ok(vec![rows]),
                Err(error) => Err(Refused::at(0, error)),
            }
        }
        _ => {
            let mut transaction = BEGIN.observe(C::SYSTEM, connection.start()).await?;
            let mut written = Vec::with_capacity(statements.len());
            // Not an iterator: the compiler cannot yet see that the future is `Send` when one is held.
            while let Some(statement) = statements.get(written.len()) {
                let bound = C::bind(statement)?;
                match statement.kind().observe(C::SYSTEM, transaction.execute(bound)).await {
                    Ok(rows) => written.push(rows),
                    Err(error) => {
                        roll_back(transaction).await;
                        return Err(Refused::at(written.len(), error));
                    }
                }
            }
            COMMIT.observe(C::SYSTEM, transaction.commit()).await?;
            Ok(written)
        }
    }
}

async fn roll_back<D: Database>(transaction: Transaction<'_, D>) {
    if let Err(error) = transaction.rollback().await {
        tracing::debug!(%error, "a rollback failed");
    }
}

/// What differs between the databases when something is written.
trait Writing: Connection {
    const SYSTEM: System;

    /// A statement's text and parameters.
    type Bound: Send;

    /// Begins a transaction that is going to write.
    fn start(&mut self) -> impl Future<Output = Result<Transaction<'_, Self::Database>, sqlx::Error>> + Send;

    fn bind(statement: &Statement<'_>) -> Result<Self::Bound, sqlx::Error>;

    /// Says how many rows were written.
    fn execute(&mut self, bound: Self::Bound) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;
}

impl Writing for sqlx::PgConnection {
    const SYSTEM: System = POSTGRES;

    type Bound = (&'static str, PgArguments);

    fn start(&mut self) -> impl Future<Output = Result<Transaction<'_, Postgres>, sqlx::Error>> + Send {
        self.begin()
    }

    fn bind(statement: &Statement<'_>) -> Result<Self::Bound, sqlx::Error> {
        statement.for_postgres()
    }

    async fn execute(&mut self, (sql, arguments): Self::Bound) -> Result<u64, sqlx::Error> {
        Ok(sqlx::query_with(sql, arguments).execute(self).await?.rows_affected())
    }
}

impl Writing for sqlx::SqliteConnection {
    const SYSTEM: System = SQLITE;

    type Bound = (&'static str, SqliteArguments);

    fn start(&mut self) -> impl Future<Output = Result<Transaction<'_, Sqlite>, sqlx::Error>> + Send {
        // A transaction that only later wants to write may find that it cannot, and is not made to wait.
        self.begin_with("BEGIN IMMEDIATE")
    }

    fn bind(statement: &Statement<'_>) -> Result<Self::Bound, sqlx::Error> {
        statement.for_sqlite()
    }

    async fn execute(&mut self, (sql, arguments): Self::Bound) -> Result<u64, sqlx::Error> {
        Ok(sqlx::query_with(sql, arguments).execute(self).await?.rows_affected())
    }
}

impl Refused {
    fn at(position: usize, error: sqlx::Error) -> Self {
        Self {
            position: Some(position),
            failure: error.into(),
        }
    }
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            position: None,
            failure,
        }
    }
}
