//! Applies a command to what exists and writes nothing, for callers that want to know what it would do.

use std::sync::Arc;

use sea_orm::{
    DatabaseConnection,
    sqlx::{Postgres, Sqlite},
};

use super::{
    Completed, DatabaseError, Reads, backend::Backend, find::find, statement_kind::StatementKind,
    write_connection::roll_back,
};
use crate::domain::{
    Error,
    change::{Actor, ChangeOrigin, Revision},
    command::{Command, Rejection, Touches, carry_out},
    id::{OrganizationId, preview_ids},
    state::State,
};

static PREVIEW: StatementKind = StatementKind::new("preview", "SELECT", "SELECT customer device device_assignment");

/// The outcome that a command would have, and the revision that it was read at.
type Previewed<C> = (Result<<C as Command>::Outcome, Rejection>, Revision);

impl Reads {
    /// The outcome that `command` would have now in the primary, and the revision that this was read at. Takes no lock and writes
    /// nothing, so it also works where nothing can be written. The ids of what would be created are [made up](preview_ids).
    ///
    /// # Errors
    /// The rejection of the command, and when the database cannot be read.
    pub async fn preview<C: Command>(
        &self,
        organization: OrganizationId,
        command: C,
    ) -> Result<Completed<C::Outcome>, Error> {
        let is_sqlite = self.primary().url().is_sqlite();
        let command = Arc::new(command);
        let previewed = self.read_in_turn(organization, &PREVIEW, move |reads| {
            let command = Arc::clone(&command);
            async move {
                if is_sqlite {
                    preview::<Sqlite, C>(&reads, organization, &command).await
                } else {
                    preview::<Postgres, C>(&reads, organization, &command).await
                }
            }
        });
        let (outcome, revision) = previewed.await?;
        Ok(Completed {
            outcome: outcome?,
            revision,
            is_preview: true,
        })
    }
}

async fn preview<B: Backend, C: Command>(
    reads: &DatabaseConnection,
    organization: OrganizationId,
    command: &C,
) -> Result<Previewed<C>, DatabaseError> {
    // The revision and all that belongs to it come from one snapshot.
    let mut snapshot = B::pool(reads).begin_with(B::BEGIN_SNAPSHOT).await?;
    let mut touches = Touches::default();
    touches.add(command);
    let found = find::<B>(&mut snapshot, organization, &touches).await?;
    roll_back(snapshot).await?;
    let mut new_id = preview_ids();
    let mut state = State::new(&found.existing, &mut new_id);
    // Nothing of it is stored.
    let origin = ChangeOrigin {
        actor: Actor::Service,
        request_id: None,
    };
    Ok((carry_out(command, &mut state, &origin), found.revision))
}
