//! Calls of many identifiers, beside one statement for the same.

use super::{Bench, Target, median};
use crate::{
    generator::{Api, Work},
    limit,
    report::{Plot, Reach, Series},
};

impl Bench {
    pub(super) async fn bulk(&mut self, target: &Target) {
        let mut costs = Vec::new();
        let mut limits = Vec::new();
        for size in self.bulks.clone() {
            let (mut ours, mut four, mut raw) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..self.rounds {
                self.seed += 1;
                let (database, organizations) = (&target.careful.database, &target.organizations);
                raw.push(limit::raw(database, organizations, target.sizes, size, self.duration, self.seed).await);
                ours.push(self.seen(target, Api::Grpc, Work::Bulk(size), 1).calls_per_second());
                four.push(self.seen(target, Api::Grpc, Work::Bulk(size), 4).calls_per_second());
            }
            let (ours, raw) = (median(ours), median(raw));
            let reach = (size == 10_000).then_some(Reach::AtLeast(0.9));
            self.ratio(&format!("bulk {size}, 1 caller"), ours, raw, "calls/s", reach);
            self.ratio(&format!("bulk {size}, 4 callers"), median(four), raw, "calls/s", None);
            let cost = |rate: f64| (size as f64, 1e6 / rate / size as f64);
            costs.push(cost(ours));
            limits.push(cost(raw));
        }
        let (small, large) = (costs.first().expect("measured"), costs.last().expect("measured"));
        let measure = format!("cost of an identifier, {} ÷ {} a call", large.0, small.0);
        self.ratio(&measure, large.1, small.1, "µs", Some(Reach::AtMost(1.0)));
        self.report.plots.push(Plot {
            file: "batch.svg",
            title: "Cost of an identifier against identifiers a call (PostgreSQL)",
            x: "identifiers a call",
            y: "µs",
            series: vec![
                Series {
                    name: "service".into(),
                    points: costs,
                },
                Series {
                    name: "one statement".into(),
                    points: limits,
                },
            ],
        });
    }
}
