//! What cannot be done is said in one sentence, and nothing is printed.

use std::fs;

use tokio::net::TcpListener;

use super::{HEADER, Site, assign};
use crate::support::{
    Kind, Suite, TestDatabase,
    program::{finish, refused, sentence},
};

const ONE: [&str; 3] = ["--customer", "ann@example.com", "SN-1"];

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "assign::what_is_no_list_is_refused", lists);
    suite.on(Kind::Sqlite, "assign::a_service_that_is_none_is_refused", services);
    suite.on(
        Kind::Sqlite,
        "assign::a_key_that_is_none_is_refused_and_not_repeated",
        keys,
    );
    suite.on(Kind::Sqlite, "assign::mistakes_of_usage", usage);
}

async fn lists(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    let utf_16: Vec<u8> = format!("\u{feff}{HEADER}ann@example.com,SN-1\n")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (name, list, problem) in [
        (
            "nothing",
            b"".as_slice(),
            "the first line must name the columns customer_email and device_identifier; it lacks customer_email and \
             device_identifier",
        ),
        (
            "no header",
            b"ann@example.com,SN-1\n",
            "it lacks customer_email and device_identifier",
        ),
        (
            "other columns",
            b"customer_email;device\n",
            "it lacks device_identifier",
        ),
        (
            "a column twice",
            b"customer_email,device_identifier,customer_email\n",
            "the first line names the column customer_email twice",
        ),
        ("UTF-16", &utf_16, "this is UTF-16; save it as UTF-8"),
    ] {
        let said = sentence(&site.csv(list, &["--json"]).await, 1);
        assert!(said.contains("list.csv: "), "{name}: {said}");
        assert!(said.contains(problem), "{name}: {said}");
    }
    let open_quote = format!(
        "{HEADER}\"ann@example.com,SN-1\n{}",
        "ann@example.com,SN-1\n".repeat(10_000)
    );
    let said = sentence(&site.csv(open_quote, &[]).await, 1);
    assert!(
        said.contains("list.csv: the row that begins on line 2 is longer than 64 KiB; is a quote not closed?"),
        "{said}"
    );
    let open_quote = format!("{HEADER}ann@example.com,\"SN-1\nann@example.com,SN-2\n");
    let said = sentence(&site.csv(open_quote, &[]).await, 1);
    assert!(
        said.contains("list.csv: the row that begins on line 2 has a quote that is not closed"),
        "{said}"
    );
    for option in ["--csv", "--file"] {
        for path in ["missing.csv", "."] {
            let customer: &[&str] = if option == "--file" { &ONE[..2] } else { &[] };
            let said = sentence(&site.run(&[&[option, path], customer].concat()).await, 1);
            assert!(said.contains(path), "{said}");
        }
    }
    site.write("list.csv", format!("{HEADER}ann@example.com,SN-1\n"));
    let said = sentence(
        &site
            .run(&["--csv", "list.csv", "--skipped", "missing/skipped.csv"])
            .await,
        1,
    );
    assert!(
        said.contains("missing/skipped.csv: ") && said.contains("--skipped"),
        "{said}"
    );
    // A full disk, as far as this program can tell.
    let said = sentence(&site.run(&["--csv", "list.csv", "--skipped", "/dev/full"]).await, 1);
    assert!(said.contains("/dev/full: "), "{said}");
    // The list itself is not written over.
    let said = refused(&site.run(&["--csv", "list.csv", "--skipped", "./list.csv"]).await, 2);
    assert!(said.contains("another file"), "{said}");
    let mut piped = site.command(&["--csv", "-", "--skipped", "list.csv"]);
    piped.stdin(fs::File::open(site.folder.path().join("list.csv")).expect("a list"));
    let said = refused(&finish(piped).await, 2);
    assert!(said.contains("another file"), "{said}");
    let list = fs::read_to_string(site.path("list.csv")).expect("a file");
    assert_eq!(list, format!("{HEADER}ann@example.com,SN-1\n"));
    assert_eq!(database.count("customer").await, 0);
    site.server.stop().await;
}

async fn services(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let nowhere = nobody.local_addr().expect("an address");
    drop(nobody);
    let said = sentence(&finish(assign(&site.folder, nowhere, &site.key, &ONE)).await, 1);
    assert!(
        said.contains(&format!("http://{nowhere} cannot be reached: ")),
        "{said}"
    );
    for (name, address) in [("REST", site.server.rest), ("admin", site.server.admin)] {
        let said = sentence(&finish(assign(&site.folder, address, &site.key, &ONE)).await, 1);
        assert!(
            said.contains("does not respond as the device assignment service does"),
            "{name}: {said}"
        );
    }
    for url in ["localhost", "ftp://localhost", "http://", "/"] {
        let said = refused(&site.run(&[ONE.as_slice(), &["--server", url]].concat()).await, 2);
        assert!(said.contains("write http://host:50051"), "{url}: {said}");
    }
    site.server.stop().await;
}

async fn keys(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    let unknown = format!("tlm_{}", "0".repeat(49));
    for key in ["canary", &unknown, "canary\u{e9}", "canary\ncanary"] {
        let said = sentence(&finish(assign(&site.folder, site.server.grpc, key, &ONE)).await, 1);
        assert!(said.contains("API key"), "{said}");
        assert!(said.contains("--api-key-file"), "{said}");
        assert!(!said.contains("canary") && !said.contains(&unknown), "{said}");
    }
    for key in ["", "  "] {
        let said = refused(&finish(assign(&site.folder, site.server.grpc, key, &ONE)).await, 2);
        assert!(said.contains("DEVICE_ASSIGNMENT_API_KEY"), "{said}");
    }
    site.write("empty", "\n");
    for file in ["missing", "empty"] {
        let said = sentence(
            &site.run(&[ONE.as_slice(), &["--api-key-file", file]].concat()).await,
            1,
        );
        assert!(said.contains(&format!("{file}: ")), "{said}");
    }
    assert_eq!(database.count("customer").await, 0);
    site.server.stop().await;
}

async fn usage(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    for arguments in [
        "",
        "SN-1",
        "--customer ann@example.com",
        "--customer ann@example.com --csv list.csv",
        "--customer ann@example.com --file list.txt SN-1",
        "--csv list.csv SN-1",
        "--csv list.csv --type sensor",
        "--customer ann@example.com --auto-create SN-1",
        "--customer ann@example.com --parallel 0 SN-1",
        "--customer ann@example.com --parallel 101 SN-1",
        "--customer ann@example.com --timeout 0s SN-1",
        "--customer ann@example.com --api-key tlm_x SN-1",
    ] {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        refused(&site.run(&arguments).await, 2);
    }
    site.server.stop().await;
}
