//! Large calls while the number of stored devices grows.

use sea_orm::ConnectionTrait;

use super::{Bench, SETTINGS, median};
use crate::{
    generator::{Api, Work},
    limit,
    postgres::PostgresServer,
    report::{Plot, Reach, Series},
    world::{self, Sizes},
};

impl Bench {
    pub(super) async fn growth(&mut self) {
        let server = PostgresServer::start_durable(&SETTINGS).expect("a PostgreSQL server");
        let mut sizes = Sizes {
            organizations: 1,
            devices: self.growth[0],
            customers: 10_000.min(self.growth[0]),
        };
        let mut target = self.open(server.admin_url(), sizes).await;
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        for devices in self.growth {
            let organization = target.organizations[0].id.clone();
            for database in [&target.database, &target.careful.database] {
                world::fill(database, &organization, "device", sizes.devices, devices).await;
                let settled = database.reads().execute_unprepared("ANALYZE device").await;
                settled.expect("settled");
            }
            sizes.devices = devices;
            target.sizes = sizes;
            let size = 1_000.min(devices / 10);
            let (mut of_ours, mut of_raw) = (Vec::new(), Vec::new());
            for _ in 0..self.rounds {
                self.seed += 1;
                let (database, organizations) = (&target.careful.database, &target.organizations);
                of_raw.push(limit::raw(database, organizations, sizes, size, self.duration, self.seed).await);
                of_ours.push(self.seen(&target, Api::Grpc, Work::Bulk(size), 1).calls_per_second());
            }
            let cost = |rate: f64| (devices as f64, 1e6 / rate / size as f64);
            ours.push(cost(median(of_ours)));
            raw.push(cost(median(of_raw)));
            let (ours, raw) = (ours.last().expect("measured").1, raw.last().expect("measured").1);
            self.ratio(
                &format!("cost of an identifier, {devices} devices stored"),
                ours,
                raw,
                "µs",
                None,
            );
        }
        let (first, last) = (ours.first().expect("measured").1, ours.last().expect("measured").1);
        self.ratio(
            "cost of an identifier, most ÷ fewest stored",
            last,
            first,
            "µs",
            Some(Reach::AtMost(1.3)),
        );
        self.report.plots.push(Plot {
            file: "growth.svg",
            title: "Cost of an identifier against devices stored (PostgreSQL)",
            x: "devices stored",
            y: "µs",
            series: vec![
                Series {
                    name: "service".into(),
                    points: ours,
                },
                Series {
                    name: "one statement".into(),
                    points: raw,
                },
            ],
        });
    }
}
