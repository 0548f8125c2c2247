//! Commands without their types: storage applies and commits them, and knows none of them.

use crate::domain::{
    change::{ChangeOrigin, Revision},
    command::{Command, Rejection, Touches, carry_out},
    state::State,
};

/// A command that is to be committed.
pub(super) trait Job: Send + Sync {
    /// How much work it is, in device identifiers.
    fn weight(&self) -> usize;

    /// Who wants it.
    fn origin(&self) -> &ChangeOrigin;

    /// Adds what it touches.
    fn touch<'a>(&'a self, touches: &mut Touches<'a>);

    /// Applies it, and keeps the outcome. It may be applied again, to another state.
    fn apply(&mut self, state: &mut State<'_>);

    /// How many changes its group had made once it was applied.
    fn change_count(&self) -> usize;
}

/// A command, who wants it, and its outcome once it was applied.
pub(super) struct CommandJob<C: Command> {
    command: C,
    origin: ChangeOrigin,
    applied: Option<Applied<C>>,
}

/// The outcome of a command that was applied, and how many changes its group had made until then.
struct Applied<C: Command> {
    outcome: Result<C::Outcome, Rejection>,
    changes: usize,
}

impl<C: Command> CommandJob<C> {
    pub(super) fn new(command: C, origin: ChangeOrigin) -> Self {
        Self {
            command,
            origin,
            applied: None,
        }
    }

    /// The outcome and its revision ([`Command::revision`]). `head` is the revision that the group was applied to. None if it was never applied.
    pub(super) fn finish(self, head: Revision) -> Option<(Result<C::Outcome, Rejection>, Revision)> {
        let Applied { outcome, changes } = self.applied?;
        let revision = match &outcome {
            Ok(outcome) => C::revision(outcome, head, changes),
            Err(_) => head.after(changes),
        };
        Some((outcome, revision))
    }
}

impl<C: Command> Job for CommandJob<C> {
    fn weight(&self) -> usize {
        self.command.weight()
    }

    fn origin(&self) -> &ChangeOrigin {
        &self.origin
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        touches.add(&self.command);
    }

    fn apply(&mut self, state: &mut State<'_>) {
        let outcome = carry_out(&self.command, state, &self.origin);
        let changes = state.change_count();
        self.applied = Some(Applied { outcome, changes });
    }

    fn change_count(&self) -> usize {
        self.applied.as_ref().map_or(0, |applied| applied.changes)
    }
}
