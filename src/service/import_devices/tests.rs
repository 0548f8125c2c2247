use super::*;

const FIRST_LINE: &str = "identifier,type\n";

/// The rows of a list with a right header: "identifier|type", or the line and the problem of what is refused.
fn rows(list: impl AsRef<[u8]>) -> Vec<String> {
    let list = [FIRST_LINE.as_bytes(), list.as_ref()].concat();
    let mut rows = Rows::new(list.as_slice(), COLUMNS).expect("a header");
    let mut read = Vec::new();
    while let Some(row) = rows.next().expect("a readable list") {
        read.push(match device(&row) {
            Ok((identifier, device_type)) => format!("{identifier}|{device_type}"),
            Err(RejectedRow { line, problem }) => format!("line {line}: {problem}"),
        });
    }
    read
}

#[test]
fn a_list_may_end_after_its_header() {
    assert_eq!(rows(""), [""; 0]);
}

#[test]
fn a_row_that_breaks_a_rule_is_left_out_and_the_next_one_is_read() {
    let long = "ü".repeat(256);
    let list = format!("SN-1\nSN-1,sensor,ann\n,sensor\nSN-1,\n{long},sensor\nSN-1,{long}\nS\0N,sensor\nSN-2,sensor\n");
    assert_eq!(
        rows(list),
        [
            "line 2: expected 2 fields, found 1",
            "line 3: expected 2 fields, found 3",
            "line 4: identifier must not be empty",
            "line 5: type must not be empty",
            "line 6: identifier must be at most 255 characters",
            "line 7: type must be at most 100 characters",
            "line 8: identifier must not contain control characters",
            "SN-2|sensor",
        ]
    );
}

#[test]
fn a_row_that_is_not_utf_8_is_left_out() {
    let list = b"S\xffN,sensor\nSN-1,\xc3\nSN-\xc3\xbc,sensor\n";
    assert_eq!(
        rows(list),
        [
            "line 2: identifier must be UTF-8",
            "line 3: type must be UTF-8",
            "SN-ü|sensor",
        ]
    );
}
