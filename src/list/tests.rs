use std::{cell::Cell, rc::Rc};

use super::*;

const COLUMNS: [Column; 2] = [Column::required("identifier"), Column::required("type")];
const FIRST_LINE: &str = "identifier,type\n";

/// The rows of a list with a right header: "identifier|type", or the line and the problem of what is refused.
fn rows(list: impl AsRef<[u8]>) -> Vec<String> {
    let list = [FIRST_LINE.as_bytes(), list.as_ref()].concat();
    read_rows(&list, COLUMNS).expect("a readable list")
}

/// As [`rows`], of a whole list.
fn read_rows<const COUNT: usize>(list: &[u8], columns: [Column; COUNT]) -> Result<Vec<String>, ListError> {
    let mut rows = Rows::new(list, columns)?;
    let mut read = Vec::new();
    while let Some(row) = rows.next()? {
        read.push(match row.fields() {
            Ok(fields) => fields.map(|field| text(field).expect("text").trim()).join("|"),
            Err(problem) => format!("line {}: {problem}", row.line),
        });
    }
    Ok(read)
}

/// Why a list cannot be read.
fn error(list: &str) -> String {
    read_rows(list.as_bytes(), COLUMNS).expect_err(list).to_string()
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
        "Identifier, TYPE \n",
        "\n\r\nidentifier,type\n",
    ];
    for header in headers {
        let list = format!("{header}\nSN-1,sensor\n");
        let read = read_rows(list.as_bytes(), COLUMNS);
        assert_eq!(read.expect(header), ["SN-1|sensor"], "{header:?}");
    }
}

#[test]
fn spreadsheets_write_other_separators() {
    for list in [
        "identifier;type\nSN,1;sensor\n",
        "\u{feff}type;identifier\r\nsensor;SN,1\r\n",
        "identifier\ttype\nSN,1\tsensor\n",
        "identifier;type;price, each\n\"SN,1\";sensor;1,50\n",
    ] {
        let read = read_rows(list.as_bytes(), COLUMNS);
        assert_eq!(read.expect(list), ["SN,1|sensor"], "{list:?}");
    }
}

#[test]
fn columns_come_in_any_order_and_others_are_ignored() {
    let list = "note,type,\"the owner\",identifier,,\n,sensor,ann,SN-1,,\n\"a,b\",meter,,SN-2,,\nSN-3,sensor\n";
    let expected = ["SN-1|sensor", "SN-2|meter", "line 4: expected 6 fields, found 2"];
    assert_eq!(read_rows(list.as_bytes(), COLUMNS).expect("a list"), expected);
    let rows = Rows::new(list.as_bytes(), COLUMNS).expect("a header");
    assert_eq!(rows.ignored_columns(), ["note", "the owner"]);
    let rows = Rows::new(FIRST_LINE.as_bytes(), COLUMNS).expect("a header");
    assert_eq!(rows.ignored_columns(), [""; 0]);
}

#[test]
fn a_column_may_be_optional() {
    let columns = [Column::required("a"), Column::required("b"), Column::optional("c")];
    for (list, has_it, expected) in [("a,b\n1,2\n", false, "1|2|"), ("c,b,a\n3,2,1\n", true, "1|2|3")] {
        assert_eq!(read_rows(list.as_bytes(), columns).expect(list), [expected]);
        let rows = Rows::new(list.as_bytes(), columns).expect(list);
        assert_eq!(rows.has(2), has_it, "{list}");
    }
}

#[test]
fn a_header_that_does_not_fit_is_explained() {
    let must = "the first line must name the columns identifier and type; it lacks";
    for (list, missing) in [
        ("", "identifier and type"),
        ("\n", "identifier and type"),
        ("\u{feff}", "identifier and type"),
        ("identifier\n", "type"),
        ("identifier,typ\n", "type"),
        ("identifier;typ\n", "type"),
        ("identifier|type\n", "identifier and type"),
        ("type,name\n", "identifier"),
        ("SN-1,sensor\n", "identifier and type"),
        ("\0", "identifier and type"),
    ] {
        assert_eq!(error(list), format!("{must} {missing}"), "{list:?}");
    }
    assert_eq!(
        error("identifier,type,Type\nSN-1,sensor,meter\n"),
        "the first line names the column type twice"
    );
}

#[test]
fn text_of_another_encoding_is_named() {
    for first in [FIRST_LINE, "SN-1\n"] {
        let units: Vec<u16> = format!("\u{feff}{first}").encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for list in [little, big] {
            let refused = Rows::new(list.as_slice(), COLUMNS).err();
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
    assert_eq!(error, "line 1 is longer than 64 KiB");
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
    for (start, line) in [
        ("identifier,type\nSN-1,sensor\n\"", 3),
        ("\"", 1),
        ("identifier,type\n\"SN\n1\",sensor\n", 4),
    ] {
        let given = Rc::new(Cell::new(0));
        let list = Pieces {
            inner: start.as_bytes().chain(endless()),
            size: usize::MAX,
            given: Rc::clone(&given),
        };
        let error = match Rows::new(list, COLUMNS) {
            Err(error) => error,
            Ok(mut rows) => {
                assert!(matches!(rows.next(), Ok(Some(_))), "{start:?}");
                rows.next().expect_err("an endless row")
            }
        };
        assert_eq!(
            error.to_string(),
            format!("the row that begins on line {line} is longer than 64 KiB; is a quote not closed?"),
            "{start:?}"
        );
        assert!(given.get() <= 2 * MAX_ROW, "{} bytes were read", given.get());
    }
}

#[test]
fn a_quote_that_is_not_closed_has_its_line() {
    for (rows, line) in [
        ("SN-1,sensor\n\"SN-2,sensor\nSN-3,sensor\n", 3),
        ("SN-1,sensor\n\"SN-2,sensor\nSN-3,sensor", 3),
        ("SN-1,\"sensor\nSN-2,sensor\n", 2),
        ("SN-1,\"sensor", 2),
        ("\"SN\n1\",sensor\n\n\r\n\"SN-2,sensor\n\n", 6),
        ("SN-1,\"sensor\"\"\n", 2),
        ("\"", 2),
    ] {
        let expected = format!("the row that begins on line {line} has a quote that is not closed");
        assert_eq!(error(&format!("{FIRST_LINE}{rows}")), expected, "{rows:?}");
    }
    assert_eq!(
        error("\nidentifier,type,\"note\nSN-1,sensor,\n"),
        "the row that begins on line 2 has a quote that is not closed"
    );
    // A quote within a field is text.
    assert_eq!(rows("SN-1\",sensor\nSN\"2,a \"b"), ["SN-1\"|sensor", "SN\"2|a \"b"]);
    assert_eq!(rows("\"SN-1\n\",sensor"), ["SN-1|sensor"]);
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
        let mut rows = Rows::new(list, COLUMNS).expect("a header");
        for _ in 0..count {
            assert!(matches!(rows.next(), Ok(Some(_))));
        }
        assert!(matches!(rows.next(), Ok(None)));
        assert!(given.get() > 5 * MAX_ROW);
    }
}
