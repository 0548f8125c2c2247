//! Query strings: the parameters of a GET are the members of the message, read as strictly as the JSON of a body.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    fields::{Kind, Member},
    json::bounded,
    problem::Problem,
};
use crate::pb::parse_number;

/// Reads a message from a query string, which has the `required` parameter, and from `fixed` members, which are in the path.
pub(super) fn read<T: DeserializeOwned>(
    query: &str,
    parameters: &[Member],
    required: Option<&str>,
    fixed: impl IntoIterator<Item = (&'static str, String)>,
) -> Result<T, Problem> {
    let mut members = Map::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let name = decoded(name)?;
        let Some(parameter) = parameters.iter().find(|parameter| parameter.name == name) else {
            return Err(unknown(&name, parameters));
        };
        let value = decoded(value)?;
        if members
            .insert(parameter.name.to_owned(), json(parameter, &value)?)
            .is_some()
        {
            let sentence = format!("{} is repeated; send it once", parameter.name);
            return Err(Problem::invalid_field(sentence, parameter.name));
        }
    }
    if let Some(name) = required
        && members.get(name).is_none_or(|value| value == "")
    {
        return Err(Problem::invalid_field(format!("{name} is required"), name));
    }
    for (name, value) in fixed {
        members.insert(name.to_owned(), Value::String(value));
    }
    // Whatever the parameters allow is a message.
    serde_json::from_value(Value::Object(members)).map_err(|_| Problem::invalid_query("Invalid query string".into()))
}

/// The value of a parameter as JSON.
fn json(parameter: &Member, value: &str) -> Result<Value, Problem> {
    let (json, expected) = match parameter.kind {
        Kind::Boolean => (value.parse::<bool>().ok().map(Value::from), "true or false"),
        Kind::Integer => (value.parse::<i32>().ok().map(Value::from), "an integer"),
        Kind::Revision => (
            parse_number(value).map(Value::from),
            "a number of 0 to 18446744073709551615",
        ),
        _ => (Some(Value::from(value)), "a text"),
    };
    json.ok_or_else(|| {
        let sentence = format!("{} must be {expected}", parameter.name);
        Problem::invalid_field(sentence, parameter.name)
    })
}

fn unknown(name: &str, parameters: &[Member]) -> Problem {
    let name = bounded(name);
    let sentence = if parameters.is_empty() {
        format!("{name} is not a parameter of this request; it has none")
    } else {
        let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name).collect();
        let names = names.join(", ");
        format!("{name} is not a parameter of this request; the parameters are {names}")
    };
    Problem::invalid_field(sentence, &name)
}

/// A name or a value as it was before it was encoded. Clients encode a space as `+` (forms) or as `%20`; a plus sign is `%2B`.
fn decoded(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'+' => b' ',
            b'%' => {
                let digits = (rest.next().and_then(digit), rest.next().and_then(digit));
                let (Some(high), Some(low)) = digits else {
                    return Err(Problem::invalid_query(
                        "The query string has a % without two hexadecimal digits; send % as %25".into(),
                    ));
                };
                high << 4 | low
            }
            byte => byte,
        };
        bytes.push(byte);
    }
    let text = String::from_utf8(bytes);
    text.map(Cow::Owned)
        .map_err(|_| Problem::invalid_query("The query string must be UTF-8, percent-encoded".into()))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARAMETERS: [Member; 4] = [
        member("identifier", Kind::String),
        member("unassigned", Kind::Boolean),
        member("pageSize", Kind::Integer),
        member("minRevision", Kind::Revision),
    ];

    const fn member(name: &'static str, kind: Kind) -> Member {
        Member {
            name,
            kind,
            is_list: false,
        }
    }

    fn parse(query: &str) -> Result<Value, String> {
        read(query, &PARAMETERS, None, []).map_err(|problem| problem.sentence().to_owned())
    }

    #[test]
    fn parameters_become_members() {
        let all = "identifier=SN%2D1&unassigned=true&pageSize=-7&minRevision=18446744073709551615";
        let expected = serde_json::json!({
            "identifier": "SN-1", "unassigned": true, "pageSize": -7, "minRevision": u64::MAX,
        });
        assert_eq!(parse(all), Ok(expected));
        for (query, identifier) in [
            ("identifier=", ""),
            ("identifier", ""),
            ("&identifier=a=b&", "a=b"),
            ("identifier=a+b%2Bc", "a b+c"),
            ("identifier=%2525", "%25"),
            ("identifier=%00%e2%82%AC", "\0€"),
        ] {
            assert_eq!(
                parse(query),
                Ok(serde_json::json!({ "identifier": identifier })),
                "{query}"
            );
        }
        assert_eq!(parse(""), Ok(serde_json::json!({})));
        let fixed: Value = read("", &PARAMETERS, None, [("id", "x".to_owned())]).expect("valid");
        assert_eq!(fixed, serde_json::json!({ "id": "x" }));
    }

    #[test]
    fn anything_else_is_an_error() {
        let parameters = "the parameters are identifier, unassigned, pageSize, minRevision";
        let digits = "The query string has a % without two hexadecimal digits; send % as %25";
        let number = "minRevision must be a number of 0 to 18446744073709551615";
        for (query, expected) in [
            ("x=1", format!("x is not a parameter of this request; {parameters}")),
            (
                "Identifier=1",
                format!("Identifier is not a parameter of this request; {parameters}"),
            ),
            (
                "identifier=1&identifier=1",
                "identifier is repeated; send it once".into(),
            ),
            ("unassigned=yes", "unassigned must be true or false".into()),
            ("unassigned=", "unassigned must be true or false".into()),
            ("pageSize=", "pageSize must be an integer".into()),
            ("pageSize=2147483648", "pageSize must be an integer".into()),
            ("pageSize=1.0", "pageSize must be an integer".into()),
            ("minRevision=-1", number.into()),
            ("minRevision=%2B1", number.into()),
            ("minRevision=18446744073709551616", number.into()),
            ("identifier=%", digits.into()),
            ("identifier=%4", digits.into()),
            ("identifier=%zz", digits.into()),
            ("identifier=%+1", digits.into()),
            (
                "identifier=%ff",
                "The query string must be UTF-8, percent-encoded".into(),
            ),
        ] {
            assert_eq!(parse(query), Err(expected), "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_decoded_once(text in ".{0,40}") {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(parse(&format!("identifier={encoded}")), Ok(serde_json::json!({ "identifier": text })));
        }
    }
}
