//! Ids: a UUIDv7 with a prefix that names the type. As text they have the [TypeID](https://github.com/jetify-com/typeid)
//! form: the prefix and 26 characters of lower-case Crockford base32. Databases store the UUID.

use type_safe_id::{StaticType, TypeSafeId};
use uuid::{ContextV7, NoContext, Timestamp, Uuid};

macro_rules! id {
    ($noun:ident, $id:ident, $prefix:literal, $what:literal) => {
        #[doc = concat!("The tag of ", $what, "'s id.")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $noun;

        impl StaticType for $noun {
            const TYPE: &'static str = $prefix;
        }

        #[doc = concat!("The id of ", $what, ": `", $prefix, "_` and 26 characters.")]
        pub type $id = TypeSafeId<$noun>;
    };
}

id!(Organization, OrganizationId, "org", "an organization");
id!(ApiKey, ApiKeyId, "key", "an API key");
id!(Customer, CustomerId, "cust", "a customer");
id!(Device, DeviceId, "dev", "a device");
id!(History, HistoryId, "hist", "a history of changes");

/// A new id: the time, and random bits. [`Uuid::now_v7`] counts up within a millisecond for the whole process, so callers could
/// estimate how many ids others get.
pub fn new_id() -> Uuid {
    Uuid::new_v7(Timestamp::now(NoContext))
}

/// Makes new ids in ascending order. The first is random.
pub fn new_ids() -> impl FnMut() -> Uuid {
    let context = ContextV7::new();
    move || Uuid::new_v7(Timestamp::now(&context))
}

/// Makes ids for what a preview would create. They differ from each other and from all stored ids, and are never stored.
pub fn preview_ids() -> impl FnMut() -> Uuid + Send {
    let mut count = 0;
    move || {
        count += 1;
        Uuid::from_u64_pair(0, count)
    }
}

/// The text of an id for callers. Empty if a preview has made the id up.
pub fn id_text<T: StaticType>(id: TypeSafeId<T>) -> String {
    match id.uuid().as_u64_pair() {
        // A UUIDv7 begins with its time.
        (0, 1..) => String::new(),
        _ => id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_previews_are_distinct_and_have_no_text() {
        let mut new_id = preview_ids();
        let ids = [new_id(), new_id()].map(DeviceId::from_uuid);
        assert_ne!(ids[0], ids[1]);
        assert_eq!(ids.map(id_text), ["", ""]);
        let stored = DeviceId::from_uuid(super::new_id());
        assert_eq!(id_text(stored), stored.to_string());
    }

    #[test]
    fn ids_do_not_count() {
        // Without the time, the version and the variant.
        let random = |id: Uuid| id.as_u128() & 0xfff_3fff_ffff_ffff_ffff;
        let is_near = |pair: &[u128]| pair[0].abs_diff(pair[1]) < 1 << 48;
        let alone: Vec<_> = (0..1_000).map(|_| random(new_id())).collect();
        let first: Vec<_> = (0..1_000).map(|_| random(new_ids()())).collect();
        for ids in [alone, first] {
            assert!(!ids.windows(2).any(is_near), "{ids:x?}");
        }
    }

    #[test]
    fn ids_made_together_are_in_order() {
        let mut new_id = new_ids();
        let ids: Vec<_> = (0..10_000).map(|_| new_id()).collect();
        assert!(ids.is_sorted());
    }
}
