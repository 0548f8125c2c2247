//! Generates the messages and the client from `proto/`. For the server also generates its side of the RPC, the JSON form of the
//! messages and its description, the descriptor set for reflection, and the guides as pages (`build/guides.rs`).

#[cfg(feature = "server")]
#[path = "build/fields.rs"]
mod fields;
#[cfg(feature = "server")]
#[path = "build/guides.rs"]
mod guides;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files([
        "telemetron/device_assignment/v1/device_assignment.proto",
        "telemetron/device_assignment/v1/device.proto",
        "telemetron/device_assignment/v1/customer.proto",
        "telemetron/device_assignment/v1/organization.proto",
        "telemetron/device_assignment/v1/changes.proto",
    ])?;
    let config = tonic_prost_build::configure()
        .build_client(cfg!(feature = "client"))
        .build_server(cfg!(feature = "server"));
    #[cfg(feature = "server")]
    let config = server::configure(config, &compiler)?;
    config.compile_fds(compiler.file_descriptor_set())?;
    #[cfg(feature = "server")]
    server::generate_change_service(compiler.file_descriptor_set())?;
    Ok(())
}

/// What only the server needs.
#[cfg(feature = "server")]
mod server {
    use std::{env, error::Error, fs, path::PathBuf};

    use tonic_prost_build::{Builder, FileDescriptorSet};

    const PACKAGE: &str = "telemetron.device_assignment.v1";

    pub(super) fn configure(config: Builder, compiler: &protox::Compiler) -> Result<Builder, Box<dyn Error>> {
        let out = PathBuf::from(env::var("OUT_DIR")?);
        fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
        for (rpc, description) in descriptions(&compiler.file_descriptor_set())? {
            fs::write(out.join(rpc).with_extension("md"), description)?;
        }
        crate::fields::generate(&compiler.file_descriptor_set(), PACKAGE, &out)?;
        crate::guides::generate(&out)?;
        Ok(with_json(config))
    }

    /// Generates the server side of `ChangeService` with a response of `WatchChanges` that is encoded already: many streams send
    /// the same changes.
    pub(super) fn generate_change_service(mut descriptors: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
        descriptors.file.retain(|file| file.name().ends_with("/changes.proto"));
        let out = PathBuf::from(env::var("OUT_DIR")?).join("change_service");
        fs::create_dir_all(&out)?;
        tonic_prost_build::configure()
            .build_client(false)
            .out_dir(out)
            .codec_path("crate::grpc::encoded_changes::ChangeCodec")
            .extern_path(format!(".{PACKAGE}"), "crate::pb")
            .extern_path(
                format!(".{PACKAGE}.WatchChangesResponse"),
                "crate::grpc::encoded_changes::EncodedChanges",
            )
            .compile_fds(descriptors)?;
        Ok(())
    }

    /// Gives the messages their JSON form and its description.
    ///
    /// The documented JSON is the proto3 JSON form of these messages with every field printed.
    fn with_json(mut config: Builder) -> Builder {
        let message = |name: &str| format!("{PACKAGE}.{name}");
        let read =
            "#[derive(serde::Deserialize, utoipa::ToSchema)] #[serde(rename_all = \"camelCase\", deny_unknown_fields)]";
        let write = "#[derive(serde::Serialize, utoipa::ToSchema)] #[serde(rename_all = \"camelCase\")]";
        for request in REQUESTS {
            config = config.type_attribute(message(request), read);
        }
        for response in RESPONSES {
            config = config.type_attribute(message(response), write);
        }
        for (field, kind) in FIELDS {
            let id = |kind: &str| format!("{kind}_[0-7][0-9a-hjkmnp-tv-z]{{25}}");
            let attribute = match kind {
                Kind::Request(schema) => format!("{OPTIONAL} #[schema({schema})]"),
                // The gateway sets it.
                Kind::GrpcOnly => "#[serde(skip)]".to_owned(),
                Kind::PageSize => PAGE_SIZE.to_owned(),
                Kind::MinRevision => format!("{OPTIONAL_NUMBER} #[schema({MIN_REVISION})]"),
                Kind::JsonRequest(name) => format!(
                    "#[serde(default, rename = \"{name}\", deserialize_with = \"crate::pb::json_as_text\")] \
                     #[schema(value_type = Option<Object>)]"
                ),
                Kind::JsonResponse(name) => format!(
                    "#[serde(rename = \"{name}\", serialize_with = \"crate::pb::text_as_json\")] \
                     #[schema(value_type = Object)]"
                ),
                Kind::Metadata => "#[serde(deserialize_with = \"crate::pb::metadata_by_identifier\")] \
                                   #[schema(value_type = std::collections::BTreeMap<String, Object>)]"
                    .to_owned(),
                Kind::Response(schema) => format!("#[schema({schema})]"),
                Kind::Revision => format!("{NUMBER} #[schema({REVISION})]"),
                Kind::Time => "#[schema(format = DateTime)]".to_owned(),
                Kind::Id(kind) => format!("#[schema(pattern = \"^{}$\")]", id(kind)),
                Kind::NewId(kind) => format!("#[schema(pattern = \"^({})?$\")]", id(kind)),
            };
            config = config.field_attribute(message(field), attribute);
        }
        config
    }

    /// The messages that REST reads, and those that it writes.
    const REQUESTS: &[&str] = &[
        "AssignDevicesToOwnerRequest",
        "AssignDeviceToOwnersRequest",
        "TransferDevicesToOwnerRequest",
        "UnassignDevicesFromOwnerRequest",
        "UnassignDeviceFromOwnerRequest",
        "BatchGetDeviceOwnersRequest",
        "CreateOrUpdateDeviceRequest",
        "BulkUpdateDeviceMetadataRequest",
        "DeleteDeviceRequest",
        "CreateOrUpdateCustomerRequest",
        "DeleteCustomerRequest",
        "ListOwnerDevicesRequest",
        "ListDeviceOwnersRequest",
        "GetDeviceRequest",
        "ListDevicesRequest",
        "QueryCustomerRequest",
        "GetCustomerRequest",
        "ListCustomersRequest",
    ];
    const RESPONSES: &[&str] = &[
        "AssignDevicesToOwnerResponse",
        "AssignedDevice",
        "AssignDeviceToOwnersResponse",
        "AssignedCustomer",
        "TransferDevicesToOwnerResponse",
        "TransferredDevice",
        "UnassignDevicesFromOwnerResponse",
        "UnassignDeviceFromOwnerResponse",
        "CheckCredentialsResponse",
        "BatchGetDeviceOwnersResponse",
        "DeviceOwners",
        "ListOwnerDevicesResponse",
        "OwnerDevice",
        "ListDeviceOwnersResponse",
        "GetDeviceResponse",
        "ListDevicesResponse",
        "ListedDevice",
        "Customer",
        "ListCustomersResponse",
        "ListedCustomer",
        "DeviceOwner",
        "CreateOrUpdateDeviceResponse",
        "BulkUpdateDeviceMetadataResponse",
        "DeviceMetadataResult",
        "DeleteDeviceResponse",
        "CreateOrUpdateCustomerResponse",
        "DeleteCustomerResponse",
        "ListChangesResponse",
        "WatchChangesResponse",
        "Change",
        "Actor",
        "CustomerDevices",
        "CustomerName",
        "DeviceName",
    ];

    /// How a field is read or described.
    enum Kind {
        /// A field of a request, with rules that the type does not express.
        Request(&'static str),
        /// A field of a request that REST does not have.
        GrpcOnly,
        /// How many entries a page has at most.
        PageSize,
        /// The revision that the answer to a read must have or exceed.
        MinRevision,
        /// The revision that a response was read at.
        Revision,
        /// A time in a response.
        Time,
        /// A JSON object in a request, whose name in JSON is this.
        JsonRequest(&'static str),
        /// A JSON object in a response, whose name in JSON is this.
        JsonResponse(&'static str),
        /// Devices with their metadata, which JSON has as an object.
        Metadata,
        /// A field of a response, with rules that the type does not express.
        Response(&'static str),
        /// An id of this kind in a response, or a list of ids.
        Id(&'static str),
        /// The same, or empty if nothing was created because the caller only wanted to validate.
        NewId(&'static str),
    }

    const OPTIONAL: &str = "#[serde(default, deserialize_with = \"crate::pb::null_as_absent\")]";
    /// JSON has 64-bit integers as strings (ProtoJSON); requests may also send numbers.
    const NUMBER: &str = "#[serde(serialize_with = \"crate::pb::number_as_text\")]";
    const OPTIONAL_NUMBER: &str = "#[serde(default, deserialize_with = \"crate::pb::number_or_text\")]";
    const REVISION: &str = r#"value_type = String, pattern = "^[0-9]{1,19}$", example = "4711""#;
    const MIN_REVISION: &str = r#"value_type = Option<String>, pattern = "^[0-9]{1,19}$", example = "4711""#;
    /// A page size, which JSON may also write as 100.0.
    const PAGE_SIZE: &str = "#[serde(default, deserialize_with = \"crate::pb::integer\")] \
                             #[schema(nullable, minimum = 0, maximum = 2147483647, example = 100)]";
    const PAGE_TOKEN: Kind = Kind::Request("nullable, max_length = 2048");
    const OPTIONAL_EMAIL: &str =
        r#"nullable, format = Email, min_length = 1, max_length = 254, example = "john.doe@example.com""#;
    const CUSTOMER: &str =
        r#"required, pattern = "^cust_[0-7][0-9a-hjkmnp-tv-z]{25}$", example = "cust_01m835zmv6e3ts9whpry4tgqhh""#;
    const OPTIONAL_CUSTOMER: &str =
        r#"nullable, pattern = "^cust_[0-7][0-9a-hjkmnp-tv-z]{25}$", example = "cust_01m835zmv6e3ts9whpry4tgqhh""#;
    const EMAIL: Kind = Kind::Request(
        r#"required, format = Email, min_length = 1, max_length = 254, example = "john.doe@example.com""#,
    );
    /// The gateway adds the limit on devices, which is a setting.
    const IDENTIFIERS: Kind = Kind::Request(
        r#"required, min_items = 1, min_length = 1, max_length = 255, example = json!(["SN-001", "SN-002"])"#,
    );
    const IDENTIFIER: Kind = Kind::Request(r#"required, min_length = 1, max_length = 255, example = "SN-12345-ABCDE""#);

    const VALIDATE_ONLY: Kind = Kind::Request("nullable");

    /// The fields that need more than their type.
    const FIELDS: &[(&str, Kind)] = &[
        ("AssignDevicesToOwnerRequest.customer_email", EMAIL),
        ("AssignDevicesToOwnerRequest.device_identifiers", IDENTIFIERS),
        (
            "AssignDevicesToOwnerRequest.auto_create_devices",
            Kind::Request("nullable"),
        ),
        (
            "AssignDevicesToOwnerRequest.device_type",
            Kind::Request(r#"example = "sensor""#),
        ),
        ("AssignDevicesToOwnerRequest.validate_only", VALIDATE_ONLY),
        ("AssignDevicesToOwnerResponse.customer_id", Kind::NewId("cust")),
        ("AssignedDevice.device_id", Kind::NewId("dev")),
        ("AssignDeviceToOwnersRequest.device_identifier", IDENTIFIER),
        (
            "AssignDeviceToOwnersRequest.customer_emails",
            Kind::Request(
                r#"required, min_items = 1, format = Email, max_length = 254, example = json!(["john.doe@example.com"])"#,
            ),
        ),
        (
            "AssignDeviceToOwnersRequest.auto_create_device",
            Kind::Request("nullable"),
        ),
        (
            "AssignDeviceToOwnersRequest.device_type",
            Kind::Request(r#"example = "sensor""#),
        ),
        ("AssignDeviceToOwnersRequest.validate_only", VALIDATE_ONLY),
        ("AssignDeviceToOwnersResponse.device_id", Kind::NewId("dev")),
        ("AssignedCustomer.email", Kind::Response("format = Email")),
        ("AssignedCustomer.customer_id", Kind::NewId("cust")),
        ("TransferDevicesToOwnerRequest.customer_email", EMAIL),
        ("TransferDevicesToOwnerRequest.device_identifiers", IDENTIFIERS),
        (
            "TransferDevicesToOwnerRequest.auto_create_devices",
            Kind::Request("nullable"),
        ),
        (
            "TransferDevicesToOwnerRequest.device_type",
            Kind::Request(r#"example = "sensor""#),
        ),
        (
            "TransferDevicesToOwnerRequest.expected_owner",
            Kind::Request(r#"nullable, max_length = 254, example = "john.doe@example.com""#),
        ),
        ("TransferDevicesToOwnerRequest.validate_only", VALIDATE_ONLY),
        ("TransferDevicesToOwnerResponse.customer_id", Kind::NewId("cust")),
        ("TransferredDevice.device_id", Kind::NewId("dev")),
        ("TransferredDevice.previous_owners", Kind::Response("max_items = 100")),
        (
            "TransferredDevice.previous_owners_count",
            Kind::Response("minimum = 0, maximum = 100"),
        ),
        ("UnassignDevicesFromOwnerRequest.customer_email", EMAIL),
        ("UnassignDevicesFromOwnerRequest.device_identifiers", IDENTIFIERS),
        ("UnassignDevicesFromOwnerRequest.include_remaining", Kind::GrpcOnly),
        ("UnassignDevicesFromOwnerRequest.validate_only", VALIDATE_ONLY),
        ("UnassignDevicesFromOwnerResponse.customer_id", Kind::Id("cust")),
        (
            "UnassignDevicesFromOwnerResponse.devices_remaining",
            Kind::Response("max_items = 10000"),
        ),
        (
            "UnassignDevicesFromOwnerResponse.devices_remaining_count",
            Kind::Response("minimum = 0"),
        ),
        ("UnassignDeviceFromOwnerRequest.customer_email", EMAIL),
        ("UnassignDeviceFromOwnerRequest.device_identifier", IDENTIFIER),
        ("UnassignDeviceFromOwnerRequest.include_remaining", Kind::GrpcOnly),
        ("UnassignDeviceFromOwnerRequest.validate_only", VALIDATE_ONLY),
        ("UnassignDeviceFromOwnerResponse.customer_id", Kind::Id("cust")),
        (
            "UnassignDeviceFromOwnerResponse.devices_remaining",
            Kind::Response("max_items = 10000"),
        ),
        (
            "UnassignDeviceFromOwnerResponse.devices_remaining_count",
            Kind::Response("minimum = 0"),
        ),
        ("BatchGetDeviceOwnersRequest.device_identifiers", IDENTIFIERS),
        ("BatchGetDeviceOwnersRequest.min_revision", Kind::MinRevision),
        ("BatchGetDeviceOwnersResponse.revision", Kind::Revision),
        ("DeviceOwners.owners", Kind::Response("max_items = 100")),
        ("DeviceOwner.customer_id", Kind::Id("cust")),
        ("DeviceOwner.email", Kind::Response("format = Email")),
        ("DeviceOwner.assigned_at", Kind::Time),
        ("ListOwnerDevicesRequest.customer_email", Kind::Request(OPTIONAL_EMAIL)),
        ("ListOwnerDevicesRequest.customer_id", Kind::Request(OPTIONAL_CUSTOMER)),
        ("ListOwnerDevicesRequest.page_size", Kind::PageSize),
        ("ListOwnerDevicesRequest.page_token", PAGE_TOKEN),
        ("ListOwnerDevicesRequest.min_revision", Kind::MinRevision),
        ("ListOwnerDevicesResponse.devices", Kind::Response("max_items = 1000")),
        ("ListOwnerDevicesResponse.revision", Kind::Revision),
        ("OwnerDevice.device_id", Kind::Id("dev")),
        ("OwnerDevice.assigned_at", Kind::Time),
        ("ListDeviceOwnersRequest.device_identifier", IDENTIFIER),
        ("ListDeviceOwnersRequest.page_size", Kind::PageSize),
        ("ListDeviceOwnersRequest.page_token", PAGE_TOKEN),
        ("ListDeviceOwnersRequest.min_revision", Kind::MinRevision),
        ("ListDeviceOwnersResponse.owners", Kind::Response("max_items = 1000")),
        ("ListDeviceOwnersResponse.revision", Kind::Revision),
        ("GetDeviceRequest.identifier", IDENTIFIER),
        ("GetDeviceRequest.min_revision", Kind::MinRevision),
        ("GetDeviceResponse.device_id", Kind::Id("dev")),
        ("GetDeviceResponse.properties_json", Kind::JsonResponse("properties")),
        ("GetDeviceResponse.owners_count", Kind::Response("minimum = 0")),
        ("GetDeviceResponse.created_at", Kind::Time),
        ("GetDeviceResponse.revision", Kind::Revision),
        (
            "ListDevicesRequest.type",
            Kind::Request(r#"nullable, max_length = 100, example = "sensor""#),
        ),
        (
            "ListDevicesRequest.prefix",
            Kind::Request(r#"nullable, max_length = 255, example = "SN-""#),
        ),
        ("ListDevicesRequest.unassigned", Kind::Request("nullable")),
        ("ListDevicesRequest.page_size", Kind::PageSize),
        ("ListDevicesRequest.page_token", PAGE_TOKEN),
        ("ListDevicesRequest.min_revision", Kind::MinRevision),
        ("ListDevicesResponse.devices", Kind::Response("max_items = 1000")),
        ("ListDevicesResponse.revision", Kind::Revision),
        ("ListedDevice.device_id", Kind::Id("dev")),
        ("ListedDevice.created_at", Kind::Time),
        ("QueryCustomerRequest.email", EMAIL),
        ("QueryCustomerRequest.min_revision", Kind::MinRevision),
        ("GetCustomerRequest.telemetron_customer_id", Kind::Request(CUSTOMER)),
        ("GetCustomerRequest.min_revision", Kind::MinRevision),
        ("Customer.id", Kind::Id("cust")),
        ("Customer.organization_id", Kind::Id("org")),
        ("Customer.email", Kind::Response("format = Email")),
        ("Customer.devices", Kind::Response("max_items = 10000")),
        ("Customer.devices_count", Kind::Response("minimum = 0")),
        ("Customer.orders", Kind::Response("max_items = 0")),
        ("Customer.metadata_json", Kind::JsonResponse("metadata")),
        ("Customer.created_at", Kind::Time),
        ("Customer.revision", Kind::Revision),
        (
            "ListCustomersRequest.email_prefix",
            Kind::Request(r#"nullable, max_length = 254, example = "john""#),
        ),
        ("ListCustomersRequest.page_size", Kind::PageSize),
        ("ListCustomersRequest.page_token", PAGE_TOKEN),
        ("ListCustomersRequest.min_revision", Kind::MinRevision),
        ("ListCustomersResponse.customers", Kind::Response("max_items = 1000")),
        ("ListCustomersResponse.revision", Kind::Revision),
        ("ListedCustomer.id", Kind::Id("cust")),
        ("ListedCustomer.email", Kind::Response("format = Email")),
        ("ListedCustomer.created_at", Kind::Time),
        ("CheckCredentialsResponse.organization_id", Kind::Id("org")),
        ("CheckCredentialsResponse.api_key_id", Kind::Id("key")),
        (
            "CheckCredentialsResponse.created_at",
            Kind::Response("format = DateTime"),
        ),
        (
            "CheckCredentialsResponse.expires_at",
            Kind::Response("required, format = DateTime"),
        ),
        ("CheckCredentialsResponse.scope", Kind::Response(r#"example = "write""#)),
        ("CreateOrUpdateDeviceRequest.validate_only", VALIDATE_ONLY),
        ("BulkUpdateDeviceMetadataRequest.validate_only", VALIDATE_ONLY),
        ("DeleteDeviceRequest.validate_only", VALIDATE_ONLY),
        ("CreateOrUpdateCustomerRequest.validate_only", VALIDATE_ONLY),
        ("DeleteCustomerRequest.validate_only", VALIDATE_ONLY),
        ("CreateOrUpdateDeviceRequest.identifier", IDENTIFIER),
        (
            "CreateOrUpdateDeviceRequest.type",
            Kind::Request(r#"min_length = 1, max_length = 100, example = "sensor""#),
        ),
        (
            "CreateOrUpdateDeviceRequest.properties_json",
            Kind::JsonRequest("properties"),
        ),
        ("CreateOrUpdateDeviceResponse.device_id", Kind::NewId("dev")),
        (
            "CreateOrUpdateDeviceResponse.properties_json",
            Kind::JsonResponse("properties"),
        ),
        ("BulkUpdateDeviceMetadataRequest.devices", Kind::Metadata),
        (
            "DeviceMetadataResult.status",
            Kind::Response(r#"pattern = "^(updated|not_found)$""#),
        ),
        ("DeleteDeviceRequest.identifier", IDENTIFIER),
        ("DeleteDeviceResponse.device_id", Kind::Id("dev")),
        ("DeleteDeviceResponse.unassigned_count", Kind::Response("minimum = 0")),
        ("CreateOrUpdateCustomerRequest.email", EMAIL),
        (
            "CreateOrUpdateCustomerRequest.name",
            Kind::Request(r#"min_length = 1, max_length = 255, example = "John Doe""#),
        ),
        (
            "CreateOrUpdateCustomerRequest.phone",
            Kind::Request(r#"max_length = 64, example = "+1 555 0100""#),
        ),
        (
            "CreateOrUpdateCustomerRequest.address",
            Kind::Request("max_length = 1000"),
        ),
        (
            "CreateOrUpdateCustomerRequest.telemetron_customer_id",
            Kind::Request(r#"example = "cust_01m835zmv6e3ts9whpry4tgqhh""#),
        ),
        (
            "CreateOrUpdateCustomerRequest.metadata_json",
            Kind::JsonRequest("metadata"),
        ),
        (
            "CreateOrUpdateCustomerResponse.telemetron_customer_id",
            Kind::NewId("cust"),
        ),
        (
            "DeleteCustomerRequest.email",
            Kind::Request("format = Email, max_length = 254"),
        ),
        (
            "DeleteCustomerRequest.telemetron_customer_id",
            Kind::Request(r#"example = "cust_01m835zmv6e3ts9whpry4tgqhh""#),
        ),
        ("DeleteCustomerResponse.customer_id", Kind::Id("cust")),
        ("DeleteCustomerResponse.unassigned_count", Kind::Response("minimum = 0")),
        ("ListChangesResponse.revision", Kind::Revision),
        ("ListChangesResponse.history", Kind::Id("hist")),
        ("WatchChangesResponse.revision", Kind::Revision),
        ("Change.revision", Kind::Revision),
        ("Change.history", Kind::Id("hist")),
        ("Change.at", Kind::Time),
        ("Change.customers_created", Kind::Id("cust")),
        ("Change.customers_updated", Kind::Id("cust")),
        ("Change.customers_deleted", Kind::Id("cust")),
        ("Change.devices_created", Kind::Id("dev")),
        ("Change.devices_updated", Kind::Id("dev")),
        ("Change.devices_deleted", Kind::Id("dev")),
        (
            "Actor.api_key_id",
            Kind::Response("required, pattern = \"^key_[0-9a-hjkmnp-tv-z]{26}$\""),
        ),
        ("Actor.operator", Kind::Response("required")),
        ("CustomerDevices.customer_id", Kind::Id("cust")),
        ("CustomerDevices.device_ids", Kind::Id("dev")),
        ("CustomerName.customer_id", Kind::Id("cust")),
        ("DeviceName.device_id", Kind::Id("dev")),
    ];

    /// The comment of each RPC in the proto, without the paragraph on errors. REST has a table of its own.
    fn descriptions(descriptors: &FileDescriptorSet) -> Result<Vec<(String, String)>, Box<dyn Error>> {
        const SERVICE: i32 = 6; // in a file (descriptor.proto)
        const METHOD: i32 = 2; // in a service
        let mut descriptions = Vec::new();
        for file in descriptors.file.iter().filter(|file| file.package() == PACKAGE) {
            let locations = file.source_code_info.iter().flat_map(|info| &info.location);
            for location in locations {
                let [SERVICE, service, METHOD, method] = location.path[..] else {
                    continue;
                };
                let service = file.service.get(usize::try_from(service)?).ok_or("no such service")?;
                let method = service.method.get(usize::try_from(method)?).ok_or("no such method")?;
                let lines: Vec<&str> = location.leading_comments().lines().map(str::trim).collect();
                let text = lines.join("\n");
                let paragraphs: Vec<&str> = text.split("\n\n").filter(|text| !text.starts_with("Errors:")).collect();
                descriptions.push((method.name().to_owned(), paragraphs.join("\n\n")));
            }
        }
        Ok(descriptions)
    }
}
