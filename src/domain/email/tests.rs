use proptest::prelude::*;

use super::*;

/// An address of this many bytes: the longest local part there can be, and labels no longer than a label may be.
fn address_of(bytes: usize) -> String {
    let label = "d".repeat(60);
    let mut address = format!("{}@{label}.{label}.{label}.", "l".repeat(64));
    let rest = bytes - address.len();
    address.extend(std::iter::repeat_n('d', rest));
    assert_eq!(address.len(), bytes);
    address
}

#[test]
fn addresses_are_accepted_and_stored_with_ascii_letters_in_lower_case() {
    let longest = address_of(254);
    let cases = [
        ("ann@example.com", "ann@example.com"),
        ("Ann.Smith@Example.COM", "ann.smith@example.com"),
        (" \t\r\nann@example.com\u{a0}\n", "ann@example.com"),
        ("ann+devices@sub.example.co.uk", "ann+devices@sub.example.co.uk"),
        ("o'hara_{x}|y@example.com", "o'hara_{x}|y@example.com"),
        ("ann@1.2", "ann@1.2"),
        (r#""ann@home"@example.com"#, r#""ann@home"@example.com"#),
        // Only ASCII letters have one lower case that everybody agrees on.
        ("JÖRG@example.com", "jÖrg@example.com"),
        ("jörg@münchen.de", "jörg@münchen.de"),
        ("\u{212a}@example.com", "\u{212a}@example.com"),
        (&longest, &longest),
    ];
    for (text, stored) in cases {
        let email = Email::parse(text).unwrap_or_else(|_| panic!("{text:?} is refused"));
        assert_eq!(email.as_str(), stored);
        assert_eq!(email.to_string(), stored);
    }
}

#[test]
fn anything_else_is_refused() {
    let (too_long, padded) = (address_of(255), format!("{}@example.com", "l".repeat(65)));
    let cases = [
        "",
        " ",
        "ann",
        "@example.com",
        "ann@",
        "ann@@example.com",
        "ann@home@example.com",
        // No dot in the domain, or one too many.
        "ann@localhost",
        "ann@example.com.",
        "ann@.example.com",
        "ann@example..com",
        ".ann@example.com",
        "ann.@example.com",
        "ann..smith@example.com",
        "ann@-example.com",
        // A literal as the domain.
        "ann@[192.0.2.1]",
        "ann@[IPv6:2001:db8::1]",
        // A display name.
        "Ann <ann@example.com>",
        "\"Ann\" <ann@example.com>",
        "<ann@example.com>",
        " <ann@example.com>",
        "ann@example.com <ann@example.com>",
        "mailto:ann@example.com",
        // White space and control characters inside.
        "ann smith@example.com",
        "ann@exam ple.com",
        "ann\0@example.com",
        "ann@example.com\0",
        "\0ann@example.com",
        "ann@exam\0ple.com",
        "\"ann\0\"@example.com",
        "\"ann\t\"@example.com",
        "ann\n@example.com",
        "ann\u{85}@example.com",
        "ann\u{7f}@example.com",
        "\"\"@example.com",
        "\"@example.com",
        "ann@example.com,bob@example.com",
        &too_long,
        &padded,
    ];
    for text in cases {
        assert_eq!(Email::parse(text), Err(NotAnEmail), "{text:?}");
    }
}

#[test]
fn white_space_around_an_address_does_not_count_as_length() {
    let longest = address_of(254);
    let email = Email::parse(&format!("  {longest}  ")).expect("an address");
    assert_eq!(email.as_str(), longest);
}

#[test]
fn the_local_part_ends_at_the_last_at() {
    let cases = [
        ("ann@example.com", "ann"),
        ("Ann+x@example.com", "ann+x"),
        (r#""ann@home"@example.com"#, r#""ann@home""#),
    ];
    for (text, local_part) in cases {
        assert_eq!(Email::parse(text).expect("an address").local_part(), local_part);
    }
}

proptest! {
    #[test]
    fn what_was_read_reads_back_as_itself(
        text in r#"\s{0,2}("[ -~]{1,5}"|[A-Za-zÄß.+'-]{1,8})@[A-Za-z0-9Ä-]{1,6}(\.[A-Za-z0-9ß-]{1,6}){0,3}\s{0,2}"#,
    ) {
        if let Ok(email) = Email::parse(&text) {
            prop_assert_eq!(Email::parse(email.as_str()), Ok(email.clone()));
            prop_assert!(!email.as_str().contains(|char: char| char.is_ascii_uppercase() || char.is_control()));
            prop_assert!(!email.local_part().is_empty());
        }
    }

    #[test]
    fn no_text_makes_it_panic(any: String, around_at in r#"[\PC\s"<>\[\]\\@]{0,8}@[\PC"<>\[\].@]{0,8}"#) {
        for text in [any, around_at] {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(Email::parse(email.as_str()), Ok(email));
            }
        }
    }
}
