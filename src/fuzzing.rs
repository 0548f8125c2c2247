//! What the fuzz targets in `fuzz/` run. Each reads one kind of input and checks what holds for every input. They are not part of the
//! API.

use uuid::Uuid;

use crate::{
    config::fuzz_settings_file,
    domain::{
        api_key::ApiKeySecret,
        email::Email,
        id::OrganizationId,
        json_object::JsonObject,
        page::{ListQuery, PageFields, PageRequest},
    },
    gateway::fuzz_json,
    grpc::fuzz_message,
    list::{Column, Lines, Rows},
    pb::{AssignDevicesToOwnerRequest, BatchGetDeviceOwnersRequest, BulkUpdateDeviceMetadataRequest},
    server::fuzz_pem,
};

/// Reads an input, and panics if something does not hold.
pub type Target = fn(&[u8]);

/// The targets by name. Each has a corpus of the same name.
pub const TARGETS: [(&str, Target); 8] = [
    ("api_key", api_key),
    ("email", email),
    ("json_body", json_body),
    ("list", list),
    ("page_token", page_token),
    ("pem", fuzz_pem),
    ("proto_message", proto_message),
    ("settings_file", fuzz_settings_file),
];

fn api_key(input: &[u8]) {
    if let Some(key) = str::from_utf8(input).ok().and_then(ApiKeySecret::parse) {
        assert_eq!(key.reveal().as_bytes(), input);
        let hint = key.hint();
        assert_eq!((hint.start.chars().count(), hint.end.chars().count()), (8, 4));
    }
    if let Some(random) = input.first_chunk() {
        let key = ApiKeySecret::from_random(*random);
        assert_eq!(ApiKeySecret::parse(key.reveal()), Some(key));
    }
}

fn email(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(email) = Email::parse(text) {
        assert_eq!(Email::parse(email.as_str()), Ok(email.clone()), "parsed again");
        assert!(email.as_str().eq_ignore_ascii_case(text.trim()));
        assert!(!email.local_part().is_empty());
    }
}

fn json_body(input: &[u8]) {
    fuzz_json(input);
    if let Some(object) = str::from_utf8(input).ok().and_then(|text| JsonObject::parse(text).ok()) {
        assert_eq!(JsonObject::parse(object.as_str()), Ok(object.clone()), "parsed again");
    }
}

fn list(input: &[u8]) {
    let end = input.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64 + 1;
    let check = |last: &mut u64, line| {
        assert!(*last < line && line <= end, "line {line} after {last} of {end}");
        *last = line;
    };
    let mut last = 0;
    let columns = [Column::required("a"), Column::required("b"), Column::optional("c")];
    if let Ok(mut rows) = Rows::new(input, columns) {
        while let Ok(Some(row)) = rows.next() {
            check(&mut last, row.line);
            let _ = row.fields();
        }
    }
    let (mut last, mut lines) = (0, Lines::new(input));
    while let Ok(Some((line, text))) = lines.next() {
        assert!(!text.trim_ascii().is_empty());
        check(&mut last, line);
    }
}

fn page_token(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let parse = |token: &str| {
        let fields = PageFields {
            token: token.to_owned(),
            ..PageFields::default()
        };
        PageRequest::<String>::parse(
            &fields,
            1,
            ListQuery::new("ListDevices", OrganizationId::from_uuid(Uuid::nil())),
        )
    };
    if let Ok(page) = parse(text) {
        let again = page.after().map(|last| page.next_token(last, page.min_revision()));
        assert_eq!(again.unwrap_or_default(), text, "a page has one token");
    }
    let token = parse("").map(|first| first.next_token(&text.to_owned(), 7.into()));
    let page = token.and_then(|token| parse(&token));
    assert!(page.is_ok_and(|page| page.after().is_some_and(|last| last == text)));
}

fn proto_message(input: &[u8]) {
    fuzz_message::<AssignDevicesToOwnerRequest>(input, 2, |message| message.device_identifiers.len());
    fuzz_message::<BatchGetDeviceOwnersRequest>(input, 1, |message| message.device_identifiers.len());
    fuzz_message::<BulkUpdateDeviceMetadataRequest>(input, 1, |message| message.devices.len());
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_corpora_pass() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in TARGETS {
            let inputs = fs::read_dir(corpora.join(name)).expect("a corpus");
            let mut count = 0;
            for input in inputs {
                target(&fs::read(input.expect("a file").path()).expect("an input"));
                count += 1;
            }
            assert!(count > 1, "{name} has {count} inputs");
        }
    }
}
