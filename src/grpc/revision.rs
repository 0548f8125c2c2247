//! The revision of the organization, in the metadata of every answer that depends on it.

use http::{HeaderName, HeaderValue};
use tonic::{Response, Status};

use super::{Admitted, status::to_status};
use crate::{
    domain::{Error, change::Revision, command::Command},
    service::Completed,
};

/// The header with the revision: after a write the revision of its change, otherwise the one that the answer was read at.
pub const REVISION_HEADER: HeaderName = HeaderName::from_static("x-revision");

/// A response with the revision of the organization.
pub(super) fn response_at<M>(revision: Revision, message: M) -> Response<M> {
    let mut response = Response::new(message);
    let headers = response.metadata_mut().as_mut();
    headers.insert(REVISION_HEADER, HeaderValue::from(revision.number()));
    response
}

impl Admitted {
    /// The response to a write, from its outcome. What the command did goes to the log line of the call.
    pub(super) fn respond<C: Command, M>(
        &self,
        completed: Result<Completed<C::Outcome>, Error>,
        message: impl FnOnce(C::Outcome) -> M,
    ) -> Result<Response<M>, Status> {
        let completed = completed.map_err(|error| to_status(&error))?;
        self.note.outcome::<C>(&completed);
        let Completed { outcome, revision, .. } = completed;
        Ok(response_at(revision, message(outcome)))
    }
}
