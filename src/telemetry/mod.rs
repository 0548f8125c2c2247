//! What the other rooms tell operators. It knows nothing of those rooms: they use it as they use `tracing`.

mod exposition;
pub mod metrics;
pub mod trace;

pub use exposition::Exposition;
