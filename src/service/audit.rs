//! The audit log: rejected keys, and changes, as events with the target `audit`. Never a key, an email address or an
//! identifier of a device.

use std::{net::IpAddr, sync::Arc};

use time::format_description::well_known::Rfc3339;

use super::{Caller, ImportReport, Origin};
use crate::{
    domain::{
        Tally,
        change::{ChangeKind, Revision},
        id::{HistoryId, OrganizationId},
    },
    log_sampler::{Log, LogSampler},
    storage::{ApiKeyRecord, KeyOwner, OrganizationRecord},
};

/// Logs one event. Its name is one of a small set, and its message is always the same.
macro_rules! audit {
    ($event:literal, $($fields:tt)+) => {
        tracing::info!(target: "audit", event = $event, $($fields)+, "audit")
    };
}

/// Why a key was rejected: for the log, never for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RejectedKey {
    Malformed,
    Unknown,
    Revoked(Arc<KeyOwner>),
    Expired(Arc<KeyOwner>),
}

impl RejectedKey {
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

pub(super) fn history_begun(history: HistoryId) {
    audit!("history.begun", %history);
}

/// Events about unknown keys are sampled. The limit on invalid keys bounds the others, and somebody has to replace those keys.
pub(super) fn api_key_rejected(rejected: RejectedKey, origin: &Origin, sampler: &LogSampler) {
    let owner = rejected.owner();
    if owner.is_none() && !sampler.admits(Log::Audit, origin.address) {
        return;
    }
    audit!(
        "api_key.refused",
        reason = rejected.reason(),
        address = origin.address.map(tracing::field::display),
        request_id = origin.request_id,
        organization = owner.map(|owner| tracing::field::display(owner.organization)),
        key = owner.map(|owner| tracing::field::display(owner.key))
    );
}

/// An address sent too many invalid keys: its further keys are rejected without an event each. There is one such event a
/// minute for each address, so only the bound of all addresses applies: the invalid keys have used up that of the address.
pub(super) fn address_locked_out(address: Option<IpAddr>, sampler: &LogSampler) {
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
pub(super) fn changed(caller: &Caller, kind: ChangeKind, tally: &Tally, revision: Revision) {
    let origin = &caller.origin;
    let address = origin.address.map(tracing::field::display);
    let request_id = &origin.request_id;
    let (organization, key) = (&caller.organization, &caller.key);
    macro_rules! changed {
        ($event:literal, $($fields:tt)+) => {
            audit!($event, %organization, %key, request_id, address, revision = revision.number(), $($fields)+)
        };
    }
    match kind {
        ChangeKind::Assign if tally.assigned > 0 => changed!(
            "devices.assigned",
            assigned = tally.assigned,
            created = tally.devices_created,
            customer_created = tally.customers_created > 0
        ),
        ChangeKind::Transfer if tally.assigned + tally.unassigned > 0 => changed!(
            "devices.transferred",
            assigned = tally.assigned,
            unassigned = tally.unassigned,
            created = tally.devices_created,
            customer_created = tally.customers_created > 0
        ),
        ChangeKind::Unassign if tally.unassigned > 0 => {
            changed!("devices.unassigned", unassigned = tally.unassigned);
        }
        ChangeKind::Update if tally.devices_created + tally.devices_updated > 0 => changed!(
            "devices.updated",
            created = tally.devices_created,
            updated = tally.devices_updated
        ),
        ChangeKind::Update if tally.customers_created + tally.customers_updated > 0 => {
            changed!("customer.updated", created = tally.customers_created > 0)
        }
        ChangeKind::Delete if tally.customers_deleted > 0 => {
            changed!("customer.deleted", unassigned = tally.unassigned);
        }
        ChangeKind::Delete if tally.devices_deleted > 0 => {
            changed!("device.deleted", unassigned = tally.unassigned);
        }
        // A change before the last one of a deletion.
        ChangeKind::Delete if tally.unassigned > 0 => {
            changed!("devices.unassigned", unassigned = tally.unassigned);
        }
        // Operators import devices, and the migration writes the baseline.
        ChangeKind::Assign
        | ChangeKind::Unassign
        | ChangeKind::Transfer
        | ChangeKind::Update
        | ChangeKind::Delete
        | ChangeKind::Import
        | ChangeKind::Baseline => {}
    }
}
