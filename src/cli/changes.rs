//! `changes`: prints the changes of an organization at a running service, or posts them to a webhook.

use clap::Args;

use super::{
    CommandError,
    output::{json_line, print_lines, say},
    target::target,
    webhook::Delivery,
};
use crate::{
    client::{ChangeFollower, FollowError, Followed, Position},
    config::{Conflict, TargetConfig, WebhookConfig},
    pb::{Change, CustomerDevices},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  export DEVICE_ASSIGNMENT_API_KEY=...
  device-assignment changes
      every change so far, a line for each
  device-assignment changes --follow --after 4711 --json | my-program
      further changes as they happen, each a JSON object
  export DEVICE_ASSIGNMENT_WEBHOOK_SECRET=whsec_...
  device-assignment changes --follow --webhook https://hooks.example.com/devices --cursor devices.cursor
      posts each change, and goes on where it was after a restart
";

#[derive(Debug, Args)]
pub(super) struct Changes {
    /// Wait for further changes, and go on by itself after interruptions
    #[arg(long)]
    follow: bool,

    /// Print the changes after this revision; with --webhook, where a new cursor begins
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    after: u64,

    /// The history that the revision belongs to; the command fails if it is another one now
    #[arg(long, value_name = "ID", default_value = "")]
    history: String,

    /// Add the emails of customers and the identifiers of devices
    #[arg(long)]
    names: bool,

    /// Print each change as a JSON object, as the REST API has it
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    webhook: WebhookConfig,

    #[command(flatten)]
    service: TargetConfig,
}

impl Changes {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        if self.names && !self.json && self.webhook.webhook.is_none() {
            return Err(CommandError::Usage("--names needs --json or --webhook".into()));
        }
        let mut position = Position {
            history: self.history.clone(),
            revision: self.after,
        };
        let target = target(&self.service)?;
        let mut delivery = Delivery::start(&self.webhook, &self.service, &target, &position).await?;
        if let Some(delivery) = &delivery {
            position = delivery.position();
        }
        let follower = ChangeFollower::new(&target, position, self.names);
        let mut follower = follower.map_err(|error| CommandError::Usage(error.to_string()))?;
        // Before the first answer, a failure is probably a mistake in the URL.
        let mut was_reached = delivery.is_some();
        loop {
            match follower.next().await {
                Ok(Followed::Changes { changes, head }) => {
                    was_reached = true;
                    if let Some(delivery) = &mut delivery {
                        delivery.deliver(&changes).await?;
                    } else {
                        let lines: Result<Vec<_>, _> = changes.iter().map(|change| self.line(change)).collect();
                        if !print_lines(lines?)? {
                            return Ok(());
                        }
                    }
                    let is_last = changes.last().is_some_and(|last| last.revision >= head);
                    if is_last && !self.follow {
                        return Ok(());
                    }
                }
                Ok(Followed::UpToDate) if self.follow => was_reached = true,
                Ok(Followed::UpToDate) => return Ok(()),
                Ok(Followed::Interrupted(problem)) if was_reached => say(&format!("connecting again: {problem}")),
                Ok(Followed::Interrupted(problem)) => {
                    return Err(CommandError::Failed(format!("{}: {problem}", target.url)));
                }
                Err(FollowError::Expired(revision)) if delivery.is_some() => {
                    return Err(CommandError::Failed(format!(
                        "the changes after revision {revision} are no longer available; delete the cursor file, or name another \
                         one, to begin with the first change of the new history"
                    )));
                }
                Err(error @ (FollowError::Expired(_) | FollowError::OutOfOrder { .. } | FollowError::Rejected(_))) => {
                    return Err(CommandError::Failed(error.to_string()));
                }
            }
        }
    }

    /// The conflicts between settings.
    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        let WebhookConfig { webhook, cursor, .. } = &self.webhook;
        let needs_cursor = webhook.is_some() && cursor.is_none();
        let needs_webhook = cursor.is_some() && webhook.is_none();
        let both = webhook.is_some() && self.json;
        let conflicts = [
            Conflict::when(needs_cursor, &["webhook"], "needs --cursor (DEVICE_ASSIGNMENT_CURSOR)"),
            Conflict::when(
                needs_webhook,
                &["cursor"],
                "needs --webhook (DEVICE_ASSIGNMENT_WEBHOOK)",
            ),
            Conflict::when(both, &["webhook"], "contradicts --json; remove one"),
        ];
        conflicts.into_iter().flatten().collect()
    }

    fn line(&self, change: &Change) -> Result<String, CommandError> {
        if self.json {
            return json_line(change);
        }
        let devices = |groups: &[CustomerDevices]| groups.iter().map(|group| group.device_ids.len()).sum::<usize>();
        let counts = [
            (devices(&change.assigned), "assigned"),
            (devices(&change.unassigned), "unassigned"),
            (change.customers_created.len(), "customer(s) created"),
            (change.customers_updated.len(), "customer(s) updated"),
            (change.customers_deleted.len(), "customer(s) deleted"),
            (change.devices_created.len(), "device(s) created"),
            (change.devices_updated.len(), "device(s) updated"),
            (change.devices_deleted.len(), "device(s) deleted"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        let (revision, at, kind) = (change.revision, &change.at, &change.kind);
        Ok(format!("{revision}\t{at}\t{kind}\t{}", counts.join(", ")))
    }
}
