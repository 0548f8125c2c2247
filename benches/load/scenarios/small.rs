//! Small calls of one to many callers, beside pgbench.

use tempfile::TempDir;

use super::{Bench, Target, counted, median};
use crate::{
    generator::{Api, Seen, Work},
    limit::Call,
    report::{Plot, Reach, Series},
};

impl Bench {
    pub(super) fn small(&mut self, target: &Target) {
        let folder = TempDir::new().expect("a folder");
        let connections = [1, 16, 64];
        let mut limits: [Vec<f64>; 3] = Default::default();
        let mut ours: Vec<Vec<Seen>> = vec![Vec::new(); self.callers.len()];
        let mut rest = Vec::new();
        for _ in 0..self.rounds {
            for (limit, connections) in limits.iter_mut().zip(connections) {
                limit.push(self.pgbench(target, folder.path(), Call::Assign, connections));
            }
            for (index, callers) in self.callers.clone().into_iter().enumerate() {
                ours[index].push(self.seen(target, Api::Grpc, Work::Small, callers));
            }
            let callers = self.callers_nearest_64();
            rest.push(self.seen(target, Api::Rest, Work::Small, callers).calls_per_second());
        }
        let limits = limits.map(median);
        let best = limits[1].max(limits[2]);
        let mut rates = Vec::new();
        for (callers, seen) in self.callers.clone().into_iter().zip(&ours) {
            let rate = median(seen.iter().map(Seen::calls_per_second).collect());
            let p99 = median(seen.iter().map(|seen| seen.p99_micros as f64 / 1_000.0).collect());
            rates.push((callers as f64, rate, p99));
            let (limit, reach) = match callers {
                1 => (limits[0], Some(Reach::AtLeast(0.5))),
                64 => (best, Some(Reach::AtLeast(2.0))),
                _ => (best, None),
            };
            self.ratio(
                &format!("small, {}, gRPC", counted(callers)),
                rate,
                limit,
                "calls/s",
                reach,
            );
            self.figure(&format!("small, {}, p99", counted(callers)), p99, "ms", None);
        }
        let callers = self.callers_nearest_64();
        let grpc = rates
            .iter()
            .find(|(count, ..)| *count == callers as f64)
            .expect("measured")
            .1;
        let reach = Some(Reach::AtLeast(0.9));
        self.ratio(
            &format!("small, {callers} callers, REST ÷ gRPC"),
            median(rest),
            grpc,
            "calls/s",
            reach,
        );
        for (name, work) in [
            ("small-noop", Work::Noop),
            ("small-create", Work::Create),
            ("hot", Work::Hot),
        ] {
            if work == Work::Noop {
                // The first round assigns what the others find.
                self.seen(target, Api::Grpc, work, callers);
            }
            let rates = (0..self.rounds).map(|_| self.seen(target, Api::Grpc, work, callers).calls_per_second());
            let rate = median(rates.collect());
            self.figure(&format!("{name}, {callers} callers"), rate, "calls/s", None);
        }
        let limit_line = |name: &str, y: f64| Series {
            name: name.into(),
            points: rates.iter().map(|(callers, ..)| (*callers, y)).collect(),
        };
        self.report.plots.push(Plot {
            file: "throughput.svg",
            title: "Small calls a second against callers (PostgreSQL)",
            x: "callers",
            y: "calls/s",
            series: vec![
                Series {
                    name: "service".into(),
                    points: rates.iter().map(|(callers, rate, _)| (*callers, *rate)).collect(),
                },
                limit_line("one call a transaction (pgbench)", best),
            ],
        });
        self.report.plots.push(Plot {
            file: "latency.svg",
            title: "99th percentile against throughput, small calls (PostgreSQL)",
            x: "calls/s",
            y: "ms",
            series: vec![
                Series {
                    name: "service".into(),
                    points: rates.iter().map(|(_, rate, p99)| (*rate, *p99)).collect(),
                },
                Series {
                    name: "most calls of one a transaction (pgbench)".into(),
                    points: rates.iter().map(|(_, _, p99)| (best, *p99)).collect(),
                },
            ],
        });
    }
}
