/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// gRPC: HTTP/2 only.
    Grpc,
    /// REST: HTTP/1.1 or HTTP/2.
    Rest,
    /// What operators call: HTTP/1.1 or HTTP/2.
    Admin,
}

impl Protocol {
    /// Its name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Rest => "rest",
            Self::Admin => "admin",
        }
    }
}
