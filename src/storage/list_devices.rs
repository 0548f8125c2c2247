//! Lists devices in the order of their identifiers: along the index of identifiers, a bounded number of devices for each page. So a
//! filter that lets few devices through makes pages short, and none slow.

use std::sync::Arc;

use sea_orm::{
    ColumnTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    prelude::TimeDateTimeWithTimeZone,
    sea_query::{Cond, Expr, ExprTrait, Func, Order, Query, SelectStatement},
};
use uuid::Uuid;

use super::{
    ReadAt, Reads,
    entity::{device::Column, device_assignment},
    page::{SCAN, assignments, count_of, devices, head, limit, revision_of, rows, with_head, with_sets},
    statement_kind::StatementKind,
};
use crate::domain::{
    Error,
    device::{DeviceIdentifier, DeviceType},
    id::{CustomerId, OrganizationId},
    list_devices::{ListDevices, ListedDevice},
    list_owner_devices::OwnerDevice,
    page::{Page, PageRequest, end_of_prefix},
};

static KIND: StatementKind = StatementKind::new("scan_devices", "SELECT", "SELECT device device_assignment");

/// The devices that are read for a page.
const SCANNED: &str = "scanned";

/// Which devices a scan lets through.
#[derive(Debug, Clone, Copy)]
pub(super) enum Filter<'a> {
    All,
    Some {
        device_type: Option<&'a DeviceType>,
        is_unassigned: bool,
    },
    Owner(CustomerId),
}

#[derive(FromQueryResult)]
struct Row {
    revision: Option<i64>,
    count: Option<i64>,
    last: Option<String>,
    id: Option<Uuid>,
    identifier: Option<String>,
    device_type: Option<String>,
    at: Option<TimeDateTimeWithTimeZone>,
}

impl Reads {
    /// A page of the devices of an organization.
    ///
    /// # Errors
    /// As every read.
    pub async fn devices(
        &self,
        organization: OrganizationId,
        request: &ListDevices,
    ) -> Result<ReadAt<Page<ListedDevice>>, Error> {
        let device_type = request.device_type.as_ref();
        let filter = match (device_type, request.is_unassigned) {
            (None, false) => Filter::All,
            (device_type, is_unassigned) => Filter::Some {
                device_type,
                is_unassigned,
            },
        };
        let statement = statement(organization, &request.page, request.prefix.as_ref(), filter);
        let scanned = self.scan(organization, &request.page, statement).await?;
        Ok(scanned.map(|page| {
            page.map(|device| ListedDevice {
                identifier: device.identifier,
                id: device.id,
                device_type: device.device_type,
                created_at: device.assigned_at,
            })
        }))
    }

    /// A page of the devices of a customer, found among the devices of its organization.
    pub(super) async fn scan_devices_of(
        &self,
        organization: OrganizationId,
        customer: CustomerId,
        page: &PageRequest<String>,
    ) -> Result<ReadAt<Page<OwnerDevice>>, Error> {
        let statement = statement(organization, page, None, Filter::Owner(customer));
        self.scan(organization, page, statement).await
    }

    async fn scan(
        &self,
        organization: OrganizationId,
        page: &PageRequest<String>,
        statement: SelectStatement,
    ) -> Result<ReadAt<Page<OwnerDevice>>, Error> {
        let statement = Arc::new(statement);
        let read = self.read(organization, &KIND, page.min_revision(), move |db| {
            let statement = Arc::clone(&statement);
            async move {
                let rows: Vec<Row> = rows(&db, &statement).await?;
                let revision = revision_of(rows.first().and_then(|row| row.revision));
                Ok(ReadAt { value: rows, revision })
            }
        });
        let ReadAt { value: rows, revision } = read.await?;
        // If the scan did not reach the end, the next page begins where it stopped.
        let first = rows.first();
        let is_cut = first
            .and_then(|row| row.count)
            .is_some_and(|count| count.unsigned_abs() >= SCAN);
        let stopped_at = first.and_then(|row| row.last.clone()).filter(|_| is_cut);
        let devices = rows.into_iter().filter_map(|row| {
            Some(OwnerDevice {
                identifier: row.identifier?,
                id: row.id?.into(),
                device_type: row.device_type?,
                assigned_at: row.at?,
            })
        });
        let value = page.page_of(devices.collect(), stopped_at, revision);
        Ok(ReadAt { value, revision })
    }
}

/// The statement of a page. `at` is when a device was created, with an owner when it was assigned.
pub(super) fn statement(
    organization: OrganizationId,
    page: &PageRequest<String>,
    prefix: Option<&DeviceIdentifier>,
    filter: Filter<'_>,
) -> SelectStatement {
    let scan = match filter {
        Filter::All => limit(page),
        Filter::Some { .. } | Filter::Owner(_) => SCAN,
    };
    let mut scanned = devices(organization)
        .select_only()
        .columns([Column::Id, Column::Identifier, Column::DeviceType, Column::CreatedAt])
        .order_by_asc(Column::Identifier)
        .limit(scan);
    if let Some(after) = page.after() {
        scanned = scanned.filter(Column::Identifier.gt(after.as_str()));
    }
    if let Some(prefix) = prefix {
        scanned = scanned.filter(Column::Identifier.gte(prefix.as_str()));
        if let Some(end) = end_of_prefix(prefix.as_str()) {
            scanned = scanned.filter(Column::Identifier.lt(end));
        }
    }
    let mut head = head(organization);
    let last = Query::select()
        .expr(Func::max(Expr::col("identifier")))
        .from(SCANNED)
        .to_owned();
    head.expr_as(count_of(SCANNED), "count").expr_as(last, "last");
    let mut devices = Query::select();
    devices
        .columns(["id", "identifier", "device_type"].map(|column| (SCANNED, column)))
        .from(SCANNED)
        .order_by((SCANNED, "identifier"), Order::Asc)
        .limit(limit(page));
    match filter {
        Filter::All => {
            devices.expr_as(Expr::col((SCANNED, "created_at")), "at");
        }
        Filter::Some {
            device_type,
            is_unassigned,
        } => {
            devices.expr_as(Expr::col((SCANNED, "created_at")), "at");
            if let Some(device_type) = device_type {
                devices.and_where(Expr::col((SCANNED, "device_type")).eq(device_type.as_str()));
            }
            if is_unassigned {
                devices.and_where(Expr::from(owned(organization, None)).is_null());
            }
        }
        Filter::Owner(customer) => {
            let mut at = owned(organization, Some(customer));
            at.clear_selects().column(device_assignment::Column::CreatedAt);
            devices.expr_as(at.clone(), "at");
            devices.and_where(Expr::from(at).is_not_null());
        }
    }
    with_sets(
        [(SCANNED, scanned.into_query())],
        with_head(head, devices.to_owned(), "identifier"),
    )
}

/// An assignment of a scanned device, to anybody or to one customer. As a value it is looked up by its key for each device, which
/// PostgreSQL does not promise for EXISTS: without statistics, the join that it makes of that took seconds.
fn owned(organization: OrganizationId, customer: Option<CustomerId>) -> SelectStatement {
    use device_assignment::{Column, Entity};
    let of_device = Expr::col((Entity, Column::DeviceId)).equals((SCANNED, "id"));
    let of_customer = customer.map(|customer| Column::CustomerId.eq(customer.uuid()));
    assignments(organization)
        .select_only()
        .column(Column::DeviceId)
        .filter(Cond::all().add(of_device).add_option(of_customer))
        .limit(1)
        .into_query()
}
