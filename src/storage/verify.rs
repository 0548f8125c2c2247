//! Compares the change log with the tables.

use futures_util::{StreamExt, TryStreamExt};
use sea_orm::{ConnectionTrait, DbErr, QueryResult, StreamTrait, TryGetable};
use uuid::Uuid;

use super::{
    Database, DatabaseError,
    statements::{FIND_UNKNOWN_ORGANIZATIONS, VERIFY},
};
use crate::domain::{
    change::Revision,
    id::{CustomerId, DeviceId, OrganizationId},
};

/// A difference between the change log of an organization and its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What is wrong.
    pub problem: String,
    /// The change that it is about.
    pub revision: Option<Revision>,
    /// The customer that it is about.
    pub customer: Option<CustomerId>,
    /// The device that it is about.
    pub device: Option<DeviceId>,
}

impl Database {
    /// Replays the change log of an organization and compares the result with the tables: the database does, so that memory does
    /// not grow with the log. Calls `on_difference` for each difference, and returns how many there are.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn verify(
        &self,
        organization: OrganizationId,
        mut on_difference: impl FnMut(Difference),
    ) -> Result<u64, DatabaseError> {
        // It may take long, and needs no plan that suits single rows.
        let connection = self.schema_connection().await?;
        let statement = sea_orm::Statement::from_sql_and_values(
            connection.get_database_backend(),
            if self.url().is_sqlite() {
                VERIFY.sqlite
            } else {
                VERIFY.postgres
            },
            [organization.uuid().into()],
        );
        let mut differences = 0;
        let comparison = async {
            let mut rows = connection.stream_raw(statement).await?.map(|row| difference(&row?));
            while let Some(difference) = rows.try_next().await? {
                differences += 1;
                on_difference(difference);
            }
            Ok(())
        };
        self.while_reachable(comparison).await?;
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "closing a connection failed");
        }
        Ok(differences)
    }

    /// The tables with rows of organizations that do not exist: the name of each, and the organization.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unknown_organizations(&self) -> Result<Vec<(String, OrganizationId)>, DatabaseError> {
        let connection = self.schema_connection().await?;
        // The connection is made when it is first used.
        connection.ping().await?;
        let dialect = self.dialect();
        let sql = if self.url().is_sqlite() {
            FIND_UNKNOWN_ORGANIZATIONS.sqlite
        } else {
            FIND_UNKNOWN_ORGANIZATIONS.on_postgres(dialect)
        };
        let statement = sea_orm::Statement::from_string(connection.get_database_backend(), sql);
        let rows = async { Ok(connection.query_all_raw(statement).await?) };
        let rows = self.while_reachable(rows).await?;
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "closing a connection failed");
        }
        let owner = |row: &QueryResult| Ok((value(row, 0)?, value::<Uuid>(row, 1)?.into()));
        Ok(rows.iter().map(owner).collect::<Result<_, DbErr>>()?)
    }
}

fn difference(row: &QueryResult) -> Result<Difference, DbErr> {
    let revision: Option<i64> = value(row, 1)?;
    let (customer, device): (Option<Uuid>, Option<Uuid>) = (value(row, 2)?, value(row, 3)?);
    Ok(Difference {
        problem: value(row, 0)?,
        revision: revision.map(Revision::from_stored),
        customer: customer.map(Into::into),
        device: device.map(Into::into),
    })
}

fn value<T: TryGetable>(row: &QueryResult, column: usize) -> Result<T, DbErr> {
    row.try_get_by_index(column)
}
