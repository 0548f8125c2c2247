//! The documents are correct: their commands work and print what the documents show, and their links are not dead.
//!
//! Blocks marked `sh` run in one shell, in the order of the document. A block marked `text`, `json` or `http` below one is the
//! expected output. Every other block must be listed as not run.

mod answer;
mod links;
mod markdown;
mod session;

use std::collections::BTreeSet;

use markdown::{Block, Document, documents};
use session::Session;
use tokio::process::Command;

use crate::{
    support::{
        Kind, Suite, TestDatabase,
        program::{finish, run, stderr, stdout},
    },
    usage::SUBCOMMANDS,
};

/// Blocks that are not run: document, first line, reason.
const NOT_RUN: [(&str, &str, &str); 28] = [
    (
        "ARCHITECTURE.md",
        "JSON → gateway → grpc (authenticate, parse) → service → writer queue → storage (find → apply → write, commit)",
        "a diagram",
    ),
    (
        "ARCHITECTURE.md",
        "request (gateway) → call (policies) → SELECT api_key",
        "a diagram",
    ),
    ("README.md", "cargo test", "it runs this test"),
    (
        "docs/SCALING.md",
        "device-assignment migrate --database-url \"$DATABASE_URL\"",
        "it takes minutes; documents::sizes_can_be_measured runs it with fewer devices",
    ),
    (
        "docs/SCALING.md",
        "SELECT citus_set_coordinator_host('coordinator.internal', 5432);",
        "it needs Citus; the tests prepare their cluster so",
    ),
    (
        "docs/SCALING.md",
        "device-assignment migrate --distribute",
        "it needs Citus; citus::tables_are_distributed_once runs it there",
    ),
    (
        "docs/SCALING.md",
        "SELECT nodename, nodeport, shardid",
        "it needs Citus",
    ),
    (
        "docs/SCALING.md",
        "SELECT isolate_tenant_to_new_shard('device', '01900000-0000-7000-8000-000000000001', 'CASCADE',",
        "it needs Citus",
    ),
    (
        "docs/SCALING.md",
        "SELECT citus_add_node('worker-3.internal', 5432);",
        "it needs Citus",
    ),
    (
        "docs/OPERATIONS.md",
        "docker build -f deploy/Dockerfile -t device-assignment .",
        "it needs a container engine",
    ),
    (
        "docs/OPERATIONS.md",
        "DROP TRIGGER require_change_log ON customer;",
        "change_log::the_documented_way_back_works runs it",
    ),
    (
        "docs/OPERATIONS.md",
        "# postgresql.conf; archive_mode needs a restart",
        "the campaign `backup` does it",
    ),
    (
        "docs/OPERATIONS.md",
        "pg_basebackup --checkpoint=fast --pgdata=/backup/2027-03-01",
        "the campaign `backup` does it",
    ),
    (
        "docs/OPERATIONS.md",
        "cp --archive /backup/2027-03-01 /var/lib/postgresql/restored",
        "the campaign `backup` does it",
    ),
    (
        "docs/OPERATIONS.md",
        "litestream replicate device-assignment.db file:///backup/device-assignment",
        "the program is not installed",
    ),
    (
        "docs/OPERATIONS.md",
        "cargo install --locked cargo-deny cargo-auditable cargo-cyclonedx",
        "it installs programs and takes minutes",
    ),
    (
        "docs/OPERATIONS.md",
        "cargo build --profile dist",
        "it takes minutes; the image is built with it",
    ),
    (
        "docs/CHANGES.md",
        "GET /api/ext-v1/changes?after=4711&history=hist_01m835zmv6e3ts9whpry4tgqhh",
        "changes:: makes such requests",
    ),
    (
        "docs/CHANGES.md",
        "id: hist_01m835zmv6e3ts9whpry4tgqhh:4712",
        "a form; changes:: reads real events",
    ),
    (
        "docs/CHANGES.md",
        "export DEVICE_ASSIGNMENT_WEBHOOK_SECRET=whsec_...",
        "webhook:: runs it with a receiver",
    ),
    (
        "docs/CHANGES.md",
        "location /api/ext-v1/changes {",
        "changes::nginx_passes_streams_on runs it",
    ),
    (
        "docs/MCP.md",
        "{",
        "mcp::the_documented_configuration_is_valid reads it",
    ),
    (
        "docs/API.md",
        "{\"error\": \"…\", \"code\": \"INVALID_ARGUMENT\", \"reason\": \"INVALID_REQUEST\", \"requestId\": \"…\",",
        "a form; docs/REST.md shows real output",
    ),
    (
        "docs/API.md",
        "RateLimit-Policy: \"calls\";q=20000;w=2, \"devices\";q=2000000;qu=\"devices\";w=2",
        "a form; docs/REST.md shows real output",
    ),
    (
        "docs/CHANGES.md",
        "cargo bench --bench load -- --only streams",
        "it takes minutes; .ci/run runs both with little data",
    ),
    (
        "docs/SCALING.md",
        "cargo bench --bench load -- --only instances",
        "it takes minutes; .ci/run runs it with little data",
    ),
    (
        "docs/PERFORMANCE.md",
        "cargo bench --bench load                      # everything, about 10 minutes and two builds; -- --only small for one scenario",
        "it takes minutes; .ci/run runs the second line",
    ),
    (
        "docs/RELIABILITY.md",
        "cargo test --test campaign                              # a short run of each",
        "it takes minutes; `cargo test` includes the first line",
    ),
];

/// Flags of other programs that the documents name.
const OTHER_FLAGS: [&str; 15] = [
    "--bench",
    "--cert",
    "--compressed",
    "--fail-with-body",
    "--format",
    "--key",
    "--max-time",
    "--out",
    "--phases",
    "--retry",
    "--retry-connrefused",
    "--rounds",
    "--seed",
    "--smoke",
    "--test",
];

/// What a document needs in addition to the program.
struct Needs {
    document: &'static str,
    programs: &'static [&'static str],
    postgres: bool,
    /// Commands to run before the document.
    before: &'static str,
    /// Commands to run after the first service has started. `$API_KEY` is a key of that service.
    once_served: &'static str,
}

const NEEDS: [Needs; 5] = [
    Needs {
        document: "README.md",
        programs: &["curl", "grpcurl"],
        postgres: true,
        before: "printf 'identifier,type\nSN-001,sensor\nSN-002,sensor\n' > devices.csv
                 printf 'customer_email,device_identifier\nann@example.com,SN-001\n' > assignments.csv",
        once_served: "device-assignment device import --organization default devices.csv
                      DEVICE_ASSIGNMENT_SERVER=http://127.0.0.1:50051 DEVICE_ASSIGNMENT_API_KEY=$API_KEY \
                      device-assignment assign --customer john.doe@example.com SN-002",
    },
    Needs {
        document: "docs/GRPC.md",
        programs: &["grpcurl", "buf"],
        postgres: false,
        before: "",
        once_served: "",
    },
    Needs {
        document: "docs/OPERATIONS.md",
        programs: &["pg_dump", "sqlite3"],
        postgres: true,
        before: "device-assignment migrate
                 export DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE
                 device-assignment migrate
                 device-assignment organization create acme
                 device-assignment api-key create --organization acme",
        once_served: "",
    },
    Needs {
        document: "docs/TASKS.md",
        programs: &["curl"],
        postgres: false,
        before: "",
        once_served: "",
    },
    Needs {
        document: "docs/REST.md",
        programs: &["curl"],
        postgres: false,
        before: "",
        once_served: "",
    },
];

pub fn register(suite: &mut Suite) {
    for document in documents() {
        let needs = NEEDS.iter().find(|needs| needs.document == document.name);
        let name = format!("documents::commands_work::{}", document.name);
        let (programs, postgres) = needs.map_or((&[][..], false), |needs| (needs.programs, needs.postgres));
        suite.with_programs(&name, programs, postgres, move || follow(document, needs));
    }
    suite.with_programs("documents::sizes_can_be_measured", &["psql"], true, sizes);
    suite.test("documents::flags_exist", flags);
    suite.test("documents::links_lead_somewhere", links::of_documents);
    suite.test("documents::links_of_pages_lead_somewhere", links::of_pages);
}

/// The script that measures the sizes in `docs/SCALING.md` works with this schema.
async fn sizes() {
    let database = TestDatabase::empty(Kind::Postgres).await;
    let output = run(&["migrate", "--database-url", database.url()]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let mut psql = Command::new("psql");
    psql.args([
        database.url(),
        "--no-psqlrc",
        "-v",
        "devices=1000",
        "-f",
        "benches/sizing.sql",
    ]);
    let output = finish(psql).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output);
    for relation in ["change_log_pkey", "customer", "device_assignment_device", "device_pkey"] {
        assert!(shown.contains(&format!(" {relation} ")), "{relation}: {shown}");
    }
    database.remove().await;
}

/// The database of a document, and the database that the document creates.
struct Databases {
    first: TestDatabase,
    restored: TestDatabase,
}

/// Runs the commands of a document, and compares their output.
async fn follow(document: Document, needs: Option<&Needs>) {
    let mut not_run: BTreeSet<&str> = NOT_RUN
        .iter()
        .filter(|(name, ..)| *name == document.name)
        .map(|(_, line, _)| *line)
        .collect();
    let databases = match needs {
        Some(Needs { postgres: true, .. }) => Some(Databases {
            first: TestDatabase::empty(Kind::Postgres).await,
            restored: TestDatabase::to_be_created(),
        }),
        _ => None,
    };
    let mut session = Session::start(names(databases.as_ref()));
    if let Some(needs) = needs {
        session.type_in(needs.before).await.expect("the preparation works");
    }
    let mut once_served = needs.map(|needs| needs.once_served).filter(|lines| !lines.is_empty());
    let mut printed = None;
    let mut wrong = Vec::new();
    for block in document.blocks {
        if not_run.remove(block.first_line()) {
            printed = None;
            continue;
        }
        let shown = printed.take();
        match (block.kind.as_str(), shown) {
            ("sh", _) => match session.type_in(&block.text).await {
                Ok(output) => printed = Some(output),
                Err(problem) => panic!("{}: {problem}", document.name),
            },
            (kind, Some(output)) => {
                if let Err(problem) = answer::compare(kind, &block.text, &output) {
                    wrong.push(problem);
                }
            }
            (_, None) => wrong.push(neither(&block)),
        }
        if let Some((key, lines)) = session.key().zip(once_served) {
            once_served = None;
            let lines = format!("export API_KEY={key}\n{lines}");
            session.type_in(&lines).await.expect("the preparation works");
        }
    }
    assert!(wrong.is_empty(), "{}: {}", document.name, wrong.join("\n\n"));
    assert!(not_run.is_empty(), "{} no longer contains {not_run:?}", document.name);
    if document.name == "README.md" {
        serves_in_production(&mut session).await;
    }
    session.stop().await;
    if let Some(Databases { first, restored }) = databases {
        first.remove().await;
        if document.name == "docs/OPERATIONS.md" {
            assert_eq!(
                restored.count("api_key").await,
                3,
                "the restored database has the dumped rows"
            );
            restored.remove().await;
        }
    }
}

fn neither(block: &Block) -> String {
    format!(
        "this block is neither a command nor the output of one; mark it sh, or list it in NOT_RUN with a reason: {block:?}"
    )
}

/// Text in the documents, and what replaces it in the test.
fn names(databases: Option<&Databases>) -> Vec<(String, String)> {
    let mut names = vec![
        ("cargo run --release --", "device-assignment".to_owned()),
        ("API_KEY=...", "API_KEY=$API_KEY".to_owned()),
        (
            "KEY_ID",
            "$(device-assignment api-key list --organization acme | head -n 1 | cut -f 1)".to_owned(),
        ),
        ("/etc/device-assignment/", "./".to_owned()),
        ("0.0.0.0:50051", "0.0.0.0:0".to_owned()),
        ("0.0.0.0:8080", "0.0.0.0:0".to_owned()),
    ];
    if let Some(Databases { first, restored }) = databases {
        let created = format!("createdb --maintenance-db='{}' {}", first.url(), restored.name());
        names.extend([
            (
                "postgres://USER:PASSWORD@HOST:5432/DATABASE",
                format!("'{}'", first.url()),
            ),
            ("createdb devices_restored", created),
            ("--dbname=devices_restored", format!("--dbname='{}'", restored.url())),
        ]);
    }
    names
        .into_iter()
        .map(|(written, meant)| (written.to_owned(), meant))
        .collect()
}

/// The production service of the README, on PostgreSQL and with TLS, accepts a call.
async fn serves_in_production(session: &mut Session) {
    let call = "key=$(device-assignment api-key create --organization acme 2>/dev/null)
        curl --cacert ca.crt https://127.0.0.1:8080/api/ext-v1/deviceAssignment/assignDevicesToOwner \\
          -H \"x-api-key: $key\" -H 'Content-Type: application/json' \\
          -d '{\"customerEmail\": \"ann@example.com\", \"deviceIdentifiers\": [\"SN-001\"],
               \"autoCreateDevices\": true, \"deviceType\": \"sensor\"}'";
    let answer = session.type_in(call).await.expect("an answer");
    assert!(answer.contains("\"success\":true"), "{answer}");
}

async fn flags() {
    let mut known = String::new();
    for (subcommand, _) in SUBCOMMANDS {
        let arguments: Vec<&str> = subcommand.split_whitespace().chain(["--help"]).collect();
        known.push_str(&stdout(&run(&arguments).await));
    }
    let is_of_a_flag = |char: char| char.is_ascii_alphanumeric() || char == '-';
    let known: BTreeSet<&str> = known.split(|char| !is_of_a_flag(char)).collect();
    let mut named = 0;
    for document in documents() {
        for flag in document
            .code
            .iter()
            .flat_map(|code| code.split(|char| !is_of_a_flag(char)))
        {
            if flag.starts_with("--") && flag.len() > 2 && !OTHER_FLAGS.contains(&flag) {
                assert!(known.contains(flag), "{} names the unknown flag {flag}", document.name);
                named += 1;
            }
        }
    }
    assert!(named > 20, "only {named} flags are named");
}
