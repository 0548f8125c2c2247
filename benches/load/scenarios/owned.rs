//! Transfers, removals and reads of devices that customers own, beside their best statements.

use tempfile::TempDir;

use super::{Bench, Target, counted, median};
use crate::{
    generator::{Api, Work},
    limit::{self, Call, Read},
    report::Reach,
    world,
};

impl Bench {
    /// Writes to three devices that a customer owns, beside their best statement.
    pub(super) async fn of_owned(&mut self, target: &Target, name: &str, work: Work, call: Call) {
        let folder = TempDir::new().expect("a folder");
        let callers = self.callers_nearest_64();
        let (mut ours, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            for database in [&target.database, &target.careful.database] {
                world::own(database, &target.organizations, target.sizes).await;
            }
            limits.push(self.pgbench(target, folder.path(), call, callers));
            ours.push(self.seen(target, Api::Grpc, work, callers).calls_per_second());
        }
        let measure = format!("{name}, {}", counted(callers));
        self.ratio(&measure, median(ours), median(limits), "calls/s", None);
    }

    /// Look-ups and lists, beside their best statements over 16 connections.
    pub(super) async fn reads(&mut self, target: &Target) {
        for database in [&target.database, &target.careful.database] {
            world::own(database, &target.organizations, target.sizes).await;
        }
        for (name, work, read) in [
            ("owners of 1", Work::LookUp(1), Read::Owners(1)),
            ("owners of 100", Work::LookUp(100), Read::Owners(100)),
            ("owners of 1,000", Work::LookUp(1_000), Read::Owners(1_000)),
            ("devices of a customer", Work::List, Read::Devices),
            ("a page of devices", Work::DevicePage, Read::DevicePage),
            ("a page of customers", Work::CustomerPage, Read::CustomerPage),
        ] {
            for (callers, connections) in [(1, 1), (self.callers_nearest_64(), 16)] {
                let (mut ours, mut limits) = (Vec::new(), Vec::new());
                for _ in 0..self.rounds {
                    self.seed += 1;
                    let (database, organizations) = (&target.careful.database, &target.organizations);
                    let limit = limit::reads(
                        database,
                        organizations,
                        target.sizes,
                        read,
                        connections,
                        self.duration,
                        self.seed,
                    );
                    limits.push(limit.await);
                    ours.push(self.seen(target, Api::Grpc, work, callers).calls_per_second());
                }
                let reach = (work == Work::LookUp(100) && callers > 1).then_some(Reach::AtLeast(0.9));
                let measure = format!("{name}, {}", counted(callers));
                self.ratio(&measure, median(ours), median(limits), "calls/s", reach);
            }
        }
    }
}
