//! Small calls of one organization while another makes large ones.

use super::{Bench, Target, median};
use crate::{
    generator::{Api, Load, Work},
    report::Reach,
    server::generate,
};

impl Bench {
    pub(super) fn noisy_neighbour(&mut self, target: &Target) {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            let quiet = |bench: &mut Self| Load {
                organizations: vec![target.organizations[1].clone()],
                ..bench.load(target, Api::Grpc, Work::Small, 4)
            };
            without.push(generate(&quiet(self)).finish().p99_micros as f64 / 1_000.0);
            let noise = Load {
                organizations: vec![target.organizations[0].clone()],
                ..self.load(
                    target,
                    Api::Grpc,
                    Work::Bulk(1_000.min(target.sizes.devices_each())),
                    256,
                )
            };
            let noise = generate(&noise);
            with.push(generate(&quiet(self)).finish().p99_micros as f64 / 1_000.0);
            noise.finish();
        }
        let reach = Some(Reach::AtMost(5.0));
        self.ratio(
            "noisy neighbour, p99 with ÷ without",
            median(with),
            median(without),
            "ms",
            reach,
        );
    }
}
