//! Errors of TLS handshakes with a server, in words that say what to do.

use std::time::{Duration, UNIX_EPOCH};

use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, Error, InvalidMessage, OtherError,
    pki_types::{ServerName, UnixTime},
};

/// Explains a failed handshake with a server; `None` for rare errors, whose own text has to do.
pub(super) fn explain(error: &rustls::Error) -> Option<String> {
    match error {
        Error::InvalidCertificate(error) => explain_certificate(error),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Some("the server does not speak TLS at this address".into())
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            Some("the server requires a client certificate".into())
        }
        Error::AlertReceived(
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        ) => Some(format!("the server rejected the client certificate ({error})")),
        _ => None,
    }
}

fn explain_certificate(error: &CertificateError) -> Option<String> {
    Some(match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the server's certificate expired at {}; renew it", time(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the server's certificate is not valid before {}; check the certificate, and the clocks of both machines",
            time(*not_before)
        ),
        CertificateError::UnknownIssuer => {
            "the server's certificate is not signed by a trusted authority; name the file of its CA certificate (--ca, \
             --upstream-ca, --webhook-ca, or sslrootcert in a database URL)"
                .into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => names(expected, presented),
        CertificateError::BadSignature => {
            "the server's certificate is not signed by the trusted CA, but by another one of the same name".into()
        }
        CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not for servers: its extended key usage lacks serverAuth; issue a server \
             certificate"
                .into()
        }
        CertificateError::Other(OtherError(error)) => match error.downcast_ref::<webpki::Error>()? {
            webpki::Error::CaUsedAsEndEntity => {
                "the server uses a CA certificate as its own, as many self-signed certificates are; issue one with \
                 basicConstraints CA:FALSE, or, for a database on a trusted network, turn TLS off with sslmode=disable \
                 in its URL"
                    .into()
            }
            webpki::Error::UnsupportedCertVersion => {
                "the server's certificate has the old format X.509 version 1; issue one of version 3, or, for a \
                 database on a trusted network, turn TLS off with sslmode=disable in its URL"
                    .into()
            }
            _ => return None,
        },
        _ => return None,
    })
}

fn time(time: UnixTime) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.as_secs())).to_string()
}

fn names(expected: &ServerName<'_>, presented: &[String]) -> String {
    let expected = expected.to_str();
    if presented.is_empty() {
        return format!(
            "the server's certificate is not valid for {expected}: it has no subject alternative name; issue one with \
             that name"
        );
    }
    // The library gives them as `DnsName("localhost")`.
    let name = |name: &String| match name.split_once('(') {
        Some((_kind, name)) => name.trim_end_matches(')').trim_matches('"').to_owned(),
        None => name.clone(),
    };
    let presented: Vec<String> = presented.iter().map(name).collect();
    format!(
        "the server's certificate is not valid for {expected}, but for {}; connect by that name, or issue another \
         certificate",
        presented.join(", ")
    )
}
