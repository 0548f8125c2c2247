//! The fields of the messages as Rust constants: their JSON names, and the types of the members of each request.

use std::{collections::BTreeMap, error::Error, fmt::Write, fs, path::Path};

use tonic_prost_build::FileDescriptorSet;

/// Fields of requests that REST does not have: the gateway sets them.
const GRPC_ONLY: [&str; 1] = ["include_remaining"];

/// Writes `fields.rs` for the messages and methods of `package`.
pub(crate) fn generate(descriptors: &FileDescriptorSet, package: &str, out: &Path) -> Result<(), Box<dyn Error>> {
    let mut json_names = BTreeMap::new();
    let mut requests = String::new();
    for file in descriptors.file.iter().filter(|file| file.package() == package) {
        for field in file.message_type.iter().flat_map(|message| &message.field) {
            if field.name() != field.json_name() {
                json_names.insert(field.name(), field.json_name());
            }
        }
        for method in file.service.iter().flat_map(|service| &service.method) {
            let is_request = |name: &str| method.input_type() == format!(".{package}.{name}");
            let mut messages = file.message_type.iter();
            let request = messages.find(|message| is_request(message.name()));
            let request = request.ok_or("a request in another file")?;
            write!(requests, "({:?}, &[", method.name())?;
            for field in request.field.iter().filter(|field| !GRPC_ONLY.contains(&field.name())) {
                let kind = match field.r#type().as_str_name() {
                    "TYPE_STRING" if field.name().ends_with("_json") => "Json",
                    // Devices with their metadata, which JSON has as an object.
                    "TYPE_MESSAGE" => "Metadata",
                    "TYPE_STRING" => "String",
                    "TYPE_BOOL" => "Boolean",
                    "TYPE_UINT32" | "TYPE_INT32" => "Integer",
                    "TYPE_UINT64" => "Revision",
                    other => return Err(format!("{}: no sentence about {other}", field.name()).into()),
                };
                let is_list = field.label().as_str_name() == "LABEL_REPEATED";
                let name = field.json_name();
                write!(
                    requests,
                    "Member {{ name: {name:?}, kind: Kind::{kind}, is_list: {is_list} }},"
                )?;
            }
            requests.push_str("]),");
        }
    }
    let json_names: Vec<_> = json_names.into_iter().collect();
    let source = format!(
        "/// Names in the proto, in order, and the names in JSON that differ from them.\n\
         const JSON_NAMES: &[(&str, &str)] = &{json_names:?};\n\
         /// The members of the request of each method.\n\
         const REQUESTS: &[(&str, &[Member])] = &[{requests}];\n"
    );
    fs::write(out.join("fields.rs"), source)?;
    Ok(())
}
