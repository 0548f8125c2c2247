//! Lists the devices of a customer in the order of their identifiers. Assignments are in the order of ids, so the devices of a customer
//! have to be sorted for each page. Of a customer with too many for that, they are found among the devices of the organization.

use std::sync::Arc;

use sea_orm::{
    ColumnTrait, FromQueryResult, QueryFilter, QuerySelect, QueryTrait,
    prelude::TimeDateTimeWithTimeZone,
    sea_query::{Expr, ExprTrait, Order, Query, SelectStatement},
};
use uuid::Uuid;

use super::{
    ReadAt, Reads,
    entity::{device, device_assignment::Column},
    page::{
        SCAN, assignments, count_of, customer_by, devices, head, ids, limit, looked_up, revision_of, rows, with_head,
        with_sets,
    },
    statement_kind::StatementKind,
};
use crate::domain::{
    Error, Field,
    customer::CustomerKey,
    id::OrganizationId,
    list_owner_devices::{ListOwnerDevices, OwnerDevice},
    page::Page,
};

static KIND: StatementKind = StatementKind::new("list_owned", "SELECT", "SELECT customer device_assignment device");

/// The assignments of the customer, and one more than can be sorted.
const OWNED: &str = "owned";
/// The same with identifiers.
const NAMED: &str = "named";

#[derive(FromQueryResult)]
struct Row {
    revision: Option<i64>,
    known_id: Option<Uuid>,
    count: Option<i64>,
    device_id: Option<Uuid>,
    identifier: Option<String>,
    device_type: Option<String>,
    assigned_at: Option<TimeDateTimeWithTimeZone>,
}

impl Reads {
    /// A page of the devices of a customer.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], and as every read.
    pub async fn devices_of_owner(
        &self,
        organization: OrganizationId,
        request: &ListOwnerDevices,
    ) -> Result<ReadAt<Page<OwnerDevice>>, Error> {
        let statement = Arc::new(statement(organization, request));
        let read = self.read(organization, &KIND, request.page.min_revision(), move |db| {
            let statement = Arc::clone(&statement);
            async move {
                let rows: Vec<Row> = rows(&db, &statement).await?;
                let revision = revision_of(rows.first().and_then(|row| row.revision));
                Ok(ReadAt { value: rows, revision })
            }
        });
        let ReadAt { value: rows, revision } = read.await?;
        let first = rows.first();
        let Some(customer) = first.and_then(|row| row.known_id) else {
            let field = match request.owner {
                CustomerKey::Email(_) => Field::CustomerEmail,
                CustomerKey::Id(_) => Field::OwnerId,
            };
            return Err(Error::CustomerNotFound(field));
        };
        if first
            .and_then(|row| row.count)
            .is_some_and(|count| count.unsigned_abs() > SCAN)
        {
            return self.scan_devices_of(organization, customer.into(), &request.page).await;
        }
        let devices = rows.into_iter().filter_map(|row| {
            Some(OwnerDevice {
                identifier: row.identifier?,
                id: row.device_id?.into(),
                device_type: row.device_type?,
                assigned_at: row.assigned_at?,
            })
        });
        let value = request.page.page_of(devices.collect(), None, revision);
        Ok(ReadAt { value, revision })
    }
}

pub(super) fn statement(organization: OrganizationId, request: &ListOwnerDevices) -> SelectStatement {
    let owner = || ids(customer_by(organization, &request.owner));
    let owned = assignments(organization)
        .filter(Column::CustomerId.into_expr().eq(owner()))
        .select_only()
        .columns([Column::DeviceId, Column::CreatedAt])
        .limit(SCAN + 1)
        .into_query();
    let mut head = head(organization);
    head.expr_as(owner(), "known_id").expr_as(count_of(OWNED), "count");
    let identifier = looked_up(
        devices(organization),
        device::Column::Id,
        (OWNED, "device_id"),
        device::Column::Identifier,
    );
    // Nothing is looked up if there are too many.
    let named = Query::select()
        .columns(["device_id", "created_at"].map(|column| (OWNED, column)))
        .expr_as(identifier, "identifier")
        .from(OWNED)
        .and_where(Expr::from(count_of(OWNED)).lte(SCAN.cast_signed()))
        .to_owned();
    let device_type = looked_up(
        devices(organization),
        device::Column::Id,
        (NAMED, "device_id"),
        device::Column::DeviceType,
    );
    let mut page = Query::select();
    page.columns(["device_id", "identifier"].map(|column| (NAMED, column)))
        .expr_as(Expr::col((NAMED, "created_at")), "assigned_at")
        .expr_as(device_type, "device_type")
        .from(NAMED)
        .order_by((NAMED, "identifier"), Order::Asc)
        .limit(limit(&request.page));
    if let Some(after) = request.page.after() {
        page.and_where(Expr::col((NAMED, "identifier")).gt(after.as_str()));
    }
    let statement = with_head(head, page.to_owned(), "identifier");
    with_sets([(OWNED, owned), (NAMED, named)], statement)
}
