//! The methods by name: a figure never has a label that a caller made up.

use std::time::Duration;

use tonic::Code;

use crate::{
    code::code_name,
    telemetry::metrics::{CallDurations, OTHER},
};

/// A method, and how long its calls took.
pub(super) struct Method {
    /// Its full name.
    pub(super) name: &'static str,
    durations: CallDurations,
}

/// Every method that is answered once. A stream is meant to stay open; how long it does tells nothing.
static KNOWN: [Method; 2] = [
    Method::named("telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner"),
    Method::named("grpc.health.v1.Health/Check"),
];
static UNKNOWN: Method = Method::named(OTHER);

/// The streams.
const STREAMS: [&str; 3] = [
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

impl Method {
    const fn named(name: &'static str) -> Self {
        Self {
            name,
            durations: CallDurations::of(name),
        }
    }

    /// The one that is called by this path; none for a stream.
    pub(super) fn at(path: &str) -> Option<&'static Self> {
        if STREAMS.contains(&path) {
            return None;
        }
        let known = KNOWN.iter().find(|method| path.strip_prefix('/') == Some(method.name));
        Some(known.unwrap_or(&UNKNOWN))
    }

    /// Tells operators of a call that was answered.
    pub(super) fn record(&self, code: Code, duration: Duration) {
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
                        let expected = (!method.server_streaming()).then_some(name.as_str());
                        assert_eq!(known.map(|method| method.name), expected, "{name}");
                        count += 1;
                    }
                }
            }
        }
        assert!(count >= 3, "{count}");
    }

    #[test]
    fn what_a_caller_makes_up_has_one_name() {
        for path in [
            "/",
            "",
            "/x",
            "/telemetron.device_assignment.v1.DeviceAssignmentService/Other",
        ] {
            assert_eq!(Method::at(path).map(|method| method.name), Some(OTHER), "{path}");
        }
    }
}
