//! Bringing in devices from a list.

use std::{fs, process::Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Suite, TestDatabase, organization,
    program::{run, sentence, stderr, stdout, talk},
};

pub fn register(suite: &mut Suite) {
    suite.on_each("import::counts_what_becomes_of_each_row", counts);
    suite.on_each("import::refused_rows_are_named_by_line", refused_rows);
    suite.on_each("import::lines_are_counted_as_an_editor_does", line_numbers);
    suite.on_each("import::what_is_no_list_is_refused", no_list);
    suite.on_each("import::lists_come_as_spreadsheets_write_them", spreadsheets);
    suite.on_each("import::organizations_are_apart", apart);
}

pub async fn import(database: &TestDatabase, list: impl AsRef<[u8]>, options: &[&str]) -> Output {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("devices.csv");
    fs::write(&path, list).expect("a file");
    import_file(database, path.to_str().expect("text"), options).await
}

async fn import_file(database: &TestDatabase, file: &str, options: &[&str]) -> Output {
    let import = [
        "device",
        "import",
        "--organization",
        "acme",
        "--database-url",
        database.url(),
    ];
    run(&[import.as_slice(), options, &[file]].concat()).await
}

#[track_caller]
pub fn report(output: &Output, code: i32) -> [i64; 4] {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
    let value: Value = serde_json::from_str(&stdout(output)).expect("JSON");
    assert_eq!(value.as_object().expect("an object").len(), 4, "{value}");
    ["created", "updated", "unchanged", "refused"].map(|count| value[count].as_i64().expect("a number"))
}

/// What was said of the rows.
fn refusals(output: &Output) -> Vec<String> {
    let said = stderr(output);
    let lines = said.lines().filter(|line| line.starts_with("line "));
    lines.map(str::to_owned).collect()
}

async fn counts(database: &'static TestDatabase) {
    organization(database, "acme").await;
    let list = "identifier,type\nSN-1,sensor\n SN-2 , sensor \n\"SN-3, the \"\"third\"\"\",meter\n";
    let output = import(database, list, &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "3 created, 0 updated, 0 unchanged, 0 refused\n");
    assert_eq!(talk(&output), "");
    let after = database.dump().await;
    assert!(after.contains(" SN-2 sensor\n"), "{after}");
    assert!(after.contains(" SN-3, the \"third\" meter\n"), "{after}");

    assert_eq!(report(&import(database, list, &["--json"]).await, 0), [0, 0, 3, 0]);
    assert_eq!(database.dump().await, after, "the same list again changes nothing");

    // Of a repeated identifier the last row counts; case tells devices apart.
    let list = "identifier,type\nSN-1,meter\nSN-2,meter\nSN-2,sensor\nsn-1,sensor\nSN-4,a\nSN-4,b\n";
    assert_eq!(report(&import(database, list, &["--json"]).await, 0), [2, 1, 3, 0]);
    let after = database.dump().await;
    for row in [" SN-1 meter\n", " SN-2 sensor\n", " sn-1 sensor\n", " SN-4 b\n"] {
        assert!(after.contains(row), "{row}: {after}");
    }
    assert_eq!(
        report(&import(database, "identifier,type\n", &["--json"]).await, 0),
        [0; 4]
    );
}

async fn refused_rows(database: &'static TestDatabase) {
    organization(database, "acme").await;
    let mut list = b"identifier,type\n".to_vec();
    let long = "\u{e4}".repeat(255);
    for row in [
        "SN-1,sensor",
        &format!("{long},sensor"),
        &format!("{long}\u{e4},sensor"),
        ",sensor",
        " \u{a0} ,sensor",
        "a\u{1}b,sensor",
        "a\0b,sensor",
        "SN-2,",
        &format!("SN-3,{}", "t".repeat(100)),
        &format!("SN-4,{}", "t".repeat(101)),
        "SN-5,a\tb",
        "SN-6",
        "SN-7,sensor,more",
        "SN-8,sensor",
    ] {
        list.extend_from_slice(row.as_bytes());
        list.push(b'\n');
    }
    list.extend_from_slice(b"SN-\xff,sensor\nSN-9,sensor\n");
    let output = import(database, &list, &["--json"]).await;
    assert_eq!(report(&output, 1), [5, 0, 0, 11]);
    let expected = [
        "line 4: identifier must be at most 255 characters",
        "line 5: identifier must not be empty",
        "line 6: identifier must not be empty",
        "line 7: identifier must not contain control characters",
        "line 8: identifier must not contain control characters",
        "line 9: type must not be empty",
        "line 11: type must be at most 100 characters",
        "line 12: type must not contain control characters",
        "line 13: expected 2 fields, found 1",
        "line 14: expected 2 fields, found 3",
        "line 16: identifier must be UTF-8",
    ];
    assert_eq!(refusals(&output), expected);
    let after = database.dump().await;
    for identifier in ["SN-1", &long, "SN-3", "SN-8", "SN-9"] {
        assert!(after.contains(&format!(" {identifier} ")), "{after}");
    }
    assert_eq!(report(&import(database, &list, &["--json"]).await, 1), [0, 0, 5, 11]);
    assert_eq!(database.dump().await, after);
}

/// Who opens the list at the line that was named must find the row there.
async fn line_numbers(database: &'static TestDatabase) {
    organization(database, "acme").await;
    for (name, list, lines) in [
        (
            "windows",
            "identifier,type\r\nSN-1,sensor\r\n,sensor\r\nSN-2,\r\n",
            vec![3, 4],
        ),
        (
            "empty lines",
            "identifier,type\n\n,sensor\n\n\n,sensor\nSN-1,sensor\n",
            vec![3, 6],
        ),
        (
            "windows, empty lines",
            "identifier,type\r\n\r\n,sensor\r\n\r\n\r\n,sensor",
            vec![3, 6],
        ),
        (
            "quoted line ends",
            "identifier,type\n\"a\nb\",sensor\n,sensor\n",
            vec![2, 4],
        ),
        ("no last line end", "identifier,type\nSN-1,sensor\n,sensor", vec![3]),
        (
            "byte order mark",
            "\u{feff}identifier,type\nSN-1,sensor\n,sensor\n",
            vec![3],
        ),
    ] {
        let output = import(database, list, &[]).await;
        let named: Vec<usize> = refusals(&output)
            .iter()
            .map(|line| {
                line[5..]
                    .split(':')
                    .next()
                    .expect("a number")
                    .parse()
                    .expect("a number")
            })
            .collect();
        assert_eq!(named, lines, "{name}: {}", stderr(&output));
    }
}

async fn no_list(database: &'static TestDatabase) {
    let said = sentence(&import(database, "identifier,type\nSN-1,sensor\n", &[]).await, 1);
    assert!(said.contains("There is no organization named \"acme\""), "{said}");
    assert!(said.contains("`device-assignment organization list`"), "{said}");

    organization(database, "acme").await;
    let open_quote = format!("identifier,type\n\"SN-1,sensor\n{}", "SN-2,sensor\n".repeat(10_000));
    let no_rows = [0x7f, b'E', b'L', b'F', 0, 1, 2, 0xff];
    for (name, list) in [
        ("nothing", b"".as_slice()),
        ("no header", b"SN-1,sensor\nSN-2,sensor\n"),
        ("other columns", b"serial,kind\nSN-1,sensor\n"),
        ("JSON", b"[{\"identifier\": \"SN-1\", \"type\": \"sensor\"}]"),
        ("no text", &no_rows),
    ] {
        let said = sentence(&import(database, list, &[]).await, 1);
        assert!(said.contains("devices.csv: "), "{name}: {said}");
        assert!(
            said.contains("the first line must name the columns identifier and type; it lacks "),
            "{name}: {said}"
        );
    }
    let said = sentence(&import(database, open_quote, &[]).await, 1);
    assert!(
        said.contains("devices.csv: the row that begins on line 2 is longer than 64 KiB; is a quote not closed?"),
        "{said}"
    );
    let said = sentence(&import(database, "identifier,type\n\"SN-1,sensor\n", &[]).await, 1);
    assert!(
        said.contains("devices.csv: the row that begins on line 2 has a quote that is not closed"),
        "{said}"
    );
    let folder = TempDir::new().expect("a folder");
    let missing = folder.path().join("missing.csv");
    for path in [missing.as_path(), folder.path()] {
        let path = path.to_str().expect("text");
        let said = sentence(&import_file(database, path, &[]).await, 1);
        assert!(said.contains(path), "{said}");
    }
    assert_eq!(database.count("device").await, 0);
}

async fn spreadsheets(database: &'static TestDatabase) {
    organization(database, "acme").await;
    for (list, note) in [
        ("type,identifier\nsensor,SN-1\n", ""),
        ("\u{feff}Identifier;Type\r\nSN-2;sensor\r\n", ""),
        (
            "identifier,owner,type,color\nSN-3,ann,sensor,red\n",
            "ignoring the columns owner, color\n",
        ),
        (
            "identifier;type;a\u{1b}[31mb\nSN-4;sensor;\n",
            "ignoring the column a [31mb\n",
        ),
    ] {
        let output = import(database, list, &["--json"]).await;
        assert_eq!(report(&output, 0), [1, 0, 0, 0], "{list}");
        assert_eq!(talk(&output), note);
    }
    let dump = database.dump().await;
    for row in [" SN-1 sensor\n", " SN-2 sensor\n", " SN-3 sensor\n", " SN-4 sensor\n"] {
        assert!(dump.contains(row), "{row}: {dump}");
    }
}

async fn apart(database: &'static TestDatabase) {
    organization(database, "globex").await;
    organization(database, "acme").await;
    let list = "identifier,type\nSN-1,sensor\n";
    assert_eq!(report(&import(database, list, &["--json"]).await, 0), [1, 0, 0, 0]);
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("devices.csv");
    fs::write(&path, "identifier,type\nSN-1,meter\n").expect("a file");
    let path = path.to_str().expect("text");
    let other = [
        "device",
        "import",
        "--json",
        "--organization",
        "globex",
        "--database-url",
        database.url(),
        path,
    ];
    assert_eq!(report(&run(&other).await, 0), [1, 0, 0, 0]);
    assert_eq!(report(&import(database, list, &["--json"]).await, 0), [0, 0, 1, 0]);
}
