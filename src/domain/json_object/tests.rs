use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn nested(depth: usize) -> String {
    format!("{}{}", r#"{"a":"#.repeat(depth - 1) + "{}", "}".repeat(depth - 1))
}

#[test]
fn an_object_is_kept_byte_for_byte() {
    for text in [
        "{}",
        "{ }",
        r#"{"b":1,"a":2}"#,
        r#"{ "n" : [ 1e100000 , -0.10 , 1E+2, 0 ] , "t":true,"f":false,"z":null }"#,
        "{\n\t\"\":\"\\u00e9 \\ud83d\\ude80 \\\" \\\\ \\/ \\b\\f\\n\\r\\t é 🛰 \u{7f}\u{85}\"\r\n}",
        r#"{"a":{"a":{"a":1}},"A":[{"a":1},{"a":2}]}"#,
    ] {
        let object = JsonObject::parse(text).expect(text);
        assert_eq!(object.as_str(), text);
        let around = format!(" \n{text}\t\r");
        assert_eq!(JsonObject::parse(&around), Ok(object));
    }
    assert_eq!(JsonObject::parse("{}"), Ok(JsonObject::default()));
}

#[test]
fn what_is_not_an_object_is_rejected() {
    for text in [
        "",
        " ",
        "null",
        "1",
        "\"{}\"",
        "[]",
        "[{}]",
        "x",
        "\u{a0}{}",
        "\u{feff}{}",
    ] {
        assert_eq!(JsonObject::parse(text), Err(InvalidJson::NotAnObject), "{text:?}");
    }
}

#[test]
fn the_first_wrong_byte_is_named() {
    for (text, at) in [
        ("{", 1),
        ("{}}", 2),
        ("{} {}", 2),
        ("{a:1}", 1),
        ("{'a':1}", 1),
        (r#"{"a"}"#, 4),
        (r#"{"a":}"#, 5),
        (r#"{"a":1,}"#, 7),
        (r#"{"a":1 "b":2}"#, 7),
        (r#"{"a":[1,]}"#, 8),
        (r#"{"a":01}"#, 6),
        (r#"{"a":1.}"#, 7),
        (r#"{"a":.5}"#, 5),
        (r#"{"a":+1}"#, 5),
        (r#"{"a":1e}"#, 7),
        (r#"{"a":NaN}"#, 5),
        (r#"{"a":nul}"#, 8),
        (r#"{"a":"\x"}"#, 7),
        (r#"{"a":"\u12g4"}"#, 8),
        (r#"{"a":"\ud800"}"#, 12),
        (r#"{"a":"\ud800A"}"#, 12),
        (r#"{"a":"\ud800\ud800"}"#, 6),
        (r#"{"a":"\udc00"}"#, 12),
        ("{\"a\":\"\n\"}", 6),
        ("{\"a\":\"\0\"}", 6),
        (r#"{"a":"b"#, 7),
        (r#"{"a":1/**/}"#, 6),
    ] {
        assert_eq!(JsonObject::parse(text), Err(InvalidJson::Syntax { at }), "{text:?}");
    }
}

#[test]
fn a_repeated_member_is_rejected_however_it_is_written() {
    for (text, at) in [
        (r#"{"a":1,"a":1}"#, 7),
        (r#"{"a":1,"\u0061":1}"#, 7),
        (r#"{"":1,"":1}"#, 6),
        (r#"{"/":1,"\/":1}"#, 7),
        (r#"{"x":[{"é":1,"b":2,"\u00E9":3}]}"#, 20),
        (r#"{"🛰":1,"\ud83d\uDEF0":3}"#, 10),
    ] {
        assert_eq!(
            JsonObject::parse(text),
            Err(InvalidJson::RepeatedMember { at }),
            "{text}"
        );
    }
}

#[test]
fn the_null_character_is_rejected_in_names_and_values() {
    for (text, at) in [(r#"{"a":"b\u0000"}"#, 7), (r#"{"\u0000":1}"#, 2)] {
        assert_eq!(JsonObject::parse(text), Err(InvalidJson::NullCharacter { at }));
    }
    assert!(JsonObject::parse(r#"{"a":"\\u0000"}"#).is_ok());
}

#[test]
fn depth_and_length_are_bounded() {
    assert!(JsonObject::parse(&nested(32)).is_ok());
    assert_eq!(JsonObject::parse(&nested(33)), Err(InvalidJson::TooDeep { max: 32 }));
    let arrays = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(JsonObject::parse(&arrays(31)).is_ok());
    assert_eq!(JsonObject::parse(&arrays(32)), Err(InvalidJson::TooDeep { max: 32 }));
    // However deep, the stack is not.
    assert!(JsonObject::parse(&arrays(30_000)).is_err());

    let of = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8));
    assert!(JsonObject::parse(&format!("  {}  ", of(65_536))).is_ok());
    assert_eq!(
        JsonObject::parse(&of(65_537)),
        Err(InvalidJson::TooLarge { max: 65_536 })
    );
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[^\0]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[^\0]{0,3}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Pieces of JSON, in any order.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\"", "\\", "\\u0061", "\\ud83d", "\\udef0", "true", "null",
        "0", "1", "-", ".", "e", "+", " ", "\n", "x", "é",
    ]);
    prop::collection::vec(scrap, 0..12).prop_map(|scraps| format!("{{{}", scraps.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn every_written_object_is_accepted(members in prop::collection::btree_map("[^\0]{0,3}", values(), 0..5), pretty: bool) {
        let object = Value::Object(members.into_iter().collect());
        let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
        let text = text.expect("JSON");
        let parsed = JsonObject::parse(&text).map(String::from);
        prop_assert_eq!(parsed, Ok(text));
    }

    /// What is accepted is JSON for another parser; what is rejected for its syntax is not.
    #[test]
    fn another_parser_agrees(text in scraps()) {
        let other: Result<Value, _> = serde_json::from_str(&text);
        match JsonObject::parse(&text) {
            // Numbers beyond those of that parser are JSON.
            Ok(_) => prop_assert!(other.is_ok() || text.contains('e'), "{other:?}"),
            Err(InvalidJson::Syntax { .. }) => prop_assert!(other.is_err(), "{other:?}"),
            Err(InvalidJson::RepeatedMember { .. }) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn any_text_is_accepted_or_rejected(text in ".{0,40}") {
        let _ = JsonObject::parse(&format!("{{\"{text}"));
    }
}
