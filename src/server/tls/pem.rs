//! Reads certificates and keys from PEM files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};
use tokio_rustls::rustls::{
    self, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_cert::{Certificate, der::Decode};

use super::{IdentityFiles, provider};

/// Why the files cannot be used for TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read ({error})", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        error: String,
    },
    /// A file without a certificate.
    #[error("{} has no certificate in PEM format", .0.display())]
    NoCertificate(PathBuf),
    /// A file with an invalid certificate.
    #[error("{} has an invalid certificate", .0.display())]
    BrokenCertificate(PathBuf),
    /// A file without a key.
    #[error("{} has no private key in PEM format, or only an encrypted one", .0.display())]
    NoKey(PathBuf),
    /// A key that cannot be used.
    #[error(
        "the private key in {} is invalid or of an unsupported kind; use RSA with at least 2048 bits, ECDSA on P-256 or \
         P-384, or Ed25519",
        .0.display()
    )]
    BrokenKey(PathBuf),
    /// The key of another certificate.
    #[error(
        "the private key in {} does not belong to the first certificate in {}; use the key and the certificate that were made together",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The certificate has expired.
    #[error("the certificate in {} expired at {not_after}; renew it", file.display())]
    Expired {
        /// The file.
        file: PathBuf,
        /// The end of its validity.
        not_after: String,
    },
    /// The certificate is not valid yet.
    #[error("the certificate in {} is not valid before {not_before}; check the certificate and the clock", file.display())]
    NotYetValid {
        /// The file.
        file: PathBuf,
        /// The start of its validity.
        not_before: String,
    },
    /// Any other error of the library.
    #[error("TLS cannot be set up: {0}")]
    Unusable(String),
}

/// When a certificate expires.
#[derive(Debug, Clone)]
pub(super) struct Expiry {
    /// The time, for people.
    pub(super) at: String,
    /// The time, since 1970.
    pub(super) since_1970: Duration,
    /// When it should have been renewed, since 1970.
    renew_by: Duration,
}

impl Expiry {
    fn of(certificate: &Certificate) -> Self {
        let validity = certificate.tbs_certificate().validity();
        let (begin, end) = (
            validity.not_before.to_unix_duration(),
            validity.not_after.to_unix_duration(),
        );
        let renew_before = (end.saturating_sub(begin) / 10).min(RENEW_BEFORE);
        Self {
            at: validity.not_after.to_string(),
            since_1970: end,
            renew_by: end.saturating_sub(renew_before),
        }
    }

    pub(super) fn is_near(&self) -> bool {
        now() > self.renew_by
    }
}

/// How long before its end a certificate should have been renewed. For a short-lived one it is the last tenth of its life.
const RENEW_BEFORE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Reads files and keeps a digest of their content. Equal digests mean equal files.
pub(super) struct Files(Sha256);

impl Files {
    pub(super) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(super) fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    fn read(&mut self, file: &Path) -> Result<Vec<u8>, TlsError> {
        match fs::read(file) {
            Ok(content) => {
                self.0.update(content.len().to_le_bytes());
                self.0.update(&content);
                Ok(content)
            }
            Err(error) => {
                let error = error.to_string();
                self.0.update(&error);
                let file = file.to_owned();
                Err(TlsError::Unreadable { file, error })
            }
        }
    }

    /// A certificate that is valid now, with its key and its expiry.
    pub(super) fn identity(&mut self, files: &IdentityFiles) -> Result<(CertifiedKey, Expiry), TlsError> {
        // Both files are read before any check, so that a change of either changes the digest.
        let certificate = self.read(&files.certificate)?;
        let key = self.read(&files.key)?;
        identity(&certificate, &key, files)
    }

    /// The certificate authorities in a file, and the expiry of the one that expires first.
    pub(super) fn authorities(&mut self, file: &Path) -> Result<(Arc<RootCertStore>, Option<Expiry>), TlsError> {
        authorities(&self.read(file)?, file)
    }
}

fn certificates(content: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    match certificates {
        // Not its own text, which may quote the file.
        Err(_) => Err(TlsError::BrokenCertificate(file.to_owned())),
        Ok(certificates) if certificates.is_empty() => Err(TlsError::NoCertificate(file.to_owned())),
        Ok(certificates) => Ok(certificates),
    }
}

fn identity(certificate: &[u8], key: &[u8], files: &IdentityFiles) -> Result<(CertifiedKey, Expiry), TlsError> {
    let broken = || TlsError::BrokenCertificate(files.certificate.clone());
    let chain = certificates(certificate, &files.certificate)?;
    let own = chain.first().ok_or_else(broken)?;
    let own = Certificate::from_der(own).map_err(|_| broken())?;
    check_validity(&own, &files.certificate)?;
    let private_key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::NoKey(files.key.clone()))?;
    let identity = CertifiedKey::from_der(chain, private_key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        },
        rustls::Error::InvalidCertificate(_) => broken(),
        _ => TlsError::BrokenKey(files.key.clone()),
    })?;
    Ok((identity, Expiry::of(&own)))
}

fn authorities(content: &[u8], file: &Path) -> Result<(Arc<RootCertStore>, Option<Expiry>), TlsError> {
    let broken = || TlsError::BrokenCertificate(file.to_owned());
    let mut authorities = RootCertStore::empty();
    let mut first: Option<Expiry> = None;
    for certificate in certificates(content, file)? {
        // The metrics leave out what rustls accepts and this parser does not.
        if let Ok(parsed) = Certificate::from_der(&certificate) {
            let expiry = Expiry::of(&parsed);
            if first.as_ref().is_none_or(|first| expiry.since_1970 < first.since_1970) {
                first = Some(expiry);
            }
        }
        authorities.add(certificate).map_err(|_| broken())?;
    }
    Ok((Arc::new(authorities), first))
}

/// Reads one content as a certificate with its key, and as authorities. For the fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(content: &[u8]) {
    let files = IdentityFiles {
        certificate: "certificate.pem".into(),
        key: "key.pem".into(),
    };
    if identity(content, content, &files).is_ok() || authorities(content, &files.certificate).is_ok() {
        assert!(certificates(content, &files.certificate).is_ok_and(|found| !found.is_empty()));
    }
}

fn check_validity(certificate: &Certificate, file: &Path) -> Result<(), TlsError> {
    let validity = certificate.tbs_certificate().validity();
    let (begin, end) = (validity.not_before, validity.not_after);
    let file = file.to_owned();
    if now() > end.to_unix_duration() {
        let not_after = end.to_string();
        return Err(TlsError::Expired { file, not_after });
    }
    if now() < begin.to_unix_duration() {
        let not_before = begin.to_string();
        return Err(TlsError::NotYetValid { file, not_before });
    }
    Ok(())
}

/// The time since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
