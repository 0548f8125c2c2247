use super::*;

#[test]
fn a_url_is_printed_without_its_secrets() {
    for (url, printed) in [
        ("postgres://user:s3cret@db:5432/devices", "postgres://db:5432/devices"),
        (
            "postgres://user:s3c@ret@db/devices?sslmode=require",
            "postgres://db/devices",
        ),
        (
            "postgres://db/devices?user=u&password=s3cret@tail",
            "postgres://db/devices",
        ),
        ("postgresql://db/devices", "postgresql://db/devices"),
        ("sqlite://devices.db?mode=rwc", "sqlite://devices.db"),
    ] {
        let url = DatabaseUrl::parse(url).expect(url);
        assert_eq!(url.to_string(), printed);
        assert_eq!(format!("{url:?}"), printed);
    }
}

#[test]
fn an_invalid_url_is_rejected_and_not_repeated() {
    for url in [
        "",
        "mysql://user:s3cret@db/devices",
        "postgres://user:s3cret@[/devices",
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite://",
        "sqlite://?mode=rwc",
        "sqlite://devices.db?mode=memory",
        "sqlite://devices.db?mode=s3cret",
    ] {
        let error = DatabaseUrl::parse(url).expect_err(url).to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
