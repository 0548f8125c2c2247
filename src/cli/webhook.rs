//! Posts changes to a webhook, and keeps how far it has come in a file.

use std::time::Duration;

use super::{
    CommandError,
    output::say,
    target::{certificates, failure, secret},
};
use crate::{
    client::{Position, Services, Target},
    config::{TargetConfig, WebhookConfig},
    pb::Change,
    webhook::{Cursor, CursorError, CursorPosition, DeliveryError, Receiver, ReceiverError, Secrets, Webhook},
};

/// Where the secret is, unless a file has it. Never a flag: everybody on the machine can see flags.
const SECRET_VARIABLE: &str = "DEVICE_ASSIGNMENT_WEBHOOK_SECRET";
/// How long the service may take to say whose key it is.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A webhook, and how far it has come.
pub(super) struct Delivery {
    webhook: Webhook,
    cursor: Cursor,
}

impl Delivery {
    /// Prepares the webhook in the settings, if there is one. A new cursor begins after `start`.
    pub(super) async fn start(
        config: &WebhookConfig,
        service: &TargetConfig,
        target: &Target,
        start: &Position,
    ) -> Result<Option<Self>, CommandError> {
        let (Some(url), Some(cursor)) = (&config.webhook, &config.cursor) else {
            return Ok(None);
        };
        let file = config.webhook_secret_file.as_deref();
        let secrets = secret("webhook secret", file, SECRET_VARIABLE, "--webhook-secret-file")?;
        let secrets = Secrets::parse(&secrets).map_err(|error| {
            CommandError::Usage(format!(
                "{error}; give one in {SECRET_VARIABLE}, or in a file with --webhook-secret-file"
            ))
        })?;
        let ca = certificates(config.webhook_ca.as_deref())?;
        let receiver = Receiver::new(url, ca.as_deref(), config.webhook_timeout)?;
        let connected = Services::connect(target, CALL_TIMEOUT).await;
        let (_, credentials) = connected.map_err(|error| failure(error, service, None))?;
        let organization = credentials.organization_id;
        let cursor = Cursor::open(
            cursor,
            CursorPosition {
                organization: organization.clone(),
                history: start.history.clone(),
                revision: start.revision,
            },
        )?;
        let webhook = Webhook {
            receiver,
            secrets,
            organization,
        };
        Ok(Some(Self { webhook, cursor }))
    }

    /// Where to go on.
    pub(super) fn position(&self) -> Position {
        let position = self.cursor.position();
        Position {
            history: position.history.clone(),
            revision: position.revision,
        }
    }

    /// Posts changes in their order, each until the receiver has accepted it.
    pub(super) async fn deliver(&mut self, changes: &[Change]) -> Result<(), CommandError> {
        for change in changes {
            let revision = change.revision;
            let mut has_failed = false;
            let delivered = self.webhook.deliver(change, |problem, pause| {
                has_failed = true;
                say(&format!(
                    "change {revision}: {problem}; trying again in {:.1} s",
                    pause.as_secs_f64()
                ));
            });
            delivered.await.map_err(|error| rejected(revision, &error))?;
            self.cursor.advance(&change.history, revision)?;
            if has_failed {
                say(&format!("change {revision}: delivered"));
            }
        }
        Ok(())
    }
}

fn rejected(revision: u64, error: &DeliveryError) -> CommandError {
    CommandError::Failed(format!(
        "change {revision} was not delivered: {error}; fix that and start the command again, which goes on with this change"
    ))
}

impl From<CursorError> for CommandError {
    fn from(error: CursorError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ReceiverError> for CommandError {
    fn from(error: ReceiverError) -> Self {
        let flag = match error {
            ReceiverError::Ca => "--webhook-ca",
            ReceiverError::Url(_) | ReceiverError::Tls(_) => "--webhook",
        };
        Self::Usage(format!("{flag}: {error}"))
    }
}
