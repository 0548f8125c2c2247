//! Lists the owners of a device: along the index of assignments by device.

use std::sync::Arc;

use sea_orm::{
    ColumnTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    prelude::TimeDateTimeWithTimeZone,
    sea_query::{ExprTrait, SelectStatement},
};
use uuid::Uuid;

use super::{
    ReadAt, Reads,
    entity::{customer, device, device_assignment::Column},
    page::{assignments, customers, devices, head, limit, looked_up, revision_of, rows, with_head},
    statement_kind::StatementKind,
};
use crate::domain::{
    Error, device_owners::Owner, id::OrganizationId, list_device_owners::ListDeviceOwners, page::Page,
};

static KIND: StatementKind = StatementKind::new("list_owners", "SELECT", "SELECT device device_assignment customer");

#[derive(FromQueryResult)]
struct Row {
    revision: Option<i64>,
    known_id: Option<Uuid>,
    customer_id: Option<Uuid>,
    email: Option<String>,
    assigned_at: Option<TimeDateTimeWithTimeZone>,
}

impl Reads {
    /// A page of the owners of a device.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`], and as every read.
    pub async fn owners_of_device(
        &self,
        organization: OrganizationId,
        request: &ListDeviceOwners,
    ) -> Result<ReadAt<Page<Owner>>, Error> {
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
        if rows.first().is_none_or(|row| row.known_id.is_none()) {
            return Err(Error::DeviceNotFound);
        }
        let owners = rows.into_iter().filter_map(|row| {
            Some(Owner {
                id: row.customer_id?.into(),
                email: row.email?,
                assigned_at: row.assigned_at?,
            })
        });
        let value = request.page.page_of(owners.collect(), None, revision);
        Ok(ReadAt { value, revision })
    }
}

pub(super) fn statement(organization: OrganizationId, request: &ListDeviceOwners) -> SelectStatement {
    let device = || {
        let by_identifier = device::Column::Identifier.eq(request.device.as_str());
        devices(organization)
            .filter(by_identifier)
            .select_only()
            .column(device::Column::Id)
            .into_query()
    };
    let mut head = head(organization);
    head.expr_as(device(), "known_id");
    let owner = ("device_assignment", "customer_id");
    let email = looked_up(
        customers(organization),
        customer::Column::Id,
        owner,
        customer::Column::Email,
    );
    let mut page = assignments(organization)
        .filter(Column::DeviceId.into_expr().eq(device()))
        .select_only()
        .column(Column::CustomerId)
        .column_as(Column::CreatedAt, "assigned_at")
        .column_as(email, "email")
        .order_by_asc(Column::CustomerId)
        .limit(limit(&request.page));
    if let Some(after) = request.page.after() {
        page = page.filter(Column::CustomerId.gt(*after));
    }
    with_head(head, page.into_query(), "customer_id")
}
