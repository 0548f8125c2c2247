//! The previews that were shown: a change is made only with the token of a preview of the same call.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use prost::Message;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::failure::Failure;

/// How long a preview can be used. The service keeps the answer of a change for longer, so a token makes one change.
const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// The most previews to remember.
const CAPACITY: usize = 100;

/// The previews of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Previews(Mutex<VecDeque<Preview>>);

#[derive(Debug)]
struct Preview {
    token: String,
    call: Call,
    /// The time of the system: other clocks stop while a machine sleeps.
    at: SystemTime,
}

impl Preview {
    /// Whether it is recent. If the clock was set back, nobody knows.
    fn is_valid(&self) -> bool {
        self.at.elapsed().is_ok_and(|age| age <= LIFETIME)
    }
}

/// A digest of a call: it may name thousands of devices.
type Call = [u8; 32];

fn digest(tool: &str, request: &impl Message) -> Call {
    let mut call = Sha256::new();
    call.update(tool);
    call.update([0]);
    call.update(request.encode_to_vec());
    call.finalize().into()
}

impl Previews {
    /// Remembers that a call of a tool was previewed, and returns its token.
    pub(super) fn add(&self, tool: &str, request: &impl Message) -> String {
        let token = Uuid::now_v7().to_string();
        let preview = Preview {
            token: token.clone(),
            call: digest(tool, request),
            at: SystemTime::now(),
        };
        let mut previews = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if previews.len() >= CAPACITY {
            previews.pop_front();
        }
        previews.push_back(preview);
        token
    }

    /// Checks that the token is that of a preview of this call.
    pub(super) fn check(&self, token: &str, tool: &str, request: &impl Message) -> Result<(), Failure> {
        let previews = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let preview = previews.iter().find(|preview| preview.token == token);
        match preview.filter(|preview| preview.is_valid()) {
            None => Err(Failure::Arguments(format!(
                "previewToken is unknown or older than {} minutes; nothing was changed; call preview_{tool} again",
                LIFETIME.as_secs() / 60
            ))),
            Some(preview) if preview.call != digest(tool, request) => Err(Failure::Arguments(format!(
                "previewToken belongs to a preview of another call; nothing was changed; call preview_{tool} with these arguments"
            ))),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{AssignDevicesToOwnerRequest, UnassignDevicesFromOwnerRequest};

    fn assign(device: &str) -> AssignDevicesToOwnerRequest {
        AssignDevicesToOwnerRequest {
            customer_email: "ann@example.com".into(),
            device_identifiers: vec![device.into()],
            ..Default::default()
        }
    }

    #[test]
    fn a_token_is_for_one_tool_and_its_arguments() {
        let previews = Previews::default();
        let token = previews.add("assign", &assign("SN-1"));
        let unassign = UnassignDevicesFromOwnerRequest {
            customer_email: "ann@example.com".into(),
            device_identifiers: vec!["SN-1".into()],
            ..Default::default()
        };
        assert!(previews.check(&token, "assign", &assign("SN-1")).is_ok());
        assert!(previews.check(&token, "assign", &assign("SN-1")).is_ok(), "a retry");
        assert!(previews.check(&token, "assign", &assign("SN-2")).is_err());
        assert!(previews.check(&token, "unassign", &unassign).is_err());
        assert!(previews.check("", "assign", &assign("SN-1")).is_err());
    }

    #[test]
    fn a_preview_expires() {
        let previews = Previews::default();
        let token = previews.add("assign", &assign("SN-1"));
        let is_valid_at = |at: SystemTime| {
            previews.0.lock().expect("previews")[0].at = at;
            previews.check(&token, "assign", &assign("SN-1")).is_ok()
        };
        let now = SystemTime::now();
        let minute = Duration::from_secs(60);
        assert!(is_valid_at(now - 9 * minute));
        assert!(!is_valid_at(now - 11 * minute));
        assert!(!is_valid_at(now + minute), "the clock was set back");
    }

    #[test]
    fn the_oldest_preview_is_forgotten_first() {
        let previews = Previews::default();
        let first = previews.add("assign", &assign("SN-1"));
        let second = previews.add("assign", &assign("SN-1"));
        for _ in 2..=CAPACITY {
            previews.add("assign", &assign("SN-1"));
        }
        assert!(previews.check(&first, "assign", &assign("SN-1")).is_err());
        assert!(previews.check(&second, "assign", &assign("SN-1")).is_ok());
    }
}
