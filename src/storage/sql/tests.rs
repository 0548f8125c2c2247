use proptest::prelude::*;
use sea_orm::DatabaseConnection;

use super::*;

const SQL: Sql = Sql {
    postgres: "of PostgreSQL",
    sqlite: "of SQLite",
};

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn parameters(statement: &Statement) -> &[Value] {
    statement.values.as_ref().map_or(&[], |values| &values.0)
}

#[test]
fn rows_are_json_arrays_in_an_array() {
    let ids = vec![id(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), id(1)];
    let rows = [Column::Ids(ids), Column::Texts(vec!["SN-1", "ü 設 🛰"])];
    insta::assert_snapshot!(
        json_rows(&rows),
        @r#"[["0123456789abcdef0123456789abcdef","SN-1"],["00000000000000000000000000000001","ü 設 🛰"]]"#
    );
}

#[test]
fn what_means_something_in_json_is_escaped() {
    let rows = [Column::Texts(vec![r#"""#, r"\", r#"\""#, "]],[[", "a\nb", "'; --", ""])];
    insta::assert_snapshot!(json_rows(&rows), @r#"[["\""],["\\"],["\\\""],["]],[["],["a\nb"],["'; --"],[""]]"#);
}

#[test]
fn no_rows_are_an_empty_array() {
    assert_eq!(json_rows(&[Column::Ids(Vec::new())]), "[]");
}

#[test]
fn sqlite_takes_the_rows_as_one_text() {
    let rows = [Column::Ids(vec![id(1)]), Column::Texts(vec!["a"])];
    let statement = SQL.bind(DbBackend::Sqlite, [Value::from(7), Value::from("x")], rows);
    assert_eq!(statement.sql, "of SQLite");
    let json = r#"[["00000000000000000000000000000001","a"]]"#;
    assert_eq!(
        parameters(&statement),
        [Value::from(7), Value::from("x"), Value::from(json)]
    );
}

#[test]
fn postgres_takes_an_array_for_each_column() {
    let rows = [Column::Ids(vec![id(1), id(2)]), Column::Texts(vec!["a", r#"{"b"}"#])];
    let statement = SQL.bind(DbBackend::Postgres, [Value::from(7)], rows);
    assert_eq!(statement.sql, "of PostgreSQL");
    let expected = [
        Value::from(7),
        Value::Array(ArrayType::Uuid, Some(Box::new(vec![id(1).into(), id(2).into()]))),
        Value::Array(ArrayType::String, Some(Box::new(vec!["a".into(), r#"{"b"}"#.into()]))),
    ];
    assert_eq!(parameters(&statement), expected);
}

#[tokio::test]
async fn without_rows_nobody_is_asked() {
    #[derive(Debug, FromQueryResult)]
    struct Row {}

    // A connection that answers every question with an error.
    let nowhere = DatabaseConnection::default();
    let none = || [Column::Ids(Vec::new()), Column::Texts(Vec::new())];
    let loaded: Vec<Row> = SQL.load(&nowhere, [], none()).await.expect("no rows");
    assert!(loaded.is_empty());
    assert_eq!(SQL.execute(&nowhere, [], none()).await, Ok(0));
}

proptest! {
    #[test]
    fn any_number_of_rows_is_a_constant_number_of_parameters(count in 0usize..3_000, scalars in 0usize..4) {
        for (backend, expected) in [(DbBackend::Sqlite, scalars + 1), (DbBackend::Postgres, scalars + 3)] {
            let rows = [
                Column::Ids(vec![id(1); count]),
                Column::Texts(vec!["a"; count]),
                Column::Ids(vec![id(2); count]),
            ];
            let statement = SQL.bind(backend, vec![Value::from(7); scalars], rows);
            prop_assert_eq!(parameters(&statement).len(), expected);
        }
    }

    #[test]
    fn json_gives_back_every_text_and_id(rows: Vec<(u128, String)>) {
        let columns = [
            Column::Texts(rows.iter().map(|(_, text)| text.as_str()).collect()),
            Column::Ids(rows.iter().map(|(number, _)| id(*number)).collect()),
        ];
        let read: Vec<(String, String)> = serde_json::from_str(&json_rows(&columns)).expect("JSON");
        let expected: Vec<_> = rows.into_iter().map(|(number, text)| (text, format!("{number:032x}"))).collect();
        prop_assert_eq!(read, expected);
    }
}
