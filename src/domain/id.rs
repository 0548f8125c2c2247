//! Ids: a UUIDv7 with a prefix that names the type. As text they have the [TypeID](https://github.com/jetify-com/typeid)
//! form: the prefix and 26 characters of lower-case Crockford base32. Databases store the UUID.

use type_safe_id::{StaticType, TypeSafeId};

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
