//! Every method with one valid request. A new method needs a row here: tests of what all methods have in common run over this
//! table.

use std::pin::Pin;

use device_assignment::{
    domain::api_key::Scope,
    pb::{
        AssignDeviceToOwnersRequest, BulkUpdateDeviceMetadataRequest, CheckCredentialsRequest,
        CreateOrUpdateCustomerRequest, CreateOrUpdateDeviceRequest, DeleteCustomerRequest, DeleteDeviceRequest,
        DeviceMetadata, TransferDevicesToOwnerRequest, UnassignDeviceFromOwnerRequest, UnassignDevicesFromOwnerRequest,
        customer_service_client::CustomerServiceClient, device_service_client::DeviceServiceClient,
        organization_service_client::OrganizationServiceClient,
    },
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    ASSIGN_ONE_PATH, Answer, Client, PATH, TRANSFER_PATH, UNASSIGN_ONE_PATH, UNASSIGN_PATH, client::answer_of,
};

/// What the requests can name, beside SN-001, which exists, and SN-002, which belongs to [`JOHN`].
#[derive(Debug, Clone)]
pub struct World {
    /// The id of John.
    pub customer: String,
}

pub const JOHN: &str = "john.doe@example.com";

/// A method, and a valid request of it.
pub struct Row {
    /// Its RPC, without the service.
    pub rpc: &'static str,
    /// The scope that it needs.
    pub scope: Scope,
    /// The HTTP method.
    pub http: Method,
    /// The path, as the OpenAPI description names it. A parameter in it is the id of John.
    pub path: &'static str,
    /// The query string, with its question mark. `{customer}` in it is the id of John.
    pub query: &'static str,
    /// The JSON of the request; null for none.
    pub body: fn(&World) -> Value,
    /// The same request over gRPC.
    pub grpc: Rpc,
    /// The reason of the error if another organization, which has none of this, sends the same request; `OK` if there is none.
    pub stranger: &'static str,
    /// The beginning of the names of the tests with the rules of the method: its successes and its rejections.
    pub contract: &'static str,
}

type Rpc = fn(Client, World) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// An RPC: `rpc!(Client.method(|world| request))`.
macro_rules! rpc {
    ($stub:ident . $method:ident ( | $world:pat_param | $request:expr )) => {
        |client: Client, $world: World| {
            Box::pin(async move {
                let mut stub = $stub::new(client.channel());
                answer_of(stub.$method(client.signed($request)).await)
            })
        }
    };
}

impl Row {
    /// Makes the call.
    pub async fn call(&self, client: &Client, world: &World) -> Answer {
        if client.api == crate::support::Api::Grpc {
            return (self.grpc)(client.clone(), world.clone()).await;
        }
        let path = match self.path.split_once('{') {
            Some((before, _)) => format!("{before}{}", world.customer),
            None => self.path.to_owned(),
        };
        let query = self.query.replace("{customer}", &world.customer);
        let mut request = client.request(self.http.clone(), &format!("{path}{query}"));
        let body = (self.body)(world);
        if !body.is_null() {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        client.send(request).await
    }
}

pub fn rows() -> Vec<Row> {
    use device_assignment::pb::{
        AssignDevicesToOwnerRequest, BatchGetDeviceOwnersRequest, GetCustomerRequest, GetDeviceRequest,
        ListCustomersRequest, ListDeviceOwnersRequest, ListDevicesRequest, ListOwnerDevicesRequest,
        QueryCustomerRequest, device_assignment_service_client::DeviceAssignmentServiceClient,
    };
    use device_assignment::pb::{ListChangesRequest, WatchChangesRequest, change_service_client::ChangeServiceClient};
    vec![
        Row {
            rpc: "AssignDevicesToOwner",
            scope: Scope::Write,
            http: Method::POST,
            path: PATH,
            query: "",
            body: |_| json!({ "customerEmail": JOHN, "deviceIdentifiers": ["SN-001"] }),
            grpc: rpc!(
                DeviceAssignmentServiceClient.assign_devices_to_owner(|_| AssignDevicesToOwnerRequest {
                    customer_email: JOHN.into(),
                    device_identifiers: vec!["SN-001".into()],
                    ..Default::default()
                })
            ),
            stranger: "NO_VALID_DEVICES",
            contract: "contract::",
        },
        Row {
            rpc: "AssignDeviceToOwners",
            scope: Scope::Write,
            http: Method::POST,
            path: ASSIGN_ONE_PATH,
            query: "",
            body: |_| json!({ "deviceIdentifier": "SN-001", "customerEmails": [JOHN] }),
            grpc: rpc!(
                DeviceAssignmentServiceClient.assign_device_to_owners(|_| AssignDeviceToOwnersRequest {
                    device_identifier: "SN-001".into(),
                    customer_emails: vec![JOHN.into()],
                    ..Default::default()
                })
            ),
            stranger: "DEVICE_NOT_FOUND",
            contract: "assign_device::",
        },
        Row {
            rpc: "TransferDevicesToOwner",
            scope: Scope::Write,
            http: Method::POST,
            path: TRANSFER_PATH,
            query: "",
            body: |_| json!({ "customerEmail": JOHN, "deviceIdentifiers": ["SN-001"] }),
            grpc: rpc!(
                DeviceAssignmentServiceClient.transfer_devices_to_owner(|_| TransferDevicesToOwnerRequest {
                    customer_email: JOHN.into(),
                    device_identifiers: vec!["SN-001".into()],
                    ..Default::default()
                })
            ),
            stranger: "NO_VALID_DEVICES",
            contract: "transfer::",
        },
        Row {
            rpc: "UnassignDevicesFromOwner",
            scope: Scope::Write,
            http: Method::POST,
            path: UNASSIGN_PATH,
            query: "",
            body: |_| json!({ "customerEmail": JOHN, "deviceIdentifiers": ["SN-002"] }),
            grpc: rpc!(DeviceAssignmentServiceClient.unassign_devices_from_owner(|_| {
                UnassignDevicesFromOwnerRequest {
                    customer_email: JOHN.into(),
                    device_identifiers: vec!["SN-002".into()],
                    ..Default::default()
                }
            })),
            stranger: "CUSTOMER_NOT_FOUND",
            contract: "unassign::rejected::many",
        },
        Row {
            rpc: "UnassignDeviceFromOwner",
            scope: Scope::Write,
            http: Method::POST,
            path: UNASSIGN_ONE_PATH,
            query: "",
            body: |_| json!({ "customerEmail": JOHN, "deviceIdentifier": "SN-002" }),
            grpc: rpc!(
                DeviceAssignmentServiceClient.unassign_device_from_owner(|_| UnassignDeviceFromOwnerRequest {
                    customer_email: JOHN.into(),
                    device_identifier: "SN-002".into(),
                    ..Default::default()
                })
            ),
            stranger: "CUSTOMER_NOT_FOUND",
            contract: "unassign::rejected::one",
        },
        Row {
            rpc: "BatchGetDeviceOwners",
            scope: Scope::Read,
            http: Method::POST,
            path: "/api/ext-v1/deviceAssignment/batchGetDeviceOwners",
            query: "",
            body: |_| json!({ "deviceIdentifiers": ["SN-002"] }),
            grpc: rpc!(
                DeviceAssignmentServiceClient.batch_get_device_owners(|_| BatchGetDeviceOwnersRequest {
                    device_identifiers: vec!["SN-002".into()],
                    ..Default::default()
                })
            ),
            stranger: "OK",
            contract: "reads::batch_get",
        },
        Row {
            rpc: "CreateOrUpdateDevice",
            scope: Scope::Write,
            http: Method::POST,
            path: "/api/ext-v1/device",
            query: "",
            body: |_| json!({ "identifier": "SN-001", "type": "sensor", "properties": { "a": 1 } }),
            grpc: rpc!(
                DeviceServiceClient.create_or_update_device(|_| CreateOrUpdateDeviceRequest {
                    identifier: "SN-001".into(),
                    r#type: Some("sensor".into()),
                    ..Default::default()
                })
            ),
            stranger: "OK",
            contract: "entities::rejected::SaveDevice",
        },
        Row {
            rpc: "BulkUpdateDeviceMetadata",
            scope: Scope::Write,
            http: Method::POST,
            path: "/api/ext-v1/device/bulk-metadata",
            query: "",
            body: |_| json!({ "devices": { "SN-001": { "a": 1 } } }),
            grpc: rpc!(
                DeviceServiceClient.bulk_update_device_metadata(|_| BulkUpdateDeviceMetadataRequest {
                    devices: vec![DeviceMetadata {
                        identifier: "SN-001".into(),
                        metadata_json: "{}".into(),
                    }],
                    ..Default::default()
                })
            ),
            stranger: "OK",
            contract: "entities::rejected::SaveMetadata",
        },
        Row {
            rpc: "DeleteDevice",
            scope: Scope::Write,
            http: Method::POST,
            path: "/api/ext-v1/device/deleteDevice",
            query: "",
            body: |_| json!({ "identifier": "SN-001" }),
            grpc: rpc!(DeviceServiceClient.delete_device(|_| DeleteDeviceRequest {
                identifier: "SN-001".into(),
                ..Default::default()
            })),
            stranger: "DEVICE_NOT_FOUND",
            contract: "entities::rejected::DeleteDevice",
        },
        Row {
            rpc: "CreateOrUpdateCustomer",
            scope: Scope::Write,
            http: Method::POST,
            path: "/api/ext-v1/customer/createOrUpdateCustomer",
            query: "",
            body: |world| json!({ "email": JOHN, "telemetronCustomerId": world.customer, "name": "John" }),
            grpc: rpc!(CustomerServiceClient.create_or_update_customer(|world| {
                CreateOrUpdateCustomerRequest {
                    email: JOHN.into(),
                    telemetron_customer_id: Some(world.customer),
                    ..Default::default()
                }
            })),
            stranger: "CUSTOMER_NOT_FOUND",
            contract: "entities::rejected::SaveCustomer",
        },
        Row {
            rpc: "DeleteCustomer",
            scope: Scope::Write,
            http: Method::POST,
            path: "/api/ext-v1/customer/deleteCustomer",
            query: "",
            body: |world| json!({ "telemetronCustomerId": world.customer }),
            grpc: rpc!(CustomerServiceClient.delete_customer(|world| DeleteCustomerRequest {
                telemetron_customer_id: Some(world.customer),
                ..Default::default()
            })),
            stranger: "CUSTOMER_NOT_FOUND",
            contract: "entities::rejected::DeleteCustomer",
        },
        Row {
            rpc: "ListOwnerDevices",
            scope: Scope::Read,
            http: Method::POST,
            path: "/api/ext-v1/deviceAssignment/listOwnerDevices",
            query: "",
            body: |_| json!({ "customerEmail": JOHN }),
            grpc: rpc!(
                DeviceAssignmentServiceClient.list_owner_devices(|_| ListOwnerDevicesRequest {
                    customer_email: Some(JOHN.into()),
                    ..Default::default()
                })
            ),
            stranger: "CUSTOMER_NOT_FOUND",
            contract: "reads::owner_devices",
        },
        Row {
            rpc: "ListOwnerDevices",
            scope: Scope::Read,
            http: Method::GET,
            path: "/api/ext-v1/deviceAssignment/devices",
            query: "?customerId={customer}",
            body: |_| Value::Null,
            grpc: rpc!(
                DeviceAssignmentServiceClient.list_owner_devices(|world| ListOwnerDevicesRequest {
                    customer_id: Some(world.customer),
                    ..Default::default()
                })
            ),
            stranger: "CUSTOMER_NOT_FOUND",
            contract: "reads::owner_devices",
        },
        Row {
            rpc: "ListDeviceOwners",
            scope: Scope::Read,
            http: Method::GET,
            path: "/api/ext-v1/deviceAssignment/owners",
            query: "?deviceIdentifier=SN-002",
            body: |_| Value::Null,
            grpc: rpc!(
                DeviceAssignmentServiceClient.list_device_owners(|_| ListDeviceOwnersRequest {
                    device_identifier: "SN-002".into(),
                    ..Default::default()
                })
            ),
            stranger: "DEVICE_NOT_FOUND",
            contract: "reads::device_owners",
        },
        Row {
            rpc: "GetDevice",
            scope: Scope::Read,
            http: Method::GET,
            path: "/api/ext-v1/device",
            query: "?identifier=SN-002",
            body: |_| Value::Null,
            grpc: rpc!(DeviceServiceClient.get_device(|_| GetDeviceRequest {
                identifier: "SN-002".into(),
                ..Default::default()
            })),
            stranger: "DEVICE_NOT_FOUND",
            contract: "reads::device_the",
        },
        Row {
            rpc: "ListDevices",
            scope: Scope::Read,
            http: Method::GET,
            path: "/api/ext-v1/devices",
            query: "",
            body: |_| Value::Null,
            grpc: rpc!(DeviceServiceClient.list_devices(|_| ListDevicesRequest::default())),
            stranger: "OK",
            contract: "reads::devices_with",
        },
        Row {
            rpc: "QueryCustomer",
            scope: Scope::Read,
            http: Method::POST,
            path: "/api/ext-v1/customer/queryCustomer",
            query: "",
            body: |_| json!({ "email": JOHN }),
            grpc: rpc!(CustomerServiceClient.query_customer(|_| QueryCustomerRequest {
                email: JOHN.into(),
                ..Default::default()
            })),
            stranger: "CUSTOMER_NOT_FOUND",
            contract: "reads::customer_the",
        },
        Row {
            rpc: "GetCustomer",
            scope: Scope::Read,
            http: Method::GET,
            path: "/api/ext-v1/customer/getCustomer/{telemetronCustomerId}",
            query: "",
            body: |_| Value::Null,
            grpc: rpc!(CustomerServiceClient.get_customer(|world| GetCustomerRequest {
                telemetron_customer_id: world.customer,
                ..Default::default()
            })),
            stranger: "CUSTOMER_NOT_FOUND",
            contract: "reads::customer_the",
        },
        Row {
            rpc: "ListCustomers",
            scope: Scope::Read,
            http: Method::GET,
            path: "/api/ext-v1/customers",
            query: "",
            body: |_| Value::Null,
            grpc: rpc!(CustomerServiceClient.list_customers(|_| ListCustomersRequest::default())),
            stranger: "OK",
            contract: "reads::customers_by",
        },
        Row {
            rpc: "ListCustomers",
            scope: Scope::Read,
            http: Method::POST,
            path: "/api/ext-v1/customer/listCustomers",
            query: "",
            body: |_| json!({ "emailPrefix": "john" }),
            grpc: rpc!(CustomerServiceClient.list_customers(|_| ListCustomersRequest::default())),
            stranger: "OK",
            contract: "reads::customers_by",
        },
        Row {
            rpc: "CheckCredentials",
            scope: Scope::Read,
            http: Method::GET,
            path: "/api/ext-v1/credentials",
            query: "",
            body: |_| Value::Null,
            grpc: rpc!(OrganizationServiceClient.check_credentials(|_| CheckCredentialsRequest::default())),
            stranger: "OK",
            contract: "credentials::",
        },
        Row {
            rpc: "ListChanges",
            scope: Scope::Read,
            http: Method::GET,
            path: "/api/ext-v1/changes",
            query: "?after=0",
            body: |_| Value::Null,
            grpc: rpc!(ChangeServiceClient.list_changes(|_| ListChangesRequest::default())),
            stranger: "OK",
            contract: "changes::",
        },
        Row {
            rpc: "WatchChanges",
            scope: Scope::Read,
            http: Method::GET,
            // As a page, because this reads the whole answer.
            path: "/api/ext-v1/changes",
            query: "?includeNames=true",
            body: |_| Value::Null,
            grpc: |client, _| {
                Box::pin(async move {
                    let mut stub = ChangeServiceClient::new(client.channel());
                    let stream = stub.watch_changes(client.signed(WatchChangesRequest::default())).await;
                    let (metadata, mut stream, extensions) = match stream {
                        Ok(stream) => stream.into_parts(),
                        Err(status) => return Answer::from(status),
                    };
                    let first = stream.message().await.expect("no error").expect("a first response");
                    answer_of(Ok(tonic::Response::from_parts(metadata, first, extensions)))
                })
            },
            stranger: "OK",
            contract: "changes::",
        },
    ]
}
