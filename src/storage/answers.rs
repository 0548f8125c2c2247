//! The stored answers of calls with an idempotency key.

use std::collections::HashMap;

use sea_orm::DbErr;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    DatabaseError,
    backend::Backend,
    citus::Dialect,
    sql::{Column, Scalar},
    statements::{ERASE_ANSWERS, FIND_ANSWERS, INSERT_ANSWERS},
    write_connection::{execute, rows},
};
use crate::domain::{
    answers::StoredAnswer,
    change::Revision,
    id::{CustomerId, OrganizationId},
    idempotency::{KEPT_FOR, KeyDigest, NewAnswer},
};

/// A row of the result of [`FIND_ANSWERS`]: the key, the hash of the request, the revision, and the message, which is empty if it was
/// erased. No answer is empty.
type Row = (Vec<u8>, Vec<u8>, i64, Vec<u8>);

/// Reads the answers that are stored for these keys.
pub(super) async fn find_answers<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
    keys: &[KeyDigest],
) -> Result<HashMap<KeyDigest, StoredAnswer>, DatabaseError> {
    let scalars = [Scalar::Id(organization.uuid()), Scalar::Time(now())];
    let statement = FIND_ANSWERS.bind(
        scalars,
        [Column::Bytes(keys.iter().map(<[u8; 32]>::as_slice).collect())],
    );
    let rows: Vec<Row> = rows::<B, _>(connection, &statement).await?;
    let answers = rows.into_iter().map(|(key, request, revision, message)| {
        let answer = StoredAnswer {
            request: digest(&request)?,
            revision: Revision::from_stored(revision),
            message: (!message.is_empty()).then_some(message),
        };
        Ok((digest(&key)?, answer))
    });
    answers.collect()
}

fn digest(bytes: &[u8]) -> Result<[u8; 32], DatabaseError> {
    bytes
        .try_into()
        .map_err(|_| DatabaseError::Fault(DbErr::Custom("a stored digest does not have 32 bytes".to_owned())))
}

/// Stores `answers`, whose group was applied to revision `head`.
///
/// # Errors
/// [`DatabaseError::Conflict`] if somebody else has stored one of the keys since.
pub(super) async fn write_answers<B: Backend>(
    connection: &mut B::Connection,
    dialect: Dialect,
    organization: OrganizationId,
    answers: &[NewAnswer],
    head: Revision,
) -> Result<(), DatabaseError> {
    if answers.is_empty() {
        return Ok(());
    }
    let now = now();
    let scalars = [
        Scalar::Id(organization.uuid()),
        Scalar::Time(now),
        Scalar::Time(now + KEPT_FOR),
    ];
    let ids = |answer: &NewAnswer| answer.customers.iter().map(|customer| customer.uuid()).collect();
    let statement = INSERT_ANSWERS.bind(
        scalars,
        [
            Column::Bytes(answers.iter().map(|answer| answer.key.digest.as_slice()).collect()),
            Column::Bytes(answers.iter().map(|answer| answer.key.request.as_slice()).collect()),
            Column::Revisions(
                answers
                    .iter()
                    .map(|answer| head.after(answer.changes).to_stored())
                    .collect(),
            ),
            Column::Bytes(
                answers
                    .iter()
                    .map(|answer| answer.message.as_deref().unwrap_or_default())
                    .collect(),
            ),
            Column::IdLists(answers.iter().map(ids).collect()),
        ],
    );
    let written = execute::<B>(connection, &statement.on(dialect)).await?;
    if u64::try_from(answers.len()) != Ok(written) {
        let problem = "somebody else has stored the same idempotency key";
        return Err(DatabaseError::Conflict(DbErr::Custom(problem.to_owned())));
    }
    Ok(())
}

/// Erases the messages of stored answers that name one of these customers, who are erased.
pub(super) async fn erase_answers<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
    customers: &[CustomerId],
) -> Result<(), DatabaseError> {
    if customers.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = customers.iter().map(|customer| customer.uuid()).collect();
    let statement = ERASE_ANSWERS.bind([Scalar::Id(organization.uuid())], [Column::Ids(ids)]);
    execute::<B>(connection, &statement).await?;
    Ok(())
}

/// The time in whole seconds: then SQLite's texts are in the order of the times.
pub(super) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}
