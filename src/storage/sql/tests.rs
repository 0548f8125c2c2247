use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::storage::statements::{FILES, FIND_AND_ASSIGN, FIND_AND_ASSIGN_FILE, LOG_AND_ASSIGN, LOG_AND_ASSIGN_FILE};

static SQL: Sql = Sql {
    kind: StatementKind::new("test", "", ""),
    postgres: "of PostgreSQL",
    sqlite: "of SQLite",
    citus: OnCitus::Text("of Citus"),
};

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

#[test]
fn rows_are_json_arrays_in_an_array() {
    let ids = vec![id(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), id(1)];
    let rows = [Column::Ids(ids), Column::Texts(vec!["SN-1", "ü 設 🛰"])];
    insta::assert_snapshot!(
        json_rows(&rows).expect("JSON"),
        @r#"[["0123456789abcdef0123456789abcdef","SN-1"],["00000000000000000000000000000001","ü 設 🛰"]]"#
    );
}

#[test]
fn what_means_something_in_json_is_escaped() {
    let rows = [Column::Texts(vec![r#"""#, r"\", r#"\""#, "]],[[", "a\nb", "'; --", ""])];
    insta::assert_snapshot!(json_rows(&rows).expect("JSON"), @r#"[["\""],["\\"],["\\\""],["]],[["],["a\nb"],["'; --"],[""]]"#);
}

#[test]
fn no_rows_are_an_empty_array() {
    assert_eq!(json_rows(&[Column::Ids(Vec::new())]).expect("JSON"), "[]");
}

#[test]
fn numbers_stay_numbers() {
    let rows = [Column::Numbers(vec![0, -7]), Column::Texts(vec!["0", "-7"])];
    insta::assert_snapshot!(json_rows(&rows).expect("JSON"), @r#"[[0,"0"],[-7,"-7"]]"#);
}

#[test]
fn each_database_has_its_text() {
    let statement = SQL.bind([], [Column::Texts(vec!["a"])]);
    assert_eq!(statement.for_postgres().expect("bound").0, "of PostgreSQL");
    assert_eq!(statement.for_sqlite().expect("bound").0, "of SQLite");
    let statement = statement.on(Dialect::Citus);
    assert_eq!(statement.for_postgres().expect("bound").0, "of Citus");
}

#[test]
fn without_rows_a_statement_is_void() {
    let rows = |count| [Column::Ids(vec![id(1); count]), Column::Texts(vec!["a"; count])];
    assert!(SQL.bind([], rows(0)).is_void());
    assert!(SQL.bind([], rows(1)).and(rows(0)).is_void());
    assert!(!SQL.bind([], rows(1)).and(rows(1)).is_void());
}

#[test]
fn the_comment_at_the_top_of_a_file_is_not_sent() {
    assert_eq!(
        without_header("-- a\n--\n-- b\nSELECT 1 -- c\n-- d\n;"),
        "SELECT 1 -- c\n-- d\n;"
    );
    assert_eq!(without_header("SELECT 1"), "SELECT 1");
}

/// Anybody can paste a file into psql or sqlite3, and read there what to give it.
#[test]
fn each_file_explains_its_parameters_and_has_one_statement_except_one_that_is_a_transaction() {
    let of_postgres = (FIND_AND_ASSIGN_FILE, FIND_AND_ASSIGN.postgres);
    let of_sqlite = (LOG_AND_ASSIGN_FILE, LOG_AND_ASSIGN.sqlite);
    for (file, statement) in FILES.iter().chain([&of_postgres, &of_sqlite]) {
        let statements = if *file == LOG_AND_ASSIGN_FILE { 6 } else { 1 };
        let header = file.strip_suffix(statement).expect("the statement ends the file");
        let marks: &[_] = if statement.contains("?1") { &['?'] } else { &['$'] };
        let parameters = |text: &str| -> BTreeSet<String> {
            let words = text.split(|c: char| !c.is_ascii_digit() && !marks.contains(&c));
            words
                .filter(|word| word.starts_with(marks))
                .map(str::to_owned)
                .collect()
        };
        let explained: BTreeSet<_> = header
            .lines()
            .filter_map(|line| line.strip_prefix("--   "))
            .filter(|line| line.starts_with(marks))
            .flat_map(|line| parameters(line.split("  ").next().unwrap_or_default()))
            .collect();
        assert!(explained.is_superset(&parameters(statement)), "{file}");
        assert!(!header.is_empty(), "{file}");
        assert!(
            statement.ends_with(";\n") && statement.matches(';').count() == statements,
            "{file}"
        );
    }
}

/// sqlx counts a number that a statement leaves out as a parameter of its own, and silently binds nothing to the last ones.
#[test]
fn each_statement_of_a_transaction_names_all_parameters() {
    let statements: Vec<_> = LOG_AND_ASSIGN
        .sqlite
        .split(';')
        .filter(|text| text.contains('?'))
        .collect();
    assert_eq!(statements.len(), 4);
    for statement in statements {
        for number in 1..=3 {
            assert!(statement.contains(&format!("?{number}")), "{statement}");
        }
    }
}

proptest! {
    #[test]
    fn any_number_of_rows_is_a_constant_number_of_parameters(count in 0usize..3_000, scalars in 0usize..4) {
        let rows = || [
            Column::Ids(vec![id(1); count]),
            Column::Texts(vec!["a"; count]),
            Column::Numbers(vec![2; count]),
        ];
        let statement = SQL.bind(vec![Scalar::Id(id(7)); scalars], rows()).and(rows());
        prop_assert_eq!(statement.for_postgres().expect("bound").1.len(), scalars + 6);
        prop_assert_eq!(statement.for_sqlite().expect("bound").1.len(), scalars + 2);
    }

    #[test]
    fn json_gives_back_every_text_and_id(rows: Vec<(u128, String)>) {
        let columns = [
            Column::Texts(rows.iter().map(|(_, text)| text.as_str()).collect()),
            Column::Ids(rows.iter().map(|(number, _)| id(*number)).collect()),
        ];
        let read: Vec<(String, String)> = serde_json::from_str(&json_rows(&columns).expect("JSON")).expect("JSON");
        let expected: Vec<_> = rows.into_iter().map(|(number, text)| (text, format!("{number:032x}"))).collect();
        prop_assert_eq!(read, expected);
    }
}
