//! The revision of the organization, in the metadata of every answer that depends on it.

use http::{HeaderName, HeaderValue};
use tonic::Response;

use crate::domain::change::Revision;

/// The header with the revision: after a write the revision of its change, otherwise the one that the answer was read at.
pub const REVISION_HEADER: HeaderName = HeaderName::from_static("x-revision");

/// A response with the revision of the organization.
pub(super) fn response_at<M>(revision: Revision, message: M) -> Response<M> {
    let mut response = Response::new(message);
    let headers = response.metadata_mut().as_mut();
    headers.insert(REVISION_HEADER, HeaderValue::from(revision.number()));
    response
}
