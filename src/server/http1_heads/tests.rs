use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// A request, in parts. The flag says whether the lines of a part must end with CR LF.
type Request = Vec<(Vec<u8>, bool)>;

/// A field that does not describe the body, even if it looks similar.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z-]{1,20}: ?[ -~\t]{0,40}".prop_filter("describes the body", |line| {
            let line = line.to_lowercase();
            !line.starts_with("content-length:") && !line.starts_with("transfer-encoding:")
        }),
        Just("Content-Lengt: 3".to_owned()),
        Just("Content-Lengthy: 3".to_owned()),
        Just("x-content-length: 3".to_owned()),
        Just("Transfer-Encodin: chunked".to_owned()),
        Just("x: \r".to_owned()),
        Just("c:".to_owned()),
    ]
}

fn head(line: &str, fields: &[String], framing: &str, at: &Index) -> Vec<u8> {
    let mut fields = fields.to_vec();
    if !framing.is_empty() {
        fields.insert(at.index(fields.len() + 1), framing.to_owned());
    }
    let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{line}\r\n{lines}\r\n").into_bytes()
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..80),
        Just(b"\r\n\r\nGET / HTTP/1.1\nhost: a\n\n".to_vec()),
    ]
}

/// A valid request, with a body of each kind.
fn request() -> impl Strategy<Value = Request> {
    let line = "(\r\n){0,2}(GET|POST) /[a-z]{0,20} HTTP/1\\.1";
    let chunks = vec((body(), "(;[a-z]{1,5}(=[a-z]{1,5})?)?"), 0..4);
    let trailers = vec(field(), 0..3);
    (line, vec(field(), 0..6), any::<Index>(), 0..3, body(), chunks, trailers).prop_map(
        |(line, fields, at, kind, body, chunks, trailers)| match kind {
            0 => vec![(head(&line, &fields, "", &at), true)],
            1 => {
                let framing = format!("cOnTent-lEngth: \t0{} \t", body.len());
                vec![(head(&line, &fields, &framing, &at), true), (body, false)]
            }
            _ => {
                let framing = "Transfer-encoding: gzip, CHUNKED";
                let mut request = vec![(head(&line, &fields, framing, &at), true)];
                for (chunk, extension) in chunks.into_iter().filter(|(chunk, _)| !chunk.is_empty()) {
                    request.push((format!("0{:X}{extension}\r\n", chunk.len()).into_bytes(), true));
                    // After the data of a chunk, the library itself requires CR LF.
                    request.push(([chunk.as_slice(), b"\r\n"].concat(), false));
                }
                let last: String = trailers.iter().map(|field| format!("{field}\r\n")).collect();
                request.push((format!("00\r\n{last}\r\n").into_bytes(), true));
                request
            }
        },
    )
}

/// The index of the bare LF in `bytes` that is found if they arrive in these pieces.
fn bare_lf(bytes: &[u8], pieces: &[usize]) -> Option<usize> {
    let mut heads = Heads::default();
    let mut sizes = pieces.iter().cycle();
    let mut read = 0;
    while let Some(rest) = bytes.get(read..).filter(|rest| !rest.is_empty()) {
        let size = sizes.next().copied().unwrap_or(usize::MAX).min(rest.len());
        if let Some(index) = heads.bare_lf(&rest[..size]) {
            return Some(read + index);
        }
        read += size;
    }
    None
}

/// The bytes of `requests`, and for each line that must end with CR LF the indexes of its first byte and of the CR.
fn bytes_and_lines(requests: &[Request]) -> (Vec<u8>, Vec<(usize, usize)>) {
    let (mut bytes, mut lines) = (Vec::new(), Vec::new());
    for (part, has_lines) in requests.iter().flatten() {
        let mut begin = bytes.len();
        for (place, pair) in (bytes.len()..).zip(part.windows(2)) {
            if *has_lines && pair == b"\r\n" {
                lines.push((begin, place));
                begin = place + 2;
            }
        }
        bytes.extend(part);
    }
    (bytes, lines)
}

proptest! {
    #[test]
    fn valid_requests_pass_in_any_pieces(requests in vec(request(), 1..5), pieces in vec(1_usize..50, 1..5)) {
        let (bytes, _) = bytes_and_lines(&requests);
        prop_assert_eq!(bare_lf(&bytes, &pieces), None);
    }

    #[test]
    fn a_bare_lf_is_found_in_any_pieces(
        requests in vec(request(), 1..5),
        pieces in vec(1_usize..50, 1..5),
        at in any::<Index>(),
    ) {
        let (mut bytes, lines) = bytes_and_lines(&requests);
        let (begin, place) = lines[at.index(lines.len())];
        // Another CR before it would do instead.
        prop_assume!(place == begin || bytes[place - 1] != b'\r');
        bytes.remove(place);
        prop_assert_eq!(bare_lf(&bytes, &pieces), Some(place));
    }

    #[test]
    fn a_bare_lf_within_a_line_is_found_in_any_pieces(
        requests in vec(request(), 1..5),
        pieces in vec(1_usize..50, 1..5),
        at in any::<Index>(),
        into in any::<Index>(),
    ) {
        let (mut bytes, lines) = bytes_and_lines(&requests);
        let (begin, end) = lines[at.index(lines.len())];
        let place = begin + into.index(end - begin + 1);
        prop_assume!(place == begin || bytes[place - 1] != b'\r');
        bytes.insert(place, b'\n');
        prop_assert_eq!(bare_lf(&bytes, &pieces), Some(place));
    }

    #[test]
    fn pieces_make_no_difference(
        bytes in vec(prop_oneof![
            Just(b"GET / HTTP/1.1\r\n".to_vec()),
            Just(b"content-length: 5\r\n".to_vec()),
            Just(b"content-length: 99999999999999999999999\r\n".to_vec()),
            Just(b"transfer-encoding: chunked\r\n".to_vec()),
            Just(b"ffffffffffffffffff\r\n".to_vec()),
            Just(b"5\r\n".to_vec()),
            Just(b"0\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\n".to_vec()),
            vec(any::<u8>(), 0..10),
        ], 0..40),
        pieces in vec(1_usize..20, 1..5),
    ) {
        let bytes = bytes.concat();
        prop_assert_eq!(bare_lf(&bytes, &pieces), bare_lf(&bytes, &[usize::MAX]));
    }
}

#[test]
fn the_bytes_read_end_with_a_cr() {
    let mut bytes = [0; 16];
    let mut buffer = ReadBuf::new(&mut bytes);
    buffer.put_slice(b"GET / HTTP\nx: y");
    end_with_cr(&mut buffer, 10);
    assert_eq!(buffer.filled(), b"GET / HTTP\r");
}
