//! The methods by name. A metric never has a label that a caller made up.

use std::time::Duration;

use tonic::Code;

use crate::{
    code::code_name,
    domain::{Field, api_key::Scope},
    telemetry::metrics::{CallDurations, OTHER},
};

/// The most that a device adds to the size of an answer, its identifier excepted: an id of 30 bytes, tags and lengths.
pub(super) const ANSWER_BYTES_PER_DEVICE: usize = 48;

/// What is reserved for a device with its type and its owners: an id, a type of up to 400 bytes, and one owner with an address of
/// usual length. A read that returns more is accounted for when it has.
const OWNED_DEVICE_BYTES: usize = 600;

/// What is reserved for a page, in bytes: one of usual size. What is returned beyond it is accounted for when it exists.
const PAGE_BYTES: usize = 128 * 1024;
/// What is reserved for each customer in the answer to an assignment of one device: an id, tags and lengths, all of it twice, and
/// the address a second time.
const ANSWER_BYTES_PER_CUSTOMER: usize = 2 * ANSWER_BYTES_PER_DEVICE + 254;

/// The largest JSON object that is stored with a device or a customer, in bytes.
const JSON_BYTES: usize = 64 * 1024;
/// What is reserved for a customer with its devices, in bytes: the identifiers are cut there.
const CUSTOMER_BYTES: usize = JSON_BYTES + 256 * 1024;

/// A method: what the policies need to know about it, and how long its calls took.
pub(super) struct Method {
    /// Its full name.
    pub(super) name: &'static str,
    /// The scope that a key needs for it.
    pub(super) scope: Scope,
    /// Whether its response is a stream.
    pub(super) is_stream: bool,
    /// Whether its calls count toward the call limit of a key.
    pub(super) is_counted: bool,
    /// The field of its request that lists device identifiers.
    pub(super) device_list: Option<u32>,
    /// What is reserved for each device in its answer, the identifier excepted, in bytes.
    pub(super) answer_bytes_per_device: usize,
    /// The name of this field.
    pub(super) list_name: Field,
    /// What is reserved for a list in its answer whose length does not follow from the request, in bytes.
    pub(super) list_bytes: usize,
    /// Whether its answer lists the previous owners of each device.
    pub(super) lists_previous_owners: bool,
    /// The flag of its request that asks for the list of a customer's devices.
    pub(super) remaining_flag: Option<u32>,
    durations: CallDurations,
}

/// Every method except the streams without a key.
static KNOWN: [Method; 22] = [
    Method::write("telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner").with_devices(2),
    Method::write("telemetron.device_assignment.v1.DeviceAssignmentService/UnassignDevicesFromOwner")
        .with_devices(2)
        .with_remaining(3),
    Method::write("telemetron.device_assignment.v1.DeviceAssignmentService/UnassignDeviceFromOwner").with_remaining(3),
    Method::write("telemetron.device_assignment.v1.DeviceAssignmentService/AssignDeviceToOwners")
        .with_devices(2)
        .with_list_name(Field::CustomerEmails)
        .with_answer_bytes_per_device(ANSWER_BYTES_PER_CUSTOMER),
    Method::write("telemetron.device_assignment.v1.DeviceAssignmentService/TransferDevicesToOwner")
        .with_devices(2)
        .with_previous_owners(),
    Method::read("telemetron.device_assignment.v1.DeviceAssignmentService/BatchGetDeviceOwners")
        .with_devices(1)
        .with_answer_bytes_per_device(OWNED_DEVICE_BYTES),
    Method::write("telemetron.device_assignment.v1.DeviceService/CreateOrUpdateDevice"),
    Method::write("telemetron.device_assignment.v1.DeviceService/BulkUpdateDeviceMetadata").with_metadata(1),
    Method::write("telemetron.device_assignment.v1.DeviceService/DeleteDevice"),
    Method::write("telemetron.device_assignment.v1.CustomerService/CreateOrUpdateCustomer"),
    Method::write("telemetron.device_assignment.v1.CustomerService/DeleteCustomer"),
    Method::read("telemetron.device_assignment.v1.DeviceAssignmentService/ListOwnerDevices").with_list(PAGE_BYTES),
    Method::read("telemetron.device_assignment.v1.DeviceAssignmentService/ListDeviceOwners").with_list(PAGE_BYTES),
    Method::read("telemetron.device_assignment.v1.DeviceService/GetDevice").with_list(JSON_BYTES),
    Method::read("telemetron.device_assignment.v1.DeviceService/ListDevices").with_list(PAGE_BYTES),
    Method::read("telemetron.device_assignment.v1.CustomerService/QueryCustomer").with_list(CUSTOMER_BYTES),
    Method::read("telemetron.device_assignment.v1.CustomerService/GetCustomer").with_list(CUSTOMER_BYTES),
    Method::read("telemetron.device_assignment.v1.CustomerService/ListCustomers").with_list(PAGE_BYTES),
    Method::read("telemetron.device_assignment.v1.OrganizationService/CheckCredentials").uncounted(),
    Method::read("telemetron.device_assignment.v1.ChangeService/ListChanges").with_list(128 * 1024),
    Method::read("telemetron.device_assignment.v1.ChangeService/WatchChanges").streaming(),
    Method::read("grpc.health.v1.Health/Check"),
];
static UNKNOWN: Method = Method::write(OTHER);

/// The streams without a key.
const STREAMS: [&str; 3] = [
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

impl Method {
    /// A method that changes nothing.
    const fn read(name: &'static str) -> Self {
        Self::named(name, Scope::Read)
    }

    /// A method that changes something.
    const fn write(name: &'static str) -> Self {
        Self::named(name, Scope::Write)
    }

    const fn named(name: &'static str, scope: Scope) -> Self {
        Self {
            name,
            scope,
            is_stream: false,
            is_counted: true,
            device_list: None,
            answer_bytes_per_device: ANSWER_BYTES_PER_DEVICE,
            list_name: Field::DeviceIdentifiers,
            list_bytes: 0,
            lists_previous_owners: false,
            remaining_flag: None,
            durations: CallDurations::of(name),
        }
    }

    /// This method, whose request lists device identifiers in this field.
    const fn with_devices(mut self, field: u32) -> Self {
        self.device_list = Some(field);
        self
    }

    /// This method, for whose answer so many bytes are reserved for each device.
    const fn with_answer_bytes_per_device(mut self, bytes: usize) -> Self {
        self.answer_bytes_per_device = bytes;
        self
    }

    /// This method, whose request lists devices with their metadata in this field.
    const fn with_metadata(mut self, field: u32) -> Self {
        self.device_list = Some(field);
        self.list_name = Field::Devices;
        self
    }

    /// This method, for the list in whose answer so many bytes are reserved.
    const fn with_list(mut self, bytes: usize) -> Self {
        self.list_bytes = bytes;
        self
    }

    /// This method, whose list is this one.
    const fn with_list_name(mut self, name: Field) -> Self {
        self.list_name = name;
        self
    }

    /// This method, whose answer lists the previous owners of each device.
    const fn with_previous_owners(mut self) -> Self {
        self.lists_previous_owners = true;
        self
    }

    /// This method, whose request asks in this field for the list of a customer's devices.
    const fn with_remaining(mut self, field: u32) -> Self {
        self.remaining_flag = Some(field);
        self
    }

    /// This method, whose calls do not count toward the call limit.
    const fn uncounted(mut self) -> Self {
        self.is_counted = false;
        self
    }

    /// This method, whose response is a stream.
    const fn streaming(mut self) -> Self {
        self.is_stream = true;
        self
    }

    /// Whether there is a method at this path.
    pub(super) fn exists(path: &str) -> bool {
        STREAMS.contains(&path) || KNOWN.iter().any(|method| path.strip_prefix('/') == Some(method.name))
    }

    /// The method at this path. `None` for a stream without a key.
    pub(super) fn at(path: &str) -> Option<&'static Self> {
        if STREAMS.contains(&path) {
            return None;
        }
        let known = KNOWN.iter().find(|method| path.strip_prefix('/') == Some(method.name));
        Some(known.unwrap_or(&UNKNOWN))
    }

    /// Whether the RPC of this name changes something, so that a key needs the scope `write` for it. RPCs of different services
    /// have different names.
    pub(super) fn is_write(rpc: &str) -> bool {
        let named = KNOWN.iter().find(|method| method.rpc() == rpc);
        named.is_none_or(|method| method.scope == Scope::Write)
    }

    /// Its name without that of its service.
    fn rpc(&self) -> &'static str {
        self.name.rsplit('/').next().unwrap_or(self.name)
    }

    /// Records a call that was answered.
    /// Records a call that was answered. A stream is meant to stay open, so its duration means nothing.
    pub(super) fn record(&self, code: Code, duration: Duration) {
        if self.is_stream {
            return;
        }
        self.durations.record(code.into(), code_name(code), duration);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::pb;

    #[test]
    fn every_method_is_known() {
        let mut count = 0;
        for set in [pb::FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET] {
            for file in FileDescriptorSet::decode(set).expect("descriptors").file {
                for service in &file.service {
                    for method in &service.method {
                        let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                        let known = Method::at(&format!("/{name}"));
                        if known.is_none() {
                            assert!(
                                method.server_streaming() && file.package().starts_with("grpc."),
                                "{name}"
                            );
                        } else {
                            let known = known.map(|method| (method.name, method.is_stream));
                            assert_eq!(known, Some((name.as_str(), method.server_streaming())));
                        }
                        assert!(Method::exists(&format!("/{name}")), "{name}");
                        count += 1;
                    }
                }
            }
        }
        assert!(count >= 4, "{count}");
    }

    #[test]
    fn every_list_of_devices_and_every_flag_is_known() {
        let set = FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).expect("descriptors");
        let messages: Vec<_> = set.file.iter().flat_map(|file| &file.message_type).collect();
        for file in set.file.iter().filter(|file| file.package().starts_with("telemetron")) {
            for service in &file.service {
                for method in &service.method {
                    let request = messages
                        .iter()
                        .find(|message| method.input_type().ends_with(message.name()));
                    let fields = &request.expect("a message").field;
                    let number = |name: &str| {
                        let field = fields.iter().find(|field| field.name() == name);
                        field.map(|field| u32::try_from(field.number()).expect("a number"))
                    };
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let known = Method::at(&path).expect("a method");
                    let devices = number("device_identifiers")
                        .or(number("devices"))
                        .or(number("customer_emails"));
                    assert_eq!(known.device_list, devices, "{path}");
                    assert_eq!(known.remaining_flag, number("include_remaining"), "{path}");
                }
            }
        }
    }

    #[test]
    fn unknown_methods_have_one_name() {
        for path in [
            "/",
            "",
            "/x",
            "/telemetron.device_assignment.v1.DeviceAssignmentService/Other",
        ] {
            assert_eq!(Method::at(path).map(|method| method.name), Some(OTHER), "{path}");
            assert!(!Method::exists(path), "{path}");
        }
    }
}
