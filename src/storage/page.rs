//! What the statements of lists have in common: each returns the revision in every row, and a single row if its page is empty.

use sea_orm::{
    ColumnTrait, Condition, DatabaseConnection, DbErr, EntityTrait, FromQueryResult, JoinType, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select,
    sea_query::{
        Asterisk, CommonTableExpression, Expr, ExprTrait, Func, IntoCondition, Query, SelectStatement, WithClause,
    },
};

use super::entity::{change_log, customer, device, device_assignment};
use crate::domain::{change::Revision, customer::CustomerKey, id::OrganizationId, page::PageRequest, page::Position};

/// The most rows of a set that is sorted for a page, and of a scan for the entries that a filter lets through. It bounds the time
/// of a page: about 50 ms.
pub(super) const SCAN: u64 = 10_000;

/// A row of the head of a statement: one column, the revision.
pub(super) fn head(organization: OrganizationId) -> SelectStatement {
    let newest = change_log::Entity::find()
        .select_only()
        .column(change_log::Column::Revision)
        .filter(change_log::Column::OrganizationId.eq(organization.uuid()))
        .order_by_desc(change_log::Column::Revision)
        .limit(1)
        .into_query();
    let revision = Func::coalesce([newest.into(), Expr::cust("0")]);
    Query::select().expr_as(revision, "revision").to_owned()
}

/// The row of `head` beside each row of `page`, in the order of the column `position` of the page.
pub(super) fn with_head(head: SelectStatement, page: SelectStatement, position: &'static str) -> SelectStatement {
    Query::select()
        .column(("head", Asterisk))
        .column(("page", Asterisk))
        .from_subquery(head, "head")
        .join_subquery(JoinType::LeftJoin, page, "page", always())
        .order_by(("page", position), sea_orm::Order::Asc)
        .to_owned()
}

fn always() -> Condition {
    Expr::cust("TRUE").into_condition()
}

/// A statement with named sets of rows, each found once. A set can read those before it.
pub(super) fn with_sets<const N: usize>(
    sets: [(&'static str, SelectStatement); N],
    mut statement: SelectStatement,
) -> SelectStatement {
    let mut clause = WithClause::new();
    for (name, set) in sets {
        let set = CommonTableExpression::new()
            .table_name(name)
            .query(set)
            .materialized(true)
            .to_owned();
        clause.cte(set);
    }
    statement.with_cte(clause);
    statement
}

/// How many rows a set has.
pub(super) fn count_of(set: &'static str) -> SelectStatement {
    Query::select()
        .expr(Func::count(Expr::col(Asterisk)))
        .from(set)
        .to_owned()
}

/// One more row than the page has entries shows whether there is a next page.
pub(super) fn limit<P: Position>(page: &PageRequest<P>) -> u64 {
    page.size() as u64 + 1
}

/// The rows of a statement.
pub(super) async fn rows<R: FromQueryResult>(
    db: &DatabaseConnection,
    statement: &SelectStatement,
) -> Result<Vec<R>, DbErr> {
    let statement = db.get_database_backend().build(statement);
    R::find_by_statement(statement).all(db).await
}

/// The revision of the head of a statement.
pub(super) fn revision_of(number: Option<i64>) -> Revision {
    Revision::from_stored(number.unwrap_or_default())
}

/// The customers of an organization.
pub(super) fn customers(organization: OrganizationId) -> Select<customer::Entity> {
    customer::Entity::find().filter(customer::Column::OrganizationId.eq(organization.uuid()))
}

/// A customer, by its key.
pub(super) fn customer_by(organization: OrganizationId, key: &CustomerKey) -> Select<customer::Entity> {
    let of_organization = customers(organization);
    match key {
        CustomerKey::Email(email) => of_organization.filter(customer::Column::Email.eq(email.as_str())),
        CustomerKey::Id(id) => of_organization.filter(customer::Column::Id.eq(id.uuid())),
    }
}

/// The devices of an organization.
pub(super) fn devices(organization: OrganizationId) -> Select<device::Entity> {
    device::Entity::find().filter(device::Column::OrganizationId.eq(organization.uuid()))
}

/// The assignments of an organization.
pub(super) fn assignments(organization: OrganizationId) -> Select<device_assignment::Entity> {
    device_assignment::Entity::find().filter(device_assignment::Column::OrganizationId.eq(organization.uuid()))
}

/// One column of the row of a table whose id is in this column of a set: a subquery, so that the row is looked up by its key.
pub(super) fn looked_up<E: EntityTrait, C: ColumnTrait>(
    rows: Select<E>,
    id: C,
    of_set: (&'static str, &'static str),
    column: C,
) -> Expr {
    rows.select_only()
        .column(column)
        .filter(Expr::col((id.entity_name(), id)).equals(of_set))
        .into_query()
        .into()
}

/// The ids of customers.
pub(super) fn ids(customers: Select<customer::Entity>) -> SelectStatement {
    customers.select_only().column(customer::Column::Id).into_query()
}
