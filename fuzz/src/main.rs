//! The fuzzer. `run` builds it for coverage and chooses the target.
#![no_main]

use std::sync::LazyLock;

use device_assignment::fuzzing::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

/// The target that FUZZ_TARGET names.
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target
        .unwrap_or_else(|| panic!("FUZZ_TARGET names no target: {name}"))
        .1
});

fuzz_target!(init: LazyLock::force(&TARGET), |input: &[u8]| TARGET(input));
