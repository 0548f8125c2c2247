//! Looks up one device.

use std::sync::Arc;

use sea_orm::{
    ColumnTrait, FromQueryResult, QueryFilter, QuerySelect, QueryTrait,
    prelude::TimeDateTimeWithTimeZone,
    sea_query::{Asterisk, Expr, ExprTrait, Func, SelectStatement},
};
use uuid::Uuid;

use super::{
    ReadAt, Reads,
    entity::{
        device::{Column, Entity},
        device_assignment,
    },
    page::{assignments, devices, head, revision_of, rows, with_head},
    statement_kind::StatementKind,
};
use crate::domain::{
    Error,
    get_device::{DeviceDetails, GetDevice},
    id::OrganizationId,
};

static KIND: StatementKind = StatementKind::new("get_device", "SELECT", "SELECT device device_assignment");

#[derive(FromQueryResult)]
struct Row {
    revision: Option<i64>,
    id: Option<Uuid>,
    identifier: Option<String>,
    device_type: Option<String>,
    properties: Option<String>,
    created_at: Option<TimeDateTimeWithTimeZone>,
    owner_count: Option<i64>,
}

impl Reads {
    /// A device.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`], and as every read.
    pub async fn device(
        &self,
        organization: OrganizationId,
        request: &GetDevice,
    ) -> Result<ReadAt<DeviceDetails>, Error> {
        let statement = Arc::new(statement(organization, request));
        let read = self.read(organization, &KIND, request.min_revision, move |db| {
            let statement = Arc::clone(&statement);
            async move {
                let row = rows::<Row>(&db, &statement).await?.pop();
                let revision = revision_of(row.as_ref().and_then(|row| row.revision));
                Ok(ReadAt {
                    value: row.and_then(details),
                    revision,
                })
            }
        });
        let ReadAt { value, revision } = read.await?;
        let value = value.ok_or(Error::DeviceNotFound)?;
        Ok(ReadAt { value, revision })
    }
}

fn details(row: Row) -> Option<DeviceDetails> {
    Some(DeviceDetails {
        id: row.id?.into(),
        identifier: row.identifier?,
        device_type: row.device_type?,
        properties: row.properties?,
        owners: row.owner_count?.unsigned_abs(),
        created_at: row.created_at?,
    })
}

pub(super) fn statement(organization: OrganizationId, request: &GetDevice) -> SelectStatement {
    use device_assignment::{Column as Assignment, Entity as Assignments};
    let owners = assignments(organization)
        .filter(Expr::col((Assignments, Assignment::DeviceId)).equals((Entity, Column::Id)))
        .select_only()
        .expr(Func::count(Expr::col(Asterisk)))
        .into_query();
    let device = devices(organization)
        .filter(Column::Identifier.eq(request.identifier.as_str()))
        .select_only()
        .columns([
            Column::Id,
            Column::Identifier,
            Column::DeviceType,
            Column::Properties,
            Column::CreatedAt,
        ])
        .column_as(Expr::from(owners), "owner_count")
        .into_query();
    with_head(head(organization), device, "id")
}
