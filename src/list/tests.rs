use std::{cell::Cell, rc::Rc};

use super::*;

const HEADER: [&[&str]; 1] = [&["identifier", "type"]];
const FIRST_LINE: &str = "identifier,type\n";

/// The rows of a list with a right header: "identifier|type", or the line and the problem of what is refused.
fn rows(list: impl AsRef<[u8]>) -> Vec<String> {
    let list = [FIRST_LINE.as_bytes(), list.as_ref()].concat();
    let (mut rows, _) = Rows::new(list.as_slice(), &HEADER).expect("a header");
    let mut read = Vec::new();
    while let Some(row) = rows.next().expect("a readable list") {
        read.push(match row.fields::<2>() {
            Ok(fields) => fields.map(|field| text(field).expect("text").trim()).join("|"),
            Err(problem) => format!("line {}: {problem}", row.line),
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
        let opened = Rows::new(list.as_bytes(), &HEADER);
        let (mut rows, _) = opened.unwrap_or_else(|error| panic!("{header:?}: {error}"));
        assert!(matches!(rows.next(), Ok(Some(_))), "{header:?}");
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
        let refused = Rows::new(list.as_bytes(), &HEADER).err();
        assert!(matches!(refused, Some(ListError::Header)), "{list:?}: {refused:?}");
    }
}

#[test]
fn one_of_several_headers_is_told() {
    let headers: [&[&str]; 2] = [&["a", "b"], &["a", "b", "c"]];
    for (list, expected) in [("a,b\n", 0), ("a,b,c\r\n", 1)] {
        let (_, header) = Rows::new(list.as_bytes(), &headers).expect("a header");
        assert_eq!(header, expected);
    }
}

#[test]
fn text_of_another_encoding_is_named() {
    for first in [FIRST_LINE, "SN-1\n"] {
        let units: Vec<u16> = format!("\u{feff}{first}").encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for list in [little, big] {
            let refused = Rows::new(list.as_slice(), &HEADER).err();
            assert!(matches!(refused, Some(ListError::Utf16)), "{refused:?}");
            let refused = Lines::new(list.as_slice()).next().map(|_| ()).err();
            assert!(matches!(refused, Some(ListError::Utf16)), "{refused:?}");
        }
    }
}

#[test]
fn a_list_of_lines_is_read_without_what_is_around_them() {
    let list = "\u{feff}SN-1\n\n  SN,2 \r\n \r\n\"SN-3\"";
    let mut lines = Lines::new(list.as_bytes());
    let mut read = Vec::new();
    while let Some((line, value)) = lines.next().expect("a readable list") {
        read.push((line, text(value).expect("text").to_owned()));
    }
    let expected = [(1, "SN-1"), (3, "SN,2"), (5, "\"SN-3\"")];
    assert_eq!(read, expected.map(|(line, value)| (line, value.to_owned())));
}

#[test]
fn a_line_without_end_does_not_take_all_memory() {
    let mut lines = Lines::new(io::repeat(b'x').take(64 << 20));
    let error = lines.next().expect_err("an endless line").to_string();
    assert_eq!(error, "The list cannot be read: a line is longer than 64 KiB");
}

#[test]
fn a_quoted_field_may_hold_what_separates_fields_and_rows() {
    let list = "\"SN,1\",sensor\n\"SN\"\"2\"\"\",\"a \"\"good\"\" one\"\n\" SN-3 \n\",sensor\n";
    assert_eq!(rows(list), ["SN,1|sensor", "SN\"2\"|a \"good\" one", "SN-3|sensor"]);
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
        let error = match Rows::new(list, &HEADER) {
            Err(error) => error,
            Ok((mut rows, _)) => {
                assert!(matches!(rows.next(), Ok(Some(_))), "{start:?}");
                rows.next().expect_err("an endless row")
            }
        };
        assert_eq!(
            error.to_string(),
            "The list cannot be read: a row is longer than 64 KiB; is a quote left open?",
            "{start:?}"
        );
        assert!(given.get() <= 2 * MAX_ROW, "{} bytes were read", given.get());
    }
}

#[test]
fn a_long_list_of_short_rows_is_read_to_its_end() {
    let count = 20_000;
    let list = FIRST_LINE.to_owned() + &"SN-000000001,a type\n".repeat(count);
    for size in [7, usize::MAX] {
        let given = Rc::new(Cell::new(0));
        let list = Pieces {
            inner: list.as_bytes(),
            size,
            given: Rc::clone(&given),
        };
        let (mut rows, _) = Rows::new(list, &HEADER).expect("a header");
        for _ in 0..count {
            assert!(matches!(rows.next(), Ok(Some(_))));
        }
        assert!(matches!(rows.next(), Ok(None)));
        assert!(given.get() > 5 * MAX_ROW);
    }
}
