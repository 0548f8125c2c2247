//! Lists customers in the order of their ids. With a prefix of their email addresses, the ones that have it are found by the index of
//! addresses and sorted; if they are too many for that, the customers are read in order, a bounded number for each page.

use std::sync::Arc;

use sea_orm::{
    ColumnTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select,
    prelude::TimeDateTimeWithTimeZone,
    sea_query::{Asterisk, Expr, ExprTrait, Order, Query, SelectStatement},
};
use uuid::Uuid;

use super::{
    ReadAt, Reads,
    entity::customer::{Column, Entity},
    page::{SCAN, count_of, customers, head, limit, revision_of, rows, with_head, with_sets},
    statement_kind::StatementKind,
};
use crate::domain::{
    Error,
    id::OrganizationId,
    list_customers::{ListCustomers, ListedCustomer},
    page::{Page, PageRequest, end_of_prefix},
};

static LIST: StatementKind = StatementKind::new("list_customers", "SELECT", "SELECT customer");
static SCAN_ALL: StatementKind = StatementKind::new("scan_customers", "SELECT", "SELECT customer");

/// The customers that are read for a page.
const SCANNED: &str = "scanned";

#[derive(FromQueryResult)]
struct Row {
    revision: Option<i64>,
    count: Option<i64>,
    last: Option<Uuid>,
    id: Option<Uuid>,
    name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    created_at: Option<TimeDateTimeWithTimeZone>,
}

impl Reads {
    /// A page of the customers of an organization.
    ///
    /// # Errors
    /// As every read.
    pub async fn customers(
        &self,
        organization: OrganizationId,
        request: &ListCustomers,
    ) -> Result<ReadAt<Page<ListedCustomer>>, Error> {
        let page = &request.page;
        let Some(prefix) = &request.email_prefix else {
            let statement = statement(organization, page, None);
            return Ok(self
                .customer_rows(organization, &LIST, page, statement)
                .await?
                .map(|rows| page_of(page, rows, false)));
        };
        let statement = by_prefix(organization, page, prefix);
        let found = self.customer_rows(organization, &LIST, page, statement).await?;
        if found
            .value
            .0
            .first()
            .and_then(|row| row.count)
            .is_none_or(|count| count.unsigned_abs() <= SCAN)
        {
            return Ok(found.map(|rows| page_of(page, rows, false)));
        }
        let statement = self::statement(organization, page, Some(prefix));
        let found = self.customer_rows(organization, &SCAN_ALL, page, statement).await?;
        Ok(found.map(|rows| page_of(page, rows, true)))
    }

    async fn customer_rows(
        &self,
        organization: OrganizationId,
        kind: &'static StatementKind,
        page: &PageRequest<Uuid>,
        statement: SelectStatement,
    ) -> Result<ReadAt<Rows>, Error> {
        let statement = Arc::new(statement);
        self.read(organization, kind, page.min_revision(), move |db| {
            let statement = Arc::clone(&statement);
            async move {
                let rows: Vec<Row> = rows(&db, &statement).await?;
                let revision = revision_of(rows.first().and_then(|row| row.revision));
                Ok(ReadAt {
                    value: Rows(rows, revision),
                    revision,
                })
            }
        })
        .await
    }
}

/// Rows and the revision that they were read at.
struct Rows(Vec<Row>, crate::domain::change::Revision);

/// The page of these rows. A scan may have stopped before the end.
fn page_of(page: &PageRequest<Uuid>, Rows(rows, revision): Rows, is_scan: bool) -> Page<ListedCustomer> {
    let first = rows.first();
    let is_cut = is_scan
        && first
            .and_then(|row| row.count)
            .is_some_and(|count| count.unsigned_abs() >= SCAN);
    let stopped_at = first.and_then(|row| row.last).filter(|_| is_cut);
    let customers = rows.into_iter().filter_map(|row| {
        Some(ListedCustomer {
            id: row.id?.into(),
            name: row.name?,
            email: row.email?,
            phone: row.phone?,
            created_at: row.created_at?,
        })
    });
    page.page_of(customers.collect(), stopped_at, revision)
}

const LISTED: [Column; 5] = [
    Column::Id,
    Column::Name,
    Column::Email,
    Column::Phone,
    Column::CreatedAt,
];

fn with_prefix(customers: Select<Entity>, prefix: &str) -> Select<Entity> {
    let customers = customers.filter(Column::Email.gte(prefix));
    match end_of_prefix(prefix) {
        Some(end) => customers.filter(Column::Email.lt(end)),
        None => customers,
    }
}

/// The customers in order from where the page before ended; with a prefix, those of the next [`SCAN`] that have it.
pub(super) fn statement(
    organization: OrganizationId,
    page: &PageRequest<Uuid>,
    prefix: Option<&str>,
) -> SelectStatement {
    let mut scanned = customers(organization)
        .select_only()
        .columns(LISTED)
        .order_by_asc(Column::Id)
        .limit(if prefix.is_some() { SCAN } else { limit(page) });
    if let Some(after) = page.after() {
        scanned = scanned.filter(Column::Id.gt(*after));
    }
    let last = Query::select()
        .column("id")
        .from(SCANNED)
        .order_by("id", Order::Desc)
        .limit(1)
        .to_owned();
    let mut head = head(organization);
    head.expr_as(count_of(SCANNED), "count").expr_as(last, "last");
    let mut listed = Query::select();
    listed
        .column(Asterisk)
        .from(SCANNED)
        .order_by((SCANNED, "id"), Order::Asc)
        .limit(limit(page));
    if let Some(prefix) = prefix {
        let email = || Expr::col((SCANNED, "email"));
        listed.and_where(email().gte(prefix));
        listed.and_where_option(end_of_prefix(prefix).map(|end| email().lt(end)));
    }
    with_sets([(SCANNED, scanned.into_query())], with_head(head, listed, "id"))
}

/// The customers with a prefix, found by their addresses.
pub(super) fn by_prefix(organization: OrganizationId, page: &PageRequest<Uuid>, prefix: &str) -> SelectStatement {
    let found = with_prefix(customers(organization), prefix)
        .select_only()
        .columns(LISTED)
        .limit(SCAN + 1);
    let mut head = head(organization);
    head.expr_as(count_of(SCANNED), "count")
        .expr_as(Expr::cust("NULL"), "last");
    let mut listed = Query::select();
    listed
        .column(Asterisk)
        .from(SCANNED)
        .and_where(Expr::from(count_of(SCANNED)).lte(SCAN.cast_signed()))
        .and_where_option(page.after().map(|after| Expr::col((SCANNED, "id")).gt(*after)))
        .order_by((SCANNED, "id"), Order::Asc)
        .limit(limit(page));
    with_sets([(SCANNED, found.into_query())], with_head(head, listed, "id"))
}
