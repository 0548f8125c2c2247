//! Pages of lists, and the tokens that lead from one page to the next.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Error, Field, FieldProblem, Violations, change::Revision, id::OrganizationId};

/// How many entries a page has if the request does not say.
pub const DEFAULT_SIZE: usize = 100;
/// The most entries of a page.
pub const MAX_SIZE: usize = 1_000;

/// The most bytes of a page's texts.
const MAX_BYTES: usize = 512 * 1024;

/// The first byte of a token. A token with another one is from a version with another form.
const VERSION: u8 = 1;
const REVISION_BYTES: usize = 8;
const TAG_BYTES: usize = 16;

/// The fields with which a request asks for a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageFields {
    /// How many entries; 0 for the default.
    pub size: i32,
    /// The token of the page before; empty for the first page.
    pub token: String,
    /// The revision that the page must have or exceed.
    pub min_revision: u64,
}

/// The query that a token belongs to: another one does not accept it.
#[derive(Debug, Clone)]
pub struct ListQuery(Sha256);

impl ListQuery {
    /// The query of `call` in an organization.
    pub fn new(call: &str, organization: OrganizationId) -> Self {
        let mut hash = Sha256::new();
        hash.update(organization.uuid().as_bytes());
        Self(hash).with(call)
    }

    /// This query with another filter. Every filter counts, given or not.
    #[must_use]
    pub fn with(mut self, filter: &str) -> Self {
        // With its length, so that two filters cannot be taken for two others.
        self.0.update((filter.len() as u64).to_be_bytes());
        self.0.update(filter);
        self
    }

    fn tag(&self, token: &[u8]) -> [u8; TAG_BYTES] {
        let digest = self.0.clone().chain_update(token).finalize();
        let mut tag = [0; TAG_BYTES];
        tag.iter_mut()
            .zip(digest)
            .for_each(|(byte, of_digest)| *byte = of_digest);
        tag
    }
}

/// The position of an entry in its list. Lists are in the order of their positions, and an entry never changes its own.
pub trait Position: Sized + Clone {
    /// Its bytes in a token.
    fn to_bytes(&self) -> Vec<u8>;
    /// The position with these bytes.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// An entry of a list.
pub trait Entry {
    /// What orders the list.
    type Position: Position;
    /// Where the entry is in the list.
    fn position(&self) -> Self::Position;
    /// The length of its texts.
    fn bytes(&self) -> usize;
}

/// The id of a customer.
impl Position for Uuid {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}

/// The identifier of a device. Its id would not do: once the device is deleted, nobody knows where it was in the list.
impl Position for String {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::from_utf8(bytes.to_vec()).ok()
    }
}

/// A page to read. Valid by construction.
#[derive(Debug, Clone)]
pub struct PageRequest<P> {
    query: ListQuery,
    size: usize,
    /// Where the page before ended, and the revision of the first page.
    after: Option<(P, Revision)>,
    min_revision: Revision,
}

impl<P: Position> PageRequest<P> {
    /// Reads the fields of a request.
    ///
    /// # Errors
    /// [`Error::InvalidPageToken`] if the token is not one of this query.
    pub fn parse(fields: &PageFields, size: usize, query: ListQuery) -> Result<Self, Error> {
        let after = match fields.token.as_str() {
            "" => None,
            token => Some(read_token(token, &query).ok_or(Error::InvalidPageToken)?),
        };
        Ok(Self {
            query,
            size,
            after,
            min_revision: fields.min_revision.into(),
        })
    }

    /// The most entries of the page.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The position of the last entry of the page before.
    pub fn after(&self) -> Option<&P> {
        self.after.as_ref().map(|(position, _)| position)
    }

    /// The revision that the page must have or exceed: no page is older than the first one.
    pub fn min_revision(&self) -> Revision {
        let first = self.after.as_ref().map(|(_, first)| *first);
        self.min_revision.max(first.unwrap_or_default())
    }

    /// The page whose entries are `found`: one more than it may have shows that there is a next page. There is one, too, if the search
    /// for entries stopped before the end, or if the entries are too large for one page.
    pub fn page_of<T: Entry<Position = P>>(
        &self,
        mut found: Vec<T>,
        stopped_at: Option<P>,
        revision: Revision,
    ) -> Page<T> {
        let mut bytes = 0;
        let fit = found.iter().take(self.size).take_while(|entry| {
            // The first one always fits.
            let fits = bytes == 0 || bytes + entry.bytes() <= MAX_BYTES;
            bytes += entry.bytes();
            fits
        });
        let count = fit.count();
        let has_more = found.len() > count;
        found.truncate(count);
        let last = if has_more {
            found.last().map(Entry::position)
        } else {
            stopped_at
        };
        let next_token = last.map_or(String::new(), |last| self.next_token(&last, revision));
        Page {
            entries: found,
            next_token,
        }
    }

    /// The token of the page after this one, which was read at `revision` and ended at `last`.
    pub fn next_token(&self, last: &P, revision: Revision) -> String {
        let first = self.after.as_ref().map_or(revision, |(_, first)| *first);
        let mut token = vec![VERSION];
        token.extend(first.number().to_be_bytes());
        token.extend(last.to_bytes());
        let tag = self.query.tag(&token);
        token.extend(tag);
        URL_SAFE_NO_PAD.encode(token)
    }
}

/// The size of a page.
pub(super) fn page_size(size: i32, violations: &mut Violations) -> Option<usize> {
    match usize::try_from(size) {
        Ok(0) => Some(DEFAULT_SIZE),
        Ok(size) => Some(size.min(MAX_SIZE)),
        Err(_negative) => {
            violations.push(Field::PageSize, FieldProblem::Negative);
            None
        }
    }
}

fn read_token<P: Position>(token: &str, query: &ListQuery) -> Option<(P, Revision)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (token, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
    if query.tag(token) != tag {
        return None;
    }
    let (VERSION, rest) = token.split_first().map(|(version, rest)| (*version, rest))? else {
        return None;
    };
    let (revision, position) = rest.split_first_chunk::<REVISION_BYTES>()?;
    let revision = u64::from_be_bytes(*revision).into();
    Some((P::from_bytes(position)?, revision))
}

/// A page that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries, in the order of their positions.
    pub entries: Vec<T>,
    /// The token of the next page; empty at the end.
    pub next_token: String,
}

impl<T> Page<T> {
    /// The same page with other entries.
    pub fn map<U>(self, map: impl FnMut(T) -> U) -> Page<U> {
        Page {
            entries: self.entries.into_iter().map(map).collect(),
            next_token: self.next_token,
        }
    }
}

/// The end of the texts that begin with `prefix`: the first one after all of them, byte by byte. `None` if there is none.
pub fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // There are no characters between U+D7FF and U+E000.
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests;
