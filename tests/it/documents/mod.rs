//! The documents for people are true: what they say to type in works, and prints what they show; links lead somewhere.
//!
//! A block marked `sh` is typed into one shell, in the order of the document; the block below it, marked `text`, `json` or
//! `http`, is what comes. Any other block has to be on the list of those that are only read.

mod answer;
mod links;
mod markdown;
mod session;

use std::collections::BTreeSet;

use markdown::{Block, Document, documents};
use session::Session;

use crate::{
    support::{
        Kind, Suite, TestDatabase,
        program::{run, stdout},
    },
    usage::SUBCOMMANDS,
};

/// Blocks that are only read, by document and first line, and why.
const ONLY_READ: [(&str, &str, &str); 7] = [
    (
        "ARCHITECTURE.md",
        "JSON → gateway → grpc (authenticate, parse) → service → writer queue → storage (find → domain::plan → write, commit)",
        "a picture",
    ),
    (
        "ARCHITECTURE.md",
        "request (gateway) → call (policies) → SELECT api_key",
        "a picture",
    ),
    ("README.md", "cargo test", "it is what runs this"),
    (
        "docs/OPERATIONS.md",
        "cargo build --profile dist",
        "it takes minutes; the image is built with it",
    ),
    (
        "docs/API.md",
        "{\"error\": \"…\", \"code\": \"INVALID_ARGUMENT\", \"requestId\": \"…\",",
        "a form; docs/REST.md shows what comes",
    ),
    (
        "docs/API.md",
        "RateLimit-Policy: \"calls\";q=20000;w=2, \"devices\";q=2000000;qu=\"devices\";w=2",
        "a form; docs/REST.md shows what comes",
    ),
    (
        "docs/PERFORMANCE.md",
        "cargo bench --bench load                      # everything, about 10 minutes and two builds; -- --only small for one scenario",
        "minutes; .ci/run runs the second line",
    ),
];

/// Flags in the text that are those of other programs.
const FLAGS_OF_OTHERS: [&str; 11] = [
    "--bench",
    "--cert",
    "--fail-with-body",
    "--format",
    "--key",
    "--max-time",
    "--out",
    "--retry",
    "--retry-connrefused",
    "--smoke",
    "--test",
];

/// What it takes to follow a document that takes more than the program.
struct Needs {
    document: &'static str,
    programs: &'static [&'static str],
    postgres: bool,
    /// What its reader has done before.
    before: &'static str,
    /// What its reader has done once the first service runs, to which the key in `$API_KEY` belongs.
    once_served: &'static str,
}

const NEEDS: [Needs; 4] = [
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
        let name = format!("documents::say_what_works::{}", document.name);
        let (programs, postgres) = needs.map_or((&[][..], false), |needs| (needs.programs, needs.postgres));
        suite.with_programs(&name, programs, postgres, move || follow(document, needs));
    }
    suite.test("documents::name_flags_that_there_are", flags);
    suite.test("documents::link_to_what_there_is", links::of_documents);
    suite.test("documents::pages_link_to_what_there_is", links::of_pages);
}

/// The database of a document, and the one that it has its reader create.
struct Databases {
    first: TestDatabase,
    restored: TestDatabase,
}

/// Does what a document says.
async fn follow(document: Document, needs: Option<&Needs>) {
    let mut only_read: BTreeSet<&str> = ONLY_READ
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
        session.type_in(needs.before).await.expect("it is prepared");
    }
    let mut once_served = needs.map(|needs| needs.once_served).filter(|lines| !lines.is_empty());
    let mut printed = None;
    let mut wrong = Vec::new();
    for block in document.blocks {
        if only_read.remove(block.first_line()) {
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
            session.type_in(&lines).await.expect("it is prepared");
        }
    }
    assert!(wrong.is_empty(), "{}: {}", document.name, wrong.join("\n\n"));
    assert!(only_read.is_empty(), "{} has no longer {only_read:?}", document.name);
    if document.name == "README.md" {
        serves_in_production(&mut session).await;
    }
    session.stop().await;
    if let Some(Databases { first, restored }) = databases {
        first.remove().await;
        if document.name == "docs/OPERATIONS.md" {
            assert_eq!(restored.count("api_key").await, 2, "what was dumped is there again");
            restored.remove().await;
        }
    }
}

fn neither(block: &Block) -> String {
    format!(
        "this block is neither run nor the answer to one that is; mark it sh, or list it with the reason: {block:?}"
    )
}

/// What documents say, and what that is here.
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
            if flag.starts_with("--") && flag.len() > 2 && !FLAGS_OF_OTHERS.contains(&flag) {
                assert!(
                    known.contains(flag),
                    "{} names {flag}, which there is not",
                    document.name
                );
                named += 1;
            }
        }
    }
    assert!(named > 20, "only {named} flags are named");
}
