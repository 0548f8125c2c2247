//! Pages in messages.

use prost::Message;
use tonic::{Response, Status};

use super::{revision::response_at, status::to_status};
use crate::{
    domain::{
        Error,
        page::{Page, PageFields},
    },
    service::ReadAt,
};

/// The fields of a request for a page.
pub(super) fn fields(size: i32, token: String, min_revision: u64) -> PageFields {
    PageFields {
        size,
        token,
        min_revision,
    }
}

/// The response with a page: `entry` makes the message of an entry, and `response` that of the page.
pub(super) fn respond<T, E, M>(
    page: Result<ReadAt<Page<T>>, Error>,
    entry: impl Fn(T) -> Result<E, Error>,
    response: impl FnOnce(Vec<E>, String, u64) -> M,
) -> Result<Response<M>, Status>
where
    E: Message,
{
    let answered = page.and_then(|ReadAt { value: page, revision }| {
        let entries = page.entries.into_iter().map(entry).collect::<Result<_, _>>()?;
        let message = response(entries, page.next_token, revision.number());
        Ok(response_at(revision, message))
    });
    answered.map_err(|error| to_status(&error))
}
