//! Instances that are replaced one by one under load: by others of this version, and by this version where the version before ran,
//! with the documented way back.

use std::{env, ffi::OsString};

use crate::{
    Size,
    crash::verify,
    fleet::{Fleet, Link},
    kills::{block_on, planted},
    support::{
        Api, Kind, Load, TestDatabase,
        effects::{faults, forgotten, owned},
        load::{Call, Change, Fate, clients, tally},
        organization,
        program::{command, command_of, finish, stdout, talk},
    },
};

const INSTANCES: usize = 3;
const CALLERS: usize = 24;
/// Calls that succeed between two replacements.
const BETWEEN: u64 = 5 * CALLERS as u64;
/// Names a build of the version before, for the upgrade.
const BEFORE: &str = "TEST_PROGRAM_BEFORE";

pub fn run(size: Size) -> String {
    block_on(async move {
        planted().await;
        let replaced = replacements(size).await;
        let upgraded = match env::var_os(BEFORE) {
            Some(before) => upgrade(before, size.seed).await,
            None => format!("no upgrade, because {BEFORE} does not name a program"),
        };
        format!("{replaced}; {upgraded}")
    })
}

/// Replaces all instances so many times.
async fn replacements(size: Size) -> String {
    let database = TestDatabase::create(Kind::Postgres).await;
    let key = organization(&database, "acme").await;
    let mut fleet = Fleet::start(database.url(), INSTANCES).await;
    let links = Links::of(&fleet, size.seed).await;
    let mut calls = Vec::new();
    for round in 0..size.rounds {
        let load = Load::mixed(
            &format!("round{round}"),
            clients(CALLERS, |api| links.of_api(api).client(&key)),
        );
        for instance in 0..INSTANCES {
            load.succeeds(BETWEEN).await;
            fleet.replace(instance).await;
        }
        load.succeeds(BETWEEN).await;
        let made = load.finish().await;
        println!("{}", tally(&made));
        check(&database, &made).await;
        calls.extend(made);
        assert_eq!(faults(&database, &calls).await, [""; 0], "in round {round}");
    }
    verify(&database).await;
    fleet.stop().await;
    database.remove().await;
    let rejected = calls.iter().filter(|call| call.is(&["UNAVAILABLE"])).count();
    let lost = calls.iter().filter(|call| call.is_lost()).count();
    format!(
        "{} replacements of an instance during {} calls: {rejected} calls were told to try again, {lost} lost their connection and were \
         not carried out, all others succeeded",
        size.rounds as usize * INSTANCES,
        calls.len()
    )
}

/// Upgrades instances of the version before, and goes back.
async fn upgrade(before: OsString, seed: u64) -> String {
    let database = TestDatabase::empty(Kind::Postgres).await;
    let url = ["--database-url", database.url()];
    for arguments in [&["migrate"] as &[_], &["organization", "create", "acme"]] {
        let output = finish(command_of(before.clone(), &[arguments, &url].concat())).await;
        assert!(output.status.success(), "{}", talk(&output));
    }
    let create = ["api-key", "create", "--organization", "acme", "--label", "campaign"];
    let output = finish(command_of(before.clone(), &[&create as &[_], &url].concat())).await;
    let printed = stdout(&output);
    let key = printed
        .split_whitespace()
        .find(|word| word.contains('_') && word.len() > 30);
    let key = key.unwrap_or_else(|| panic!("a key: {printed}")).to_owned();

    let mut fleet = Fleet::start_of(before.clone(), database.url(), INSTANCES).await;
    let links = Links::of(&fleet, seed).await;
    let load = |name: &str| Load::start(name, clients(CALLERS, |api| links.of_api(api).client(&key)));
    let upgrading = load("upgrading");
    upgrading.succeeds(BETWEEN).await;
    let migrated = finish(command(&["migrate", "--database-url", database.url()])).await;
    assert!(migrated.status.success(), "{}", talk(&migrated));
    fleet.set_program(None);
    for instance in 0..INSTANCES {
        fleet.replace(instance).await;
    }
    upgrading.succeeds(BETWEEN).await;
    let mut calls = upgrading.finish().await;
    let during = tally(&calls);
    check(&database, &calls).await;
    assert_eq!(faults(&database, &calls).await, [""; 0]);
    verify(&database).await;
    fleet.stop().await;

    execute(&database, &way_back()).await;
    let fleet = Fleet::start_of(before, database.url(), INSTANCES).await;
    let links = Links::of(&fleet, seed).await;
    let back = Load::start("back", clients(CALLERS, |api| links.of_api(api).client(&key)));
    back.succeeds(BETWEEN).await;
    calls.extend(back.finish().await);
    assert_eq!(faults(&database, &calls).await, [""; 0]);
    let askers = clients(8, |api| links.of_api(api).client(&key));
    let acknowledged: Vec<Call> = calls.into_iter().filter(Call::is_ok).collect();
    assert_eq!(forgotten(&acknowledged, &askers).await, [""; 0]);
    fleet.stop().await;
    database.remove().await;
    format!(
        "the version before was upgraded and came back: calls meanwhile {during}, all {} acknowledged ones are there",
        acknowledged.len()
    )
}

/// The statements of the guide that bring the schema of the version before back.
fn way_back() -> String {
    let guide = include_str!("../../docs/OPERATIONS.md");
    let (_, section) = guide
        .split_once("To go back to the version before on PostgreSQL")
        .expect("the section");
    let (_, code) = section.split_once("```sql\n").expect("the statements");
    code.split_once("```").expect("their end").0.to_owned()
}

async fn execute(database: &TestDatabase, sql: &str) {
    use sea_orm::ConnectionTrait;

    let connection = database.connect().await;
    connection.execute_unprepared(sql).await.expect(sql);
    connection.close().await.expect("closed");
}

/// A way for each API.
struct Links([Link; 2]);

impl Links {
    async fn of(fleet: &Fleet, seed: u64) -> Self {
        Self([
            Link::lasting(fleet, Api::Grpc, seed).await,
            Link::lasting(fleet, Api::Rest, seed).await,
        ])
    }

    fn of_api(&self, api: Api) -> &Link {
        &self.0[usize::from(api != Api::Grpc)]
    }
}

/// A call succeeds, or is rejected and can be made again, or its connection closes before the service has it.
async fn check(database: &TestDatabase, made: &[Call]) {
    let owned = owned(database).await;
    for call in made {
        match &call.fate {
            Fate::Answered { code, retry_after } => assert!(
                code == "OK" || (code == "UNAVAILABLE" && retry_after.is_some()),
                "{call:?}"
            ),
            Fate::Lost { .. } => {
                let later = |other: &&Call| other.email == call.email && other.is_ok();
                let is_first = matches!(call.change, Change::Assign(_)) && made.iter().find(later).is_none();
                assert!(
                    !is_first || !owned.contains_key(&call.email),
                    "carried out, so it was accepted, but not answered: {call:?}"
                );
            }
        }
    }
}
