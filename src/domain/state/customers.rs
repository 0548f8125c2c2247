//! The customers of a state.

use super::State;
use crate::domain::{
    change::{ChangeSet, NewCustomer},
    customer::CustomerData,
    email::Email,
    id::CustomerId,
};

impl State<'_> {
    /// The customer with this address.
    pub fn customer(&self, email: &Email) -> Option<CustomerId> {
        let changed = self.customers.get(email).copied();
        changed.unwrap_or_else(|| self.existing.customers.get(email.as_str()).copied())
    }

    /// The customer with this address, and whether it was created just now.
    pub fn find_or_create_customer(&mut self, email: &Email) -> (CustomerId, bool) {
        match self.customer(email) {
            Some(id) => (id, false),
            None => (self.create_customer(CustomerData::new(email.clone())), true),
        }
    }

    /// Creates a customer. There must be none with this address.
    pub fn create_customer(&mut self, data: CustomerData) -> CustomerId {
        let id = CustomerId::from_uuid((self.new_id)());
        self.customers.insert(data.email.clone(), Some(id));
        self.data.insert(id, Some(data));
        self.created_customers.insert(id);
        self.record(|entry| entry.customers_created.push(id));
        id
    }

    /// What is stored of the customer with this id. The command must have asked for the customer.
    pub fn customer_data(&self, id: CustomerId) -> Option<CustomerData> {
        let changed = self.data.get(&id).cloned();
        changed.unwrap_or_else(|| self.existing.data.get(&id).cloned())
    }

    /// Changes what is stored of a customer. No other customer may have the address. Returns whether anything is different.
    pub fn update_customer(&mut self, id: CustomerId, data: CustomerData) -> bool {
        let before = self.customer_data(id);
        if before.as_ref() == Some(&data) {
            return false;
        }
        if let Some(before) = before {
            self.customers.insert(before.email, None);
        }
        self.customers.insert(data.email.clone(), Some(id));
        self.data.insert(id, Some(data));
        self.record(|entry| entry.customers_updated.push(id));
        true
    }

    /// Deletes a customer that has no devices.
    pub fn delete_customer(&mut self, id: CustomerId) {
        if let Some(data) = self.customer_data(id) {
            self.customers.insert(data.email, None);
        }
        self.data.insert(id, None);
        self.record(|entry| entry.customers_deleted.push(id));
        self.erase_answers(id);
    }

    /// Adds what changed of customers.
    pub(super) fn customer_changes(&mut self, changes: &mut ChangeSet) {
        for (id, data) in std::mem::take(&mut self.data) {
            match (data, self.created_customers.contains(&id)) {
                (Some(data), true) => changes.customers.push(NewCustomer { id, data }),
                (Some(data), false) if self.existing.data.get(&id) == Some(&data) => {}
                (Some(data), false) => changes.customers_updated.push((id, data)),
                (None, true) => {}
                (None, false) => changes.customers_deleted.push(id),
            }
        }
        let freed = changes.customers_updated.iter().map(|(id, _)| *id).filter(|id| {
            let before = self.existing.data.get(id).map(|data| &data.email);
            let owner = before.and_then(|email| self.customers.get(email).copied().flatten());
            owner.is_some_and(|owner| owner != *id)
        });
        changes.emails_freed = freed.collect();
        changes
            .customers
            .sort_unstable_by(|one, other| one.data.email.cmp(&other.data.email));
        changes.customers_updated.sort_unstable_by_key(|(id, _)| *id);
        changes.emails_freed.sort_unstable();
        changes.customers_deleted.sort_unstable();
    }
}
