use sea_orm::entity::prelude::*;

/// A customer owns a device. A device can have several owners.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "device_assignment")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub customer_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_id: Uuid,
    pub created_at: TimeDateTimeWithTimeZone,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::customer::Entity",
        from = "(Column::OrganizationId, Column::CustomerId)",
        to = "(super::customer::Column::OrganizationId, super::customer::Column::Id)"
    )]
    Customer,
    #[sea_orm(
        belongs_to = "super::device::Entity",
        from = "(Column::OrganizationId, Column::DeviceId)",
        to = "(super::device::Column::OrganizationId, super::device::Column::Id)"
    )]
    Device,
}

impl Related<super::customer::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Customer.def()
    }
}

impl Related<super::device::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Device.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
