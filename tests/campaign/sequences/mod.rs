//! Random sequences of all operations, over gRPC and REST, on SQLite and on PostgreSQL: each of the four gets the same answers.

mod steps;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::ConnectionTrait;
use serde_json::Value;
use steps::{ID, Operation, Step, TOKEN, sequence};
use uuid::Uuid;

use crate::{
    Size, entity_call,
    follower::{self, From},
    kills::block_on,
    many_keys,
    read_call::{self, Read},
    support::{Answer, Api, Client, Kind, PATH, TestDatabase, TestServer, organization},
};

const STEPS: usize = 20;
const PAGE: u32 = 1_000;
/// The id of no customer.
const NOWHERE: &str = "cust_00000000000000000000000000";
/// Sequences that run at the same time, each in an organization of its own.
const TOGETHER: u32 = 4;

pub fn run(size: Size) -> String {
    block_on(async move {
        let sides = [Side::start(Kind::Sqlite).await, Side::start(Kind::Postgres).await];
        let fault = planted(&sides).await.expect_err("a planted fault is found");
        println!("sequences: found the planted fault: {fault}");

        let mut random = StdRng::seed_from_u64(size.seed);
        let mut counts = Counts::default();
        for first in (0..size.rounds).step_by(TOGETHER as usize) {
            let numbers = first..size.rounds.min(first + TOGETHER);
            let sequences: Vec<_> = numbers.map(|number| (number, random.random())).collect();
            let sides = &sides;
            let compared = sequences.into_iter().map(async |(number, seed)| {
                let steps = sequence(&mut StdRng::seed_from_u64(seed), STEPS);
                let compared = compare(sides, &format!("sequence {number}"), &steps).await;
                compared.unwrap_or_else(|difference| panic!("sequence {number}: {difference}"))
            });
            for answers in join_all(compared).await {
                counts.add(&answers);
            }
        }
        for side in sides {
            side.server.stop().await;
            crate::crash::verify(&side.database).await;
            side.database.remove().await;
        }
        format!(
            "{} sequences of {STEPS} calls, each over gRPC and REST on SQLite and PostgreSQL: no difference; answers: {:?}",
            size.rounds, counts.codes
        )
    })
}

/// What was answered, so that a campaign that only compares rejections is noticed.
#[derive(Default)]
struct Counts {
    codes: BTreeMap<String, usize>,
}

impl Counts {
    fn add(&mut self, answers: &[Answer]) {
        for answer in answers {
            *self.codes.entry(answer.code.clone()).or_default() += 1;
        }
    }
}

/// A server on a database.
struct Side {
    database: TestDatabase,
    server: TestServer,
}

impl Side {
    async fn start(kind: Kind) -> Self {
        let database = TestDatabase::create(kind).await;
        let server = TestServer::start_with(&database, many_keys()).await;
        Self { database, server }
    }

    /// An organization that is called over one API.
    async fn world(&self, name: &str, api: Api) -> World {
        let key = organization(&self.database, &format!("{name} {}", api.name())).await;
        World {
            name: format!("{} on {:?}", api.name(), self.database.kind),
            client: self.server.client(api, &key),
            ids: Vec::new(),
            token: String::new(),
        }
    }
}

async fn worlds(sides: &[Side; 2], name: &str) -> Vec<World> {
    let mut worlds = Vec::new();
    for side in sides {
        for api in [Api::Grpc, Api::Rest] {
            worlds.push(side.world(name, api).await);
        }
    }
    worlds
}

/// Carries a sequence out four times. Returns the answers.
///
/// # Errors
/// The first step that was answered in two ways.
async fn compare(sides: &[Side; 2], name: &str, steps: &[Step]) -> Result<Vec<Answer>, String> {
    compare_in(&mut worlds(sides, name).await, steps).await
}

async fn compare_in(worlds: &mut [World], steps: &[Step]) -> Result<Vec<Answer>, String> {
    let mut first = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let answers = join_all(worlds.iter_mut().map(|world| world.answer(step))).await;
        for (world, answer) in worlds.iter().zip(&answers) {
            if *answer != answers[0] {
                return Err(format!(
                    "step {number}, {step:?}: {} answers {answer:#?}, and {} {:#?}",
                    world.name, worlds[0].name, answers[0]
                ));
            }
        }
        first.extend(answers.into_iter().next());
    }
    Ok(first)
}

/// Loses an assignment behind the back of one of the four.
async fn planted(sides: &[Side; 2]) -> Result<(), String> {
    let mut worlds = worlds(sides, "planted").await;
    let assigned = Step {
        operation: Operation::Assignment(PATH),
        request: serde_json::json!({
            "customerEmail": "ann@example.com", "deviceIdentifiers": ["1", "2"], "autoCreateDevices": true, "deviceType": "sensor"
        }),
        idempotency_key: None,
    };
    compare_in(&mut worlds, &[assigned])
        .await
        .expect("the same answers before the fault");
    let lost = "DELETE FROM device_assignment WHERE organization_id = (SELECT id FROM organization WHERE name = 'planted rest')";
    let connection = sides[1].database.connect().await;
    let deleted = connection.execute_unprepared(lost).await.expect("a deletion");
    assert_eq!(deleted.rows_affected(), 2);
    let read = Step {
        operation: Operation::Read(Read::ListOwnerDevices),
        request: serde_json::json!({ "customerEmail": "ann@example.com" }),
        idempotency_key: None,
    };
    let compared = compare_in(&mut worlds, &[read]).await;
    // `verify` looks at this organization, too.
    let restored = "INSERT INTO device_assignment SELECT c.organization_id, c.id, d.id, d.created_at FROM customer c \
                    JOIN device d ON d.organization_id = c.organization_id \
                    WHERE c.organization_id = (SELECT id FROM organization WHERE name = 'planted rest')";
    connection.execute_unprepared(restored).await.expect("an insertion");
    connection.close().await.expect("closed");
    compared.map(|_| ())
}

/// An organization, and what its answers have named.
struct World {
    name: String,
    client: Client,
    /// The ids, in the order in which they appeared.
    ids: Vec<String>,
    /// The last page token.
    token: String,
}

impl World {
    /// Makes the call of a step. In the answer, ids, times and page tokens are those that every world has.
    async fn answer(&mut self, step: &Step) -> Answer {
        let request = self.filled(&step.request);
        let mut client = self.client.clone();
        if let Some(number) = step.idempotency_key {
            client = client.with_header("idempotency-key", &format!("key-{number}"));
        }
        let answer = match step.operation {
            Operation::Assignment(path) => client.call_at(path, &request).await,
            Operation::Entity(call) => entity_call::Call::make(call, &client, &request).await,
            Operation::Read(read) => read_call::read(&client, read, &request).await,
            Operation::Changes => {
                let after = request["after"].as_u64().expect("a number");
                follower::list(&client, &From::after(after), PAGE, 0).await
            }
        };
        let mut answer = answer.in_json_names();
        self.redact(&mut answer.body);
        Answer {
            request_id: String::new(),
            // A status and headers, which only REST has.
            http: None,
            // They count down by the clock.
            limits: [None, None],
            ..answer
        }
    }

    /// A request with this world's ids and page token.
    fn filled(&self, request: &Value) -> Value {
        match request {
            Value::String(text) if text == TOKEN => self.token.clone().into(),
            Value::String(text) => match text.strip_prefix(ID).map(str::parse::<usize>) {
                Some(Ok(number)) => self
                    .ids
                    .get(number)
                    .cloned()
                    .unwrap_or_else(|| NOWHERE.to_owned())
                    .into(),
                _ => request.clone(),
            },
            Value::Array(values) => values.iter().map(|value| self.filled(value)).collect(),
            Value::Object(members) => {
                let filled = members.iter().map(|(name, value)| (name.clone(), self.filled(value)));
                filled.collect::<serde_json::Map<_, _>>().into()
            }
            _ => request.clone(),
        }
    }

    fn redact(&mut self, value: &mut Value) {
        match value {
            Value::String(text) if is_id(text) => *text = self.name_of(text),
            Value::String(text) if is_time(text) => *text = "a time".into(),
            Value::Array(values) => {
                values.iter_mut().for_each(|value| self.redact(value));
                // A change lists ids in their own order, which is random.
                if values
                    .iter()
                    .all(|value| value.as_str().is_some_and(|text| text.starts_with(ID)))
                {
                    values.sort_by_key(Value::to_string);
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        // One for each call.
                        Value::String(text) if name == "requestId" => *text = "a request".into(),
                        Value::String(text) if name == "nextPageToken" && !text.is_empty() => {
                            self.token = std::mem::replace(text, "a token".into());
                        }
                        _ => self.redact(value),
                    }
                }
            }
            _ => {}
        }
    }

    fn name_of(&mut self, id: &str) -> String {
        let known = self.ids.iter().position(|known| known == id);
        let number = known.unwrap_or_else(|| {
            self.ids.push(id.to_owned());
            self.ids.len() - 1
        });
        format!("{ID}{number}")
    }
}

/// Whether a text is an id, for example `cust_01m8nyczk4eg1ambz360heh4sh`, or a UUID.
fn is_id(text: &str) -> bool {
    let typed = text.split_once('_').is_some_and(|(prefix, rest)| {
        let is_part = |part: &str| {
            part.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        !prefix.is_empty() && rest.len() == 26 && is_part(prefix) && is_part(rest)
    });
    typed || Uuid::try_parse(text).is_ok()
}

/// Whether a text is a time, for example `2026-11-30T09:52:52.123Z`.
fn is_time(text: &str) -> bool {
    let is_date = |at: usize, byte: u8| match at {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        _ => byte.is_ascii_digit(),
    };
    text.len() >= "2026-11-30T09:52:52Z".len()
        && text.ends_with('Z')
        && text.bytes().take(11).enumerate().all(|(at, byte)| is_date(at, byte))
}
