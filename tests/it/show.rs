//! What operators look up.

use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

use crate::support::{
    Api, Suite, TestDatabase, TestServer, devices, organization,
    program::{command, finish, refused, run, sentence, shown as shown_on_terminal, stderr, stdout},
};

pub fn register(suite: &mut Suite) {
    suite.on_each("show::a_customer_with_its_devices", customer);
    suite.on_each("show::a_device_with_its_owners", device);
    suite.on_each("show::organizations_are_apart", apart);
    suite.on_each("show::long_lists_come_in_pages", pages);
    suite.on_each("show::a_reader_may_have_seen_enough", head);
    suite.on_each("show::what_is_not_there_is_said", not_there);
}

async fn show(database: &TestDatabase, noun: &str, name: &str, options: &[&str]) -> Output {
    finish(show_command(database, noun, name, options)).await
}

fn show_command(database: &TestDatabase, noun: &str, name: &str, options: &[&str]) -> Command {
    let show = [
        noun,
        "show",
        name,
        "--organization",
        "acme",
        "--database-url",
        database.url(),
    ];
    command(&[show.as_slice(), options].concat())
}

#[track_caller]
fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    assert_eq!(stderr(output), "");
    stdout(output)
}

#[track_caller]
fn objects(output: &Output) -> Vec<Value> {
    let printed = printed(output);
    let lines = printed.lines();
    lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

async fn assign(database: &TestDatabase, key: &str, calls: &[(&str, &[&str])]) {
    let server = TestServer::start(database).await;
    for (email, identifiers) in calls {
        server.client(Api::Grpc, key).create(email, identifiers).await.ok();
    }
    server.stop().await;
}

fn texts(rows: &[Value], member: &str) -> Vec<String> {
    let text = |row: &Value| row[member].as_str().expect("text").to_owned();
    rows.iter().map(text).collect()
}

async fn customer(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-2"]).await;
    assign(
        database,
        &key,
        &[("ann@example.com", &["SN-1", "SN-2"]), ("bob@example.com", &["SN-3"])],
    )
    .await;
    let rows = objects(&show(database, "customer", " ANN@example.com ", &["--json"]).await);
    let [customer, listed @ ..] = rows.as_slice() else {
        panic!("{rows:?}");
    };
    assert_eq!(customer["email"], "ann@example.com");
    assert_eq!(customer["name"], "ann");
    assert_eq!(customer["devices"], 2);
    assert!(customer["id"].as_str().expect("an id").starts_with("cust_"));
    let mut identifiers = texts(listed, "identifier");
    identifiers.sort_unstable();
    assert_eq!(identifiers, ["SN-1", "SN-2"]);
    for time in [&customer["createdAt"], &listed[0]["assignedAt"]] {
        assert!(time.as_str().expect("a time").ends_with('Z'), "{time}");
    }

    let table = printed(&show(database, "customer", "ann@example.com", &[]).await);
    let shown = shown_on_terminal(show_command(database, "customer", "ann@example.com", &[])).await;
    let mut aligned = format!(
        "ID          {}\nEMAIL       ann@example.com\nNAME        ann\nCREATED AT  {}\nDEVICES     2\n\n\
         ID                              IDENTIFIER  TYPE      ASSIGNED AT\n",
        customer["id"].as_str().expect("text"),
        customer["createdAt"].as_str().expect("text"),
    );
    for row in listed {
        let [id, identifier, device_type, since] =
            ["id", "identifier", "type", "assignedAt"].map(|cell| row[cell].as_str().expect("text"));
        aligned += &format!("{id}  {identifier}        {device_type:8}  {since}\n");
    }
    assert_eq!(shown, aligned);

    let mut expected = format!(
        "id\t{}\nemail\tann@example.com\nname\tann\ncreatedAt\t{}\ndevices\t2\n\nid\tidentifier\ttype\tassignedAt\n",
        customer["id"].as_str().expect("text"),
        customer["createdAt"].as_str().expect("text"),
    );
    for row in listed {
        let cells = ["id", "identifier", "type", "assignedAt"].map(|cell| row[cell].as_str().expect("text"));
        expected += &format!("{}\n", cells.join("\t"));
    }
    assert_eq!(table, expected);
}

async fn device(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    assign(
        database,
        &key,
        &[("ann@example.com", &["SN-1"]), ("bob@example.com", &["SN-1"])],
    )
    .await;
    devices(database, "acme", &["SN-2"]).await;
    let rows = objects(&show(database, "device", "SN-1", &["--json"]).await);
    assert_eq!(
        (&rows[0]["identifier"], &rows[0]["type"]),
        (&"SN-1".into(), &"sensor".into())
    );
    assert_eq!(rows[0]["owners"], 2);
    let mut emails = texts(&rows[1..], "email");
    emails.sort_unstable();
    assert_eq!(emails, ["ann@example.com", "bob@example.com"]);

    let table = printed(&show(database, "device", "SN-2", &[]).await);
    assert!(
        table.contains("\ntype\timported\n") && table.ends_with("\nowners\t0\n"),
        "{table}"
    );
}

async fn apart(database: &'static TestDatabase) {
    let other = organization(database, "globex").await;
    organization(database, "acme").await;
    assign(database, &other, &[("ann@example.com", &["SN-1"])]).await;
    sentence(&show(database, "customer", "ann@example.com", &[]).await, 1);
    sentence(&show(database, "device", "SN-1", &[]).await, 1);
}

async fn pages(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    // More than is read at once.
    let identifiers: Vec<String> = (0..2_100).map(|number| format!("SN-{number:04}")).collect();
    let identifiers: Vec<&str> = identifiers.iter().map(String::as_str).collect();
    assign(database, &key, &[("ann@example.com", &identifiers)]).await;
    let all = objects(&show(database, "customer", "ann@example.com", &["--json"]).await);
    assert_eq!(all[0]["devices"], 2_100);
    let mut listed = texts(&all[1..], "identifier");
    listed.sort_unstable();
    assert_eq!(listed, identifiers);

    let mut paged = Vec::new();
    let mut after = Vec::new();
    loop {
        let options = [vec!["--json".to_owned(), "--limit".into(), "1050".into()], after].concat();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let page = objects(&show(database, "customer", "ann@example.com", &options).await);
        assert_eq!(page[0], all[0]);
        let Some(last) = page[1..].last() else { break };
        after = vec!["--after".into(), last["id"].as_str().expect("an id").into()];
        paged.extend_from_slice(&page[1..]);
    }
    assert_eq!(paged, all[1..]);
    let none = objects(&show(database, "customer", "ann@example.com", &["--json", "--limit", "0"]).await);
    assert_eq!(none, all[..1]);
}

async fn head(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let identifiers: Vec<String> = (0..9_000).map(|number| format!("SN-{number:04}")).collect();
    let identifiers: Vec<&str> = identifiers.iter().map(String::as_str).collect();
    assign(database, &key, &[("ann@example.com", &identifiers)]).await;
    let show = ["customer", "show", "ann@example.com", "--organization", "acme"];
    let mut child = command(&[show.as_slice(), &["--database-url", database.url()]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
    reader.read_line(&mut line).await.expect("a line");
    drop(reader);
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("a pipe");
    stderr.read_to_string(&mut said).await.expect("text");
    assert_eq!(child.wait().await.expect("an exit").code(), Some(0), "{said}");
    assert_eq!(said, "");
}

async fn not_there(database: &'static TestDatabase) {
    organization(database, "acme").await;
    let said = sentence(&show(database, "customer", "ann@example.com", &["--json"]).await, 1);
    assert!(
        said.contains("there is no customer ann@example.com in the organization acme"),
        "{said}"
    );
    let said = sentence(&show(database, "device", "SN-1", &["--json"]).await, 1);
    assert!(
        said.contains("there is no device SN-1 in the organization acme"),
        "{said}"
    );
    for (noun, name) in [
        ("customer", "ann"),
        ("customer", ""),
        ("device", ""),
        ("device", "a\u{1}b"),
    ] {
        refused(&show(database, noun, name, &[]).await, 2);
    }
    refused(
        &show(database, "customer", "ann@example.com", &["--after", "cust_1"]).await,
        2,
    );
    let elsewhere = ["customer", "show", "ann@example.com", "--organization", "nobody"];
    let said = sentence(
        &run(&[elsewhere.as_slice(), &["--database-url", database.url()]].concat()).await,
        1,
    );
    assert!(said.contains("There is no organization named \"nobody\""), "{said}");
}
