//! Generates the gRPC code, the JSON form of the messages and the descriptor set for reflection from `proto/`.

use std::{env, error::Error, fs, path::PathBuf};

const PACKAGE: &str = "telemetron.device_assignment.v1";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file("telemetron/device_assignment/v1/device_assignment.proto")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let request = format!("{PACKAGE}.AssignDevicesToOwnerRequest");
    let response = format!("{PACKAGE}.AssignDevicesToOwnerResponse");
    let device = format!("{PACKAGE}.AssignedDevice");
    let read = "#[derive(serde::Deserialize)] #[serde(rename_all = \"camelCase\", deny_unknown_fields)]";
    let write = "#[derive(serde::Serialize)] #[serde(rename_all = \"camelCase\")]";
    tonic_prost_build::configure()
        // The documented JSON is the proto3 JSON form of these messages with every field printed.
        .type_attribute(&request, read)
        .type_attribute(&response, write)
        .type_attribute(&device, write)
        .field_attribute(
            format!(".{request}"), // each of its fields
            "#[serde(default, deserialize_with = \"crate::grpc::pb::null_as_absent\")]",
        )
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
