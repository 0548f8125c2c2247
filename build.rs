//! Generates from `proto/` the messages and their client; and for the server also its side of the RPC, the JSON form of the
//! messages and its description, the descriptor set for reflection, and the guides as pages (`build/guides.rs`).

#[cfg(feature = "server")]
#[path = "build/guides.rs"]
mod guides;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file("telemetron/device_assignment/v1/device_assignment.proto")?;
    let config = tonic_prost_build::configure()
        .build_client(cfg!(feature = "client"))
        .build_server(cfg!(feature = "server"));
    #[cfg(feature = "server")]
    let config = server::configure(config, &compiler)?;
    config.compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// What the server has beside the generated code.
#[cfg(feature = "server")]
mod server {
    use std::{env, error::Error, fs, path::PathBuf};

    use tonic_prost_build::{Builder, FileDescriptorSet};

    const PACKAGE: &str = "telemetron.device_assignment.v1";
    const RPC: &str = "AssignDevicesToOwner";

    pub(super) fn configure(config: Builder, compiler: &protox::Compiler) -> Result<Builder, Box<dyn Error>> {
        let out = PathBuf::from(env::var("OUT_DIR")?);
        fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
        let description = description_of_rpc(&compiler.file_descriptor_set())?;
        fs::write(out.join("assign_devices.md"), description)?;
        crate::guides::generate(&out)?;
        Ok(with_json(config))
    }

    /// Gives the messages their JSON form, and its description.
    fn with_json(config: Builder) -> Builder {
        let request = format!("{PACKAGE}.{RPC}Request");
        let response = format!("{PACKAGE}.{RPC}Response");
        let device = format!("{PACKAGE}.AssignedDevice");
        let read =
            "#[derive(serde::Deserialize, utoipa::ToSchema)] #[serde(rename_all = \"camelCase\", deny_unknown_fields)]";
        let write = "#[derive(serde::Serialize, utoipa::ToSchema)] #[serde(rename_all = \"camelCase\")]";
        let mut config = config
            // The documented JSON is the proto3 JSON form of these messages with every field printed.
            .type_attribute(&request, read)
            .type_attribute(&response, write)
            .type_attribute(&device, write)
            .field_attribute(
                format!(".{request}"), // each of its fields
                "#[serde(default, deserialize_with = \"crate::pb::null_as_absent\")]",
            );
        // What the types do not say of the JSON. The limit on devices is a setting: the gateway puts it in.
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
            (
                format!("{request}.auto_create_devices"),
                "nullable, default = json!(false)".to_owned(),
            ),
            (format!("{request}.device_type"), r#"example = "sensor""#.to_owned()),
            (format!("{response}.customer_id"), id("cust")),
            (format!("{device}.device_id"), id("dev")),
        ];
        for (field, schema) in schemas {
            config = config.field_attribute(field, format!("#[schema({schema})]"));
        }
        config
    }

    /// What the proto says of the RPC, but for its paragraph on errors: REST has a table of its own.
    fn description_of_rpc(descriptors: &FileDescriptorSet) -> Result<String, Box<dyn Error>> {
        const SERVICE: i32 = 6; // in a file (descriptor.proto)
        const METHOD: i32 = 2; // in a service
        let file = descriptors.file.iter().find(|file| file.package() == PACKAGE);
        let info = file.and_then(|file| file.source_code_info.as_ref());
        let mut locations = info.iter().flat_map(|info| &info.location);
        let comment = locations
            .find(|location| location.path == [SERVICE, 0, METHOD, 0])
            .ok_or("the RPC has no comment")?
            .leading_comments();
        let lines: Vec<&str> = comment.lines().map(str::trim).collect();
        let text = lines.join("\n");
        let paragraphs: Vec<&str> = text.split("\n\n").filter(|text| !text.starts_with("Errors:")).collect();
        Ok(paragraphs.join("\n\n"))
    }
}
