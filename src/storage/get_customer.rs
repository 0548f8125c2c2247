//! Looks up one customer, with the identifiers of its devices.

use std::sync::Arc;

use sea_orm::{
    ColumnTrait, DbBackend, DbErr, FromQueryResult, QueryFilter, QuerySelect, QueryTrait,
    prelude::TimeDateTimeWithTimeZone,
    sea_query::{Asterisk, Expr, ExprTrait, Func, Query, SelectStatement},
};
use uuid::Uuid;

use super::{
    ReadAt, Reads,
    entity::{customer, device, device_assignment::Column},
    page::{assignments, customer_by, devices, head, ids, looked_up, revision_of, rows, with_head, with_sets},
    statement_kind::StatementKind,
};
use crate::domain::{
    Error,
    get_customer::{CustomerDetails, GetCustomer, MAX_DEVICES},
    id::OrganizationId,
};

static KIND: StatementKind = StatementKind::new("get_customer", "SELECT", "SELECT customer device_assignment device");

/// The assignments of the customer that are listed.
const OWNED: &str = "owned";

#[derive(FromQueryResult)]
struct Row {
    revision: Option<i64>,
    id: Option<Uuid>,
    email: Option<String>,
    name: Option<String>,
    phone: Option<String>,
    address: Option<String>,
    metadata: Option<String>,
    created_at: Option<TimeDateTimeWithTimeZone>,
    device_count: Option<i64>,
    device_list: Option<String>,
}

impl Reads {
    /// A customer.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], and as every read.
    pub async fn customer(
        &self,
        organization: OrganizationId,
        request: GetCustomer,
    ) -> Result<ReadAt<CustomerDetails>, Error> {
        let field = request.field();
        let min_revision = request.min_revision;
        let request = Arc::new(request);
        let read = self.read(organization, &KIND, min_revision, move |db| {
            let request = Arc::clone(&request);
            async move {
                let statement = statement(organization, &request, db.get_database_backend());
                let row = rows::<Row>(&db, &statement).await?.pop();
                let revision = revision_of(row.as_ref().and_then(|row| row.revision));
                let value = row.map(|row| details(organization, row)).transpose()?.flatten();
                Ok(ReadAt { value, revision })
            }
        });
        let ReadAt { value, revision } = read.await?;
        let value = value.ok_or(Error::CustomerNotFound(field))?;
        Ok(ReadAt { value, revision })
    }
}

fn details(organization: OrganizationId, row: Row) -> Result<Option<CustomerDetails>, DbErr> {
    let list = row.device_list.unwrap_or_else(|| "[]".to_owned());
    let devices: Vec<String> = serde_json::from_str(&list).map_err(|error| DbErr::Json(error.to_string()))?;
    let customer = || {
        Some(CustomerDetails {
            id: row.id?.into(),
            organization,
            name: row.name?,
            email: row.email?,
            phone: row.phone?,
            address: row.address?,
            metadata: row.metadata?,
            devices,
            device_count: row.device_count?.unsigned_abs(),
            created_at: row.created_at?,
        })
    };
    Ok(customer())
}

pub(super) fn statement(organization: OrganizationId, request: &GetCustomer, backend: DbBackend) -> SelectStatement {
    use customer::Column as Customer;
    let owned_by = || {
        let owner = ids(customer_by(organization, &request.customer));
        assignments(organization)
            .filter(Column::CustomerId.into_expr().eq(owner))
            .select_only()
    };
    let owned = owned_by()
        .column_as(
            looked_up(
                devices(organization),
                device::Column::Id,
                ("device_assignment", "device_id"),
                device::Column::Identifier,
            ),
            "identifier",
        )
        .limit(MAX_DEVICES as u64)
        .into_query();
    let count = owned_by().expr(Func::count(Expr::col(Asterisk))).into_query();
    // All in one text, because a row for each device would repeat the customer.
    let list = match backend {
        DbBackend::Sqlite => "json_group_array(identifier ORDER BY identifier)",
        _ => "json_agg(identifier ORDER BY identifier)::text",
    };
    let list = Query::select().expr(Expr::cust(list)).from(OWNED).to_owned();
    let customer = customer_by(organization, &request.customer)
        .select_only()
        .columns([
            Customer::Id,
            Customer::Email,
            Customer::Name,
            Customer::Phone,
            Customer::Address,
            Customer::Metadata,
            Customer::CreatedAt,
        ])
        .into_query();
    let mut head = head(organization);
    head.expr_as(count, "device_count").expr_as(list, "device_list");
    with_sets([(OWNED, owned)], with_head(head, customer, "id"))
}
