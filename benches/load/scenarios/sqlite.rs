//! Small calls on SQLite.

use tempfile::TempDir;

use super::{Bench, median};
use crate::{
    generator::{Api, Work},
    limit,
    report::Reach,
};

impl Bench {
    pub(super) async fn sqlite(&mut self) {
        let folder = TempDir::new().expect("a folder");
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("bench.db").display());
        let target = self.open(&url, self.sizes).await;
        let callers = self.callers_nearest_64();
        let (mut ours, mut one, mut raw) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            self.seed += 1;
            let (database, organizations) = (&target.careful.database, &target.organizations);
            raw.push(limit::raw(database, organizations, target.sizes, 3, self.duration, self.seed).await);
            ours.push(self.seen(&target, Api::Grpc, Work::Small, callers).calls_per_second());
            one.push(self.seen(&target, Api::Grpc, Work::Small, 1).calls_per_second());
        }
        let raw = median(raw);
        let reach = Some(Reach::AtLeast(3.0));
        self.ratio(
            &format!("SQLite, small, {callers} callers"),
            median(ours),
            raw,
            "calls/s",
            reach,
        );
        self.ratio("SQLite, small, 1 caller", median(one), raw, "calls/s", None);
    }
}
