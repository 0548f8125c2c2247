use super::*;

const FIRST_LINE: &str = "identifier,type\n";

/// The rows of a list with a right header: "identifier|type", or the line and the problem of what is refused.
fn rows(list: impl AsRef<[u8]>) -> Vec<String> {
    let list = [FIRST_LINE.as_bytes(), list.as_ref()].concat();
    let mut rows = Rows::new(list.as_slice()).expect("a header");
    let mut read = Vec::new();
    while let Some(row) = rows.next().expect("a readable list") {
        read.push(match row {
            Ok((identifier, device_type)) => format!("{identifier}|{device_type}"),
            Err(RefusedRow { line, problem }) => format!("line {line}: {problem}"),
        });
    }
    read
}

/// What gives its bytes piece by piece, and counts them.
struct Pieces<R> {
    inner: R,
    size: usize,
    given: Rc<Cell<usize>>,
}

impl<R: Read> Read for Pieces<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.size.min(buffer.len());
        let count = self.inner.read(&mut buffer[..size])?;
        self.given.set(self.given.get() + count);
        Ok(count)
    }
}

#[test]
fn a_list_begins_with_its_header() {
    let headers = [
        "identifier,type",
        "identifier,type\n",
        "identifier,type\r\n",
        "\u{feff}identifier,type\n",
        "\"identifier\",\"type\"\n",
    ];
    for header in headers {
        let list = format!("{header}\nSN-1,sensor\n");
        let mut rows = Rows::new(list.as_bytes()).unwrap_or_else(|error| panic!("{header:?}: {error}"));
        assert!(matches!(rows.next(), Ok(Some(Ok(_)))), "{header:?}");
        assert!(matches!(rows.next(), Ok(None)), "{header:?}");
    }
}

#[test]
fn what_begins_otherwise_is_no_list() {
    let lists = [
        "",
        "\n",
        "\u{feff}",
        "identifier\n",
        "identifier,type,owner\n",
        "type,identifier\n",
        "Identifier,Type\n",
        "identifier, type\n",
        "identifier;type\n",
        "SN-1,sensor\n",
        "\0",
    ];
    for list in lists {
        let refused = Rows::new(list.as_bytes()).err();
        assert!(matches!(refused, Some(ImportError::Header)), "{list:?}: {refused:?}");
    }
}

#[test]
fn a_list_may_end_after_its_header() {
    assert_eq!(rows(""), [""; 0]);
}

#[test]
fn a_quoted_field_may_hold_what_separates_fields_and_rows() {
    let list = "\"SN,1\",sensor\n\"SN\"\"2\"\"\",\"a \"\"good\"\" one\"\n\" SN-3 \n\",sensor\n";
    assert_eq!(rows(list), ["SN,1|sensor", "SN\"2\"|a \"good\" one", "SN-3|sensor"]);
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

#[test]
fn a_line_number_counts_lines_and_not_rows() {
    let list = "\"SN\n\n1\",sensor\nwrong\n\"also\nwrong\"\nwrong\n";
    assert_eq!(
        rows(list)[1..],
        [
            "line 5: expected 2 fields, found 1",
            "line 6: expected 2 fields, found 1",
            "line 8: expected 2 fields, found 1",
        ]
    );
}

#[test]
fn a_line_number_counts_blank_lines_and_both_line_ends() {
    assert_eq!(
        rows("SN-1,sensor\r\nwrong\r\n\r\nwrong\r\n\"also\r\nwrong\"\r\nwrong")[1..],
        [3, 5, 6, 8].map(|line| format!("line {line}: expected 2 fields, found 1"))
    );
    assert_eq!(
        rows("SN-1,sensor\n\n\nwrong\n\n\"\nwrong\n\n\"\nwrong")[1..],
        [5, 7, 11].map(|line| format!("line {line}: expected 2 fields, found 1"))
    );
}

#[test]
fn lines_may_be_blank_and_may_end_as_on_windows() {
    assert_eq!(
        rows("\nSN-1,sensor\n\n\nSN-2,sensor\n\n"),
        ["SN-1|sensor", "SN-2|sensor"]
    );
    assert_eq!(
        rows("SN-1,sensor\r\n\r\n\"SN-2\",\"sensor\"\r\n"),
        ["SN-1|sensor", "SN-2|sensor"]
    );
    assert_eq!(rows("SN-1,sensor\nSN-2,sensor"), ["SN-1|sensor", "SN-2|sensor"]);
}

#[test]
fn a_quote_that_is_left_open_in_a_short_list_is_a_wrong_row() {
    assert_eq!(
        rows("SN-1,sensor\n\"SN-2,sensor\nSN-3,sensor\n"),
        ["SN-1|sensor", "line 3: expected 2 fields, found 1",]
    );
    assert_eq!(
        rows("SN-1,\"sensor\nSN-2,sensor\n"),
        ["line 2: type must not contain control characters"]
    );
}

#[test]
fn a_quote_that_is_left_open_does_not_take_the_rest_of_the_list() {
    // Far more than may be in memory at once; of which only the first few are asked for.
    let endless = || io::repeat(b'x').take(64 << 20);
    for start in [
        "identifier,type\nSN-1,sensor\n\"",
        "\"",
        "identifier,type\nSN-1,sensor\n",
    ] {
        let given = Rc::new(Cell::new(0));
        let list = Pieces {
            inner: start.as_bytes().chain(endless()),
            size: usize::MAX,
            given: Rc::clone(&given),
        };
        let error = match Rows::new(list) {
            Err(ImportError::Read(error)) => error,
            Err(error) => panic!("{start:?}: {error}"),
            Ok(mut rows) => {
                assert!(matches!(rows.next(), Ok(Some(Ok(_)))), "{start:?}");
                rows.next().expect_err("an endless row")
            }
        };
        assert_eq!(
            error.to_string(),
            "a row is longer than 64 KiB; is a quote left open?",
            "{start:?}"
        );
        assert!(given.get() <= 2 * MAX_ROW, "{} bytes were read", given.get());
    }
}

#[test]
fn a_long_list_of_short_rows_is_read_to_its_end() {
    let count = 20_000;
    let list = FIRST_LINE.to_owned() + "SN-000000001,a type\n".repeat(count).as_str();
    for size in [7, usize::MAX] {
        let given = Rc::new(Cell::new(0));
        let list = Pieces {
            inner: list.as_bytes(),
            size,
            given: Rc::clone(&given),
        };
        let mut rows = Rows::new(list).expect("a header");
        for _ in 0..count {
            assert!(matches!(rows.next(), Ok(Some(Ok(_)))));
        }
        assert!(matches!(rows.next(), Ok(None)));
        assert!(given.get() > 5 * MAX_ROW);
    }
}
