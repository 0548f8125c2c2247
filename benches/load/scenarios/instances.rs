//! Small calls through several instances on one PostgreSQL, beside one instance with as many writer workers.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::{Bench, SETTINGS, Target, counted, median};
use crate::{
    generator::{Api, Load, Seen, Work},
    postgres::PostgresServer,
    report::Reach,
    server::{Server, generate},
    world::{Organization, Sizes},
};

const INSTANCES: usize = 4;
/// The writer workers of an instance, which is also the default.
const WORKERS: usize = 4;

/// Where a caller's calls go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Balance {
    /// To any instance.
    AtRandom,
    /// Those of an organization go to one instance.
    ByOrganization,
}

impl Bench {
    pub(super) async fn instances(&mut self) {
        let server = PostgresServer::start_durable(&SETTINGS).expect("a PostgreSQL server");
        let url = server.admin_url();
        let sizes = Sizes {
            organizations: self.many_organizations,
            ..self.sizes
        };
        let target = self.open(url, sizes).await;
        let start = |workers: usize| Server::start_with(&self.program, url, &[("WRITER_WORKERS", workers)]);
        let one = [start(INSTANCES * WORKERS)];
        let several: Vec<_> = (0..INSTANCES).map(|_| start(WORKERS)).collect();
        let callers = self.callers_nearest_64();
        for (name, work) in [("small", Work::Small), ("hot", Work::Hot)] {
            let mut rates: [Vec<f64>; 3] = Default::default();
            for _ in 0..self.rounds {
                let [limit, at_random, by_organization] = &mut rates;
                limit.push(self.through(&target, &one, work, Balance::AtRandom));
                at_random.push(self.through(&target, &several, work, Balance::AtRandom));
                by_organization.push(self.through(&target, &several, work, Balance::ByOrganization));
            }
            let [limit, at_random, by_organization] = rates.map(median);
            let organizations = if work == Work::Hot {
                1
            } else {
                target.organizations.len()
            };
            let measure = format!(
                "{name}, {organizations} organizations, {}, {INSTANCES} instances",
                counted(callers)
            );
            let reach = Some(Reach::AtLeast(0.9));
            self.ratio(
                &format!("{measure} ÷ 1 with {INSTANCES} × the workers"),
                at_random,
                limit,
                "calls/s",
                reach,
            );
            self.ratio(
                &format!("{measure}, by organization ÷ at random"),
                by_organization,
                at_random,
                "calls/s",
                None,
            );
        }
        // Connections report their deadlocks when they end.
        drop((one, several));
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        let deadlocks = Statement::from_string(DbBackend::Postgres, deadlocks);
        let row = target.database.reads().query_one_raw(deadlocks).await.expect("a row");
        let deadlocks: i64 = row.expect("a row").try_get_by_index(0).expect("a number");
        self.figure("deadlocks", deadlocks as f64, "", Some(Reach::AtMost(0.0)));
    }

    /// The calls per second of as many generators as there are instances in all scenarios, so that they cost the same.
    fn through(&mut self, target: &Target, servers: &[Server], work: Work, balance: Balance) -> f64 {
        let callers = self.callers_nearest_64().div_ceil(INSTANCES);
        let loads: Vec<Load> = (0..INSTANCES)
            .map(|number| {
                let server = match (work, balance) {
                    // All calls are of one organization.
                    (Work::Hot, Balance::ByOrganization) => &servers[0],
                    _ => &servers[number % servers.len()],
                };
                let organizations: Vec<Organization> = match balance {
                    Balance::ByOrganization if work != Work::Hot => target
                        .organizations
                        .iter()
                        .skip(number)
                        .step_by(INSTANCES)
                        .cloned()
                        .collect(),
                    _ => target.organizations.clone(),
                };
                Load {
                    address: server.grpc,
                    organizations,
                    ..self.load(target, Api::Grpc, work, callers)
                }
            })
            .collect();
        let generators: Vec<_> = loads.iter().map(generate).collect();
        let seen: Vec<Seen> = generators.into_iter().map(|generator| generator.finish()).collect();
        seen.iter().map(Seen::calls_per_second).sum()
    }
}
