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
        "telemetron/device_assignment/v1/organization.proto",
    ])?;
    let config = tonic_prost_build::configure()
        .build_client(cfg!(feature = "client"))
        .build_server(cfg!(feature = "server"));
    #[cfg(feature = "server")]
    let config = server::configure(config, &compiler)?;
    config.compile_fds(compiler.file_descriptor_set())?;
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

    /// Gives the messages their JSON form and its description.
    fn with_json(config: Builder) -> Builder {
        let request = format!("{PACKAGE}.AssignDevicesToOwnerRequest");
        let response = format!("{PACKAGE}.AssignDevicesToOwnerResponse");
        let credentials = format!("{PACKAGE}.CheckCredentialsResponse");
        let device = format!("{PACKAGE}.AssignedDevice");
        let read =
            "#[derive(serde::Deserialize, utoipa::ToSchema)] #[serde(rename_all = \"camelCase\", deny_unknown_fields)]";
        let write = "#[derive(serde::Serialize, utoipa::ToSchema)] #[serde(rename_all = \"camelCase\")]";
        let mut config = config
            // The documented JSON is the proto3 JSON form of these messages with every field printed.
            .type_attribute(&request, read)
            .type_attribute(&response, write)
            .type_attribute(&credentials, write)
            .type_attribute(&device, write)
            .field_attribute(
                format!(".{request}"), // each of its fields
                "#[serde(default, deserialize_with = \"crate::pb::null_as_absent\")]",
            );
        // Rules that the types do not express. The gateway adds the limit on devices, which is a setting.
        let id = |kind| format!(r#"pattern = "^{kind}_[0-9a-hjkmnp-tv-z]{{26}}$""#);
        let schemas = [
            (
                format!("{request}.customer_email"),
                r#"required, format = Email, min_length = 1, max_length = 254, example = "john.doe@example.com""#
                    .to_owned(),
            ),
            (
                format!("{request}.device_identifiers"),
                r#"required, min_items = 1, min_length = 1, max_length = 255, example = json!(["SN-001", "SN-002"])"#
                    .to_owned(),
            ),
            (format!("{request}.auto_create_devices"), "nullable".to_owned()),
            (format!("{request}.device_type"), r#"example = "sensor""#.to_owned()),
            (format!("{response}.customer_id"), id("cust")),
            (format!("{device}.device_id"), id("dev")),
            (format!("{credentials}.organization_id"), id("org")),
            (format!("{credentials}.api_key_id"), id("key")),
            (format!("{credentials}.created_at"), "format = DateTime".to_owned()),
            (
                format!("{credentials}.expires_at"),
                "required, format = DateTime".to_owned(),
            ),
        ];
        for (field, schema) in schemas {
            config = config.field_attribute(field, format!("#[schema({schema})]"));
        }
        config
    }

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
