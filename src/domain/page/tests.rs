use proptest::prelude::*;

use super::*;

fn query() -> ListQuery {
    ListQuery::new("ListDevices", Uuid::from_u128(1).into())
        .with("sensor")
        .with("")
}

fn request<P: Position>(token: &str, query: ListQuery) -> Result<PageRequest<P>, Error> {
    let fields = PageFields {
        token: token.to_owned(),
        ..PageFields::default()
    };
    PageRequest::parse(&fields, 10, query)
}

fn first<P: Position>(query: ListQuery) -> PageRequest<P> {
    request("", query).expect("a first page")
}

proptest! {
    #[test]
    fn a_token_gives_back_position_and_first_revision(
        last in ".{0,255}", id: u128, first_revision: u64, second_revision: u64,
    ) {
        let token = first::<String>(query()).next_token(&last, first_revision.into());
        let second = request::<String>(&token, query()).expect("a second page");
        prop_assert_eq!(second.after(), Some(&last));
        prop_assert_eq!(second.min_revision(), first_revision.into());
        let token = second.next_token(&last, second_revision.into());
        let third = request::<String>(&token, query()).expect("a third page");
        prop_assert_eq!(third.min_revision(), first_revision.into());

        let id = Uuid::from_u128(id);
        let token = first::<Uuid>(query()).next_token(&id, first_revision.into());
        let second = request::<Uuid>(&token, query()).expect("a second page");
        prop_assert_eq!(second.after(), Some(&id));
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    }

    #[test]
    fn a_damaged_token_is_invalid(last in "[a-z]{0,20}", index: prop::sample::Index, letter in "[A-Za-z0-9_=.-]") {
        let token = first::<String>(query()).next_token(&last, 7.into());
        let index = index.index(token.len());
        let mut damaged = token.clone();
        damaged.replace_range(index..=index, &letter);
        prop_assert_eq!(request::<String>(&damaged, query()).is_ok(), damaged == token);
        prop_assert!(request::<String>(&token[..index], query()).is_ok() == (index == 0));
        let longer = token + &letter;
        prop_assert!(request::<String>(&longer, query()).is_err());
    }

    #[test]
    fn any_text_is_read_without_panic(token in ".{1,80}") {
        prop_assert!(request::<Uuid>(&token, query()).is_err());
    }

    #[test]
    fn texts_before_the_end_of_a_prefix_are_those_that_begin_with_it(
        prefix in "[a-c\u{7f}\u{d7ff}\u{10ffff}]{1,3}", text in "[a-d\u{7f}\u{80}\u{d7ff}\u{e000}\u{10ffff}]{0,5}",
    ) {
        let is_before = end_of_prefix(&prefix).is_none_or(|end| text < end);
        prop_assert_eq!(text >= prefix && is_before, text.starts_with(&prefix));
    }
}

#[test]
fn another_query_does_not_accept_a_token() {
    let token = first::<String>(query()).next_token(&"SN-1".to_owned(), 7.into());
    let organization = |number| Uuid::from_u128(number).into();
    let others = [
        ListQuery::new("ListDevices", organization(2)).with("sensor").with(""),
        ListQuery::new("ListOwnerDevices", organization(1))
            .with("sensor")
            .with(""),
        ListQuery::new("ListDevices", organization(1)).with("senso").with("r"),
        ListQuery::new("ListDevices", organization(1)).with("").with("sensor"),
        ListQuery::new("ListDevices", organization(1)).with("sensor"),
        query().with(""),
    ];
    for other in others {
        assert!(matches!(request::<String>(&token, other), Err(Error::InvalidPageToken)));
    }
    assert!(request::<String>(&token, query()).is_ok());
    assert!(
        request::<Uuid>(&token, query()).is_err(),
        "the position of another list"
    );
}

#[test]
fn sizes_have_a_default_and_a_maximum() {
    for (size, expected) in [(0, 100), (1, 1), (1_000, 1_000), (1_001, 1_000), (i32::MAX, 1_000)] {
        assert_eq!(page_size(size, &mut Violations::default()), Some(expected));
    }
    let mut violations = Violations::default();
    assert_eq!(page_size(-1, &mut violations), None);
    assert_eq!(violations, Violations::one(Field::PageSize, FieldProblem::Negative));
}

#[test]
fn the_newer_minimum_counts() {
    let token = first::<String>(query()).next_token(&"SN-1".to_owned(), 7.into());
    for (min_revision, expected) in [(0, 7), (7, 7), (9, 9)] {
        let fields = PageFields {
            token: token.clone(),
            min_revision,
            ..PageFields::default()
        };
        let request = PageRequest::<String>::parse(&fields, 10, query()).expect("a page");
        assert_eq!(request.min_revision().number(), expected);
    }
}
