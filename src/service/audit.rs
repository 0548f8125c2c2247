//! The audit log: who was let in or not, and what was changed, as events of a target of their own. Never a key, an email
//! address or a device's identifier.

use std::{net::IpAddr, sync::Arc};

use time::format_description::well_known::Rfc3339;

use super::{Caller, ImportReport, Origin};
use crate::{
    domain::{
        assign_devices::{Outcome, Tally},
        id::OrganizationId,
    },
    log_sampler::{Log, LogSampler},
    storage::{ApiKeyRecord, KeyOwner, OrganizationRecord},
};

/// One event. Its name, `event`, is one of a small set, and its message always the same.
macro_rules! audit {
    ($event:literal, $($fields:tt)+) => {
        tracing::info!(target: "audit", event = $event, $($fields)+, "audit")
    };
}

/// Why a key was refused: for the log, never for who showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    Unknown,
    Revoked(Arc<KeyOwner>),
    Expired(Arc<KeyOwner>),
}

impl Refusal {
    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Revoked(_) => "revoked",
            Self::Expired(_) => "expired",
        }
    }

    fn owner(&self) -> Option<&Arc<KeyOwner>> {
        match self {
            Self::Malformed | Self::Unknown => None,
            Self::Revoked(owner) | Self::Expired(owner) => Some(owner),
        }
    }
}

pub(super) fn organization_created(organization: &OrganizationRecord) {
    audit!("organization.created", organization = %organization.id, name = organization.name);
}

pub(super) fn api_key_created(key: &ApiKeyRecord) {
    let expires_at = key.expires_at.and_then(|time| time.format(&Rfc3339).ok());
    audit!("api_key.created", organization = %key.organization, key = %key.id, label = key.label, expires_at);
}

pub(super) fn api_key_revoked(key: &ApiKeyRecord) {
    audit!("api_key.revoked", organization = %key.organization, key = %key.id);
}

/// Keys that are of nobody are sampled. What is told of the others is bounded by the limit on wrong keys, and somebody has
/// to replace them.
pub(super) fn api_key_refused(refusal: Refusal, origin: &Origin, sampler: &LogSampler) {
    let owner = refusal.owner();
    if owner.is_none() && !sampler.admits(Log::Audit, origin.address) {
        return;
    }
    audit!(
        "api_key.refused",
        reason = refusal.reason(),
        address = origin.address.map(tracing::field::display),
        request_id = origin.request_id,
        organization = owner.map(|owner| tracing::field::display(owner.organization)),
        key = owner.map(|owner| tracing::field::display(owner.key))
    );
}

/// An address has shown too many wrong keys: what comes of it from now on is refused without a line each. Told once a minute
/// for each address, and so held to the bound of all addresses alone: its wrong keys have used up its own.
pub(super) fn address_refused(address: Option<IpAddr>, sampler: &LogSampler) {
    if !sampler.admits(Log::Audit, None) {
        return;
    }
    let address = address.map(tracing::field::display);
    audit!("api_key.refused", reason = "too_many_failed_keys", address);
}

pub(super) fn devices_imported(organization: OrganizationId, report: &ImportReport) {
    audit!(
        "devices.imported",
        %organization,
        created = report.created,
        updated = report.updated
    );
}

/// A call that changed nothing has no event.
pub(super) fn devices_assigned(caller: &Caller, outcome: &Outcome) {
    let Tally {
        assigned,
        devices_created: created,
        ..
    } = outcome.tally();
    // A customer is only created for devices that are assigned.
    if assigned == 0 {
        return;
    }
    audit!(
        "devices.assigned",
        organization = %caller.organization,
        key = %caller.key,
        request_id = caller.origin.request_id,
        address = caller.origin.address.map(tracing::field::display),
        assigned,
        created,
        customer_created = outcome.customer_was_created
    );
}
