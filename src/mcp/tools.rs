//! The table of the tools.

use std::{future::Future, pin::Pin, sync::Arc};

use prost::Message;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tonic::{Response, Status};
use utoipa::{PartialSchema, ToSchema};

use super::{failure::Failure, previews::Previews, schema};
use crate::{
    client::Services,
    pb::{
        AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse, BatchGetDeviceOwnersRequest,
        BatchGetDeviceOwnersResponse, Customer, GetDeviceRequest, GetDeviceResponse, ListChangesRequest,
        ListChangesResponse, ListCustomersRequest, ListCustomersResponse, ListDevicesRequest, ListDevicesResponse,
        ListOwnerDevicesRequest, ListOwnerDevicesResponse, QueryCustomerRequest, TransferDevicesToOwnerRequest,
        TransferDevicesToOwnerResponse, UnassignDevicesFromOwnerRequest, UnassignDevicesFromOwnerResponse,
    },
};

/// How many changes a page has, unless the assistant asks for another number: its memory is small.
const CHANGES: u32 = 20;

/// What all tools share.
#[derive(Clone)]
pub(super) struct Context {
    services: Services,
    previews: Arc<Previews>,
}

impl Context {
    pub(super) fn new(services: Services) -> Self {
        let previews = Arc::default();
        Self { services, previews }
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
/// An RPC of the service.
type Rpc<Q, A> = fn(Services, Q) -> BoxFuture<Result<Response<A>, Status>>;
type Run = dyn Fn(Context, JsonObject) -> BoxFuture<Result<Value, Failure>> + Send + Sync;

/// A tool and what it does.
pub(super) struct ToolEntry {
    pub(super) tool: Tool,
    /// Whether the key needs the scope `write`.
    pub(super) writes: bool,
    run: Box<Run>,
}

impl ToolEntry {
    /// Carries the tool out.
    pub(super) async fn call(&self, context: &Context, arguments: JsonObject) -> Result<Value, Failure> {
        let properties = self.tool.input_schema.get("properties").and_then(Value::as_object);
        let is_known = |name: &str| properties.is_some_and(|properties| properties.contains_key(name));
        if let Some(unknown) = arguments.keys().find(|name| !is_known(name)) {
            let known: Vec<_> = properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
            let known = known.join(", ");
            return Err(Failure::Arguments(format!(
                "{unknown:?} is not an argument of this tool; it has: {known}"
            )));
        }
        (self.run)(context.clone(), arguments).await
    }
}

/// A request that can be validated only.
trait Write: Message + DeserializeOwned + ToSchema + PartialSchema + Clone + Default + 'static {
    fn set_validate_only(&mut self, validate_only: bool);
}

macro_rules! writes {
    ($($request:ty),+) => {$(
        impl Write for $request {
            fn set_validate_only(&mut self, validate_only: bool) {
                self.validate_only = validate_only;
            }
        }
    )+};
}

writes!(
    AssignDevicesToOwnerRequest,
    UnassignDevicesFromOwnerRequest,
    TransferDevicesToOwnerRequest
);

/// A call of a method of one of the clients.
macro_rules! rpc {
    ($client:ident.$method:ident) => {
        |mut services, message| {
            Box::pin(async move {
                let request = services.request(message);
                services.$client.$method(request).await
            })
        }
    };
}

/// All tools.
pub(super) fn all() -> Vec<ToolEntry> {
    let mut tools = reads();
    tools.extend(write::<AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse>(
        Change {
            name: "assign_devices",
            title: "Assign devices to a customer",
            description: "Makes a customer an owner of devices; other owners stay owners. Creates the customer if there is \
                          none with this email address. Devices that do not exist are skipped, or created with \
                          autoCreateDevices and deviceType.",
            is_destructive: false,
        },
        rpc!(assignments.assign_devices_to_owner),
    ));
    tools.extend(write::<
        UnassignDevicesFromOwnerRequest,
        UnassignDevicesFromOwnerResponse,
    >(
        Change {
            name: "unassign_devices",
            title: "Remove devices from a customer",
            description: "Removes devices from a customer; other owners stay owners. Devices that do not belong to the \
                          customer are skipped.",
            is_destructive: true,
        },
        rpc!(assignments.unassign_devices_from_owner),
    ));
    tools.extend(write::<TransferDevicesToOwnerRequest, TransferDevicesToOwnerResponse>(
        Change {
            name: "transfer_devices",
            title: "Transfer devices to a customer",
            description: "Makes a customer the only owner of devices, as after a sale: all other owners lose them. Creates the \
                          customer if there is none with this email address.",
            is_destructive: true,
        },
        rpc!(assignments.transfer_devices_to_owner),
    ));
    tools
}

fn reads() -> Vec<ToolEntry> {
    vec![
        read::<BatchGetDeviceOwnersRequest, BatchGetDeviceOwnersResponse>(
            "get_device_owners",
            "Look up the owners of devices",
            "Returns who owns each of up to 1,000 devices.",
            rpc!(assignments.batch_get_device_owners),
        ),
        read::<ListOwnerDevicesRequest, ListOwnerDevicesResponse>(
            "list_customer_devices",
            "List the devices of a customer",
            "Returns the devices that a customer owns, in pages. Give either customerEmail or customerId.",
            rpc!(assignments.list_owner_devices),
        ),
        read::<QueryCustomerRequest, Customer>(
            "get_customer",
            "Look up a customer",
            "Returns what is known of the customer with an email address.",
            rpc!(customers.query_customer),
        ),
        read::<ListCustomersRequest, ListCustomersResponse>(
            "search_customers",
            "Search customers",
            "Returns the customers whose email address begins with a text, in pages; without emailPrefix all customers.",
            rpc!(customers.list_customers),
        ),
        read::<GetDeviceRequest, GetDeviceResponse>(
            "get_device",
            "Look up a device",
            "Returns what is known of the device with an identifier: its type, its properties and how many owners it has.",
            rpc!(devices.get_device),
        ),
        read::<ListDevicesRequest, ListDevicesResponse>(
            "search_devices",
            "Search devices",
            "Returns the devices whose identifier begins with a text, of a type or without an owner, in pages.",
            rpc!(devices.list_devices),
        ),
        read::<ListChangesArguments, ListChangesResponse>(
            "list_changes",
            "List changes",
            "Returns changes of assignments, customers and devices, oldest first. The member revision of the answer is the newest \
             revision: for the newest changes, subtract how many you want from it, and call again with the result as afterRevision.",
            |mut services, arguments| {
                Box::pin(async move {
                    let request = services.request(arguments.into());
                    services.changes.list_changes(request).await
                })
            },
        ),
    ]
}

/// Which changes to list.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListChangesArguments {
    /// The revision before the first change: 0, the default, for the beginning.
    #[serde(default, deserialize_with = "crate::pb::number_or_text")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{1,19}$", example = "4711")]
    after_revision: u64,
    /// How many changes to return at most, 1 to 1,000. The default is 20.
    #[schema(minimum = 1, maximum = 1_000)]
    page_size: Option<u32>,
    /// Whether to add the emails of customers and the identifiers of devices. The default is true.
    include_names: Option<bool>,
}

impl From<ListChangesArguments> for ListChangesRequest {
    fn from(arguments: ListChangesArguments) -> Self {
        Self {
            after_revision: arguments.after_revision,
            page_size: arguments.page_size.unwrap_or(CHANGES),
            include_names: arguments.include_names.unwrap_or(true),
            ..Self::default()
        }
    }
}

fn read<Q, A>(name: &'static str, title: &str, description: &'static str, rpc: Rpc<Q, A>) -> ToolEntry
where
    Q: DeserializeOwned + ToSchema + PartialSchema + Send + 'static,
    A: Serialize + ToSchema + PartialSchema + 'static,
{
    ToolEntry {
        tool: tool(
            name,
            title,
            description,
            schema::arguments::<Q>(),
            schema::result::<A>(),
        )
        .with_annotations(reading()),
        writes: false,
        run: Box::new(move |context, arguments| {
            Box::pin(async move {
                let request = parse::<Q>(arguments)?;
                to_json(&rpc(context.services, request).await?.into_inner())
            })
        }),
    }
}

/// What distinguishes a tool that changes something.
#[derive(Clone, Copy)]
struct Change {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    /// Whether somebody loses something.
    is_destructive: bool,
}

/// The preview of a change, and the change.
fn write<Q, A>(change: Change, rpc: Rpc<Q, A>) -> [ToolEntry; 2]
where
    Q: Write + Send,
    A: Serialize + ToSchema + PartialSchema + 'static,
{
    let Change {
        name,
        title,
        description,
        is_destructive,
    } = change;
    let preview = tool(
        format!("preview_{name}"),
        &format!("Preview: {title}"),
        format!(
            "Returns what {name} would do with these arguments, and changes nothing. Ids of what would be created are empty. \
             {name}: {description}"
        ),
        schema::arguments::<Q>(),
        schema::preview::<A>(),
    );
    let making = tool(
        name,
        title,
        format!(
            "{description} Needs the previewToken of preview_{name} with the same arguments, at most ten minutes old. After a \
             timeout, call it again with the same previewToken: the change is made once."
        ),
        schema::arguments_with_token::<Q>(),
        schema::result::<A>(),
    );
    let annotations = ToolAnnotations::new()
        .read_only(false)
        .destructive(is_destructive)
        .idempotent(true)
        .open_world(false);
    [
        ToolEntry {
            tool: preview.with_annotations(reading()),
            writes: true,
            run: Box::new(move |context, arguments| {
                Box::pin(async move {
                    let request = parse::<Q>(arguments)?;
                    let mut validated = request.clone();
                    validated.set_validate_only(true);
                    let answer = rpc(context.services, validated).await?.into_inner();
                    let preview = to_json(&answer)?;
                    let token = context.previews.add(name, &request);
                    Ok(json!({ "preview": preview, "previewToken": token }))
                })
            }),
        },
        ToolEntry {
            tool: making.with_annotations(annotations),
            writes: true,
            run: Box::new(move |context, mut arguments| {
                Box::pin(async move {
                    let token = arguments.remove("previewToken");
                    let token = token.as_ref().and_then(Value::as_str).unwrap_or_default();
                    let request = parse::<Q>(arguments)?;
                    context.previews.check(token, name, &request)?;
                    let services = context.services.with_idempotency_key(token);
                    to_json(&rpc(services, request).await?.into_inner())
                })
            }),
        },
    ]
}

fn reading() -> ToolAnnotations {
    ToolAnnotations::new().read_only(true).open_world(false)
}

fn tool(
    name: impl Into<std::borrow::Cow<'static, str>>,
    title: &str,
    description: impl Into<std::borrow::Cow<'static, str>>,
    arguments: JsonObject,
    result: JsonObject,
) -> Tool {
    Tool::new(name, description, arguments)
        .with_title(title)
        .with_raw_output_schema(Arc::new(result))
}

/// Reads arguments. The service checks their values.
fn parse<Q: DeserializeOwned>(arguments: JsonObject) -> Result<Q, Failure> {
    let read = |members: JsonObject| serde_json::from_value::<Q>(Value::Object(members));
    read(arguments.clone()).map_err(|error| {
        // The error does not say which argument it is about.
        let mut each = arguments.into_iter();
        let about = each.find_map(|(name, value)| {
            let error = read(Map::from_iter([(name.clone(), value)])).err()?;
            Some(format!("{name}: {error}"))
        });
        Failure::Arguments(about.unwrap_or_else(|| error.to_string()))
    })
}

/// An answer as JSON. Messages of the service always have this form.
fn to_json(answer: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(answer).map_err(|error| Status::internal(error.to_string()).into())
}
