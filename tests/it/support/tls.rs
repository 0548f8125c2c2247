//! Certificates of test authorities, and TLS clients and servers.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, SigningKey,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ALL_VERSIONS, ClientConfig, ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        sign::{CertifiedKey, SingleCertAndKey},
    },
};

pub const HTTP_2: &[u8] = b"h2";
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM form.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, key());
        Self(issuer.expect("a certificate"))
    }

    /// Issues a certificate for localhost and 127.0.0.1, for servers and clients.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_as(name, |_params| {})
    }

    pub fn issue_as(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = params(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = key();
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }
}

fn params(name: &str) -> CertificateParams {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

impl Identity {
    /// A certificate that signs itself.
    pub fn self_signed(is_ca: IsCa) -> Self {
        let mut params = params("self-signed");
        params.is_ca = is_ca;
        let key = key();
        Self {
            certificate: params.self_signed(&key).expect("a certificate").pem(),
            key: key.serialize_pem(),
        }
    }

    /// The same certificate as X.509 version 1: without the version and the extensions, signed again by its own key.
    pub fn as_version_1(&self) -> CertificateDer<'static> {
        let der = self.der();
        let (certificate, _) = element(der.as_ref());
        let (signed, rest) = element(certificate.content);
        let (algorithm, _) = element(rest);
        let mut fields = Vec::new();
        let mut rest = signed.content;
        while !rest.is_empty() {
            let (field, after) = element(rest);
            // [0] is the version, [3] are the extensions.
            if !matches!(field.tag, 0xa0 | 0xa3) {
                fields.extend(field.whole);
            }
            rest = after;
        }
        let signed = sequence(0x30, &fields);
        let key = KeyPair::from_pem(&self.key).expect("a key");
        let signature = key.sign(&signed).expect("a signature");
        let signature = sequence(0x03, &[&[0], signature.as_slice()].concat());
        sequence(0x30, &[signed.as_slice(), algorithm.whole, &signature].concat()).into()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }
}

/// An element of DER.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// The element that `der` begins with, and what follows it.
fn element(der: &[u8]) -> (Element<'_>, &[u8]) {
    let (head, length) = match der[1] {
        length @ ..0x80 => (2, usize::from(length)),
        bytes => {
            let head = 2 + usize::from(bytes & 0x7f);
            let length = der[2..head]
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            (head, length)
        }
    };
    let (whole, rest) = der.split_at(head + length);
    let element = Element {
        tag: der[0],
        content: &whole[head..],
        whole,
    };
    (element, rest)
}

/// An element of DER.
fn sequence(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a small element");
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..0x80 => vec![tag, low],
        0x80..0x100 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head.as_slice(), content].concat()
}

/// A server that performs TLS handshakes, and nothing else.
pub struct HandshakeServer {
    pub port: u16,
    _tasks: JoinSet<()>,
}

impl HandshakeServer {
    /// With `is_postgres`, clients ask for TLS first, as those of PostgreSQL do.
    pub async fn start(certificate: CertificateDer<'static>, key: &str, is_postgres: bool) -> Self {
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let key = provider.key_provider.load_private_key(key).expect("a key");
        // Unlike the usual way, this takes any certificate.
        let identity = CertifiedKey::new(vec![certificate], key);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.expect("a connection");
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    if is_postgres {
                        client.read_exact(&mut [0; 8]).await?;
                        client.write_all(b"S").await?;
                    }
                    acceptor.accept(client).await.map(drop)
                });
            }
        });
        Self { port, _tasks: tasks }
    }
}

/// A folder of PEM files.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    /// Creates or replaces a file atomically.
    pub fn put(&self, name: &str, content: &str) -> String {
        let (new, path) = (self.path("new"), self.path(name));
        fs::write(&new, content).expect("written");
        fs::rename(&new, &path).expect("renamed");
        path.display().to_string()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes `name.crt` and `name.key`.
    pub fn put_identity(&self, name: &str, identity: &Identity) -> [String; 2] {
        [
            self.put(&format!("{name}.crt"), &identity.certificate),
            self.put(&format!("{name}.key"), &identity.key),
        ]
    }
}

/// The TLS settings of a client.
pub struct Peer<'a> {
    pub trusts: &'a Authority,
    pub identity: Option<&'a Identity>,
    pub versions: &'a [&'static SupportedProtocolVersion],
    pub protocols: &'a [&'a [u8]],
}

impl<'a> Peer<'a> {
    pub fn new(trusts: &'a Authority) -> Self {
        Self {
            trusts,
            identity: None,
            versions: ALL_VERSIONS,
            protocols: &[],
        }
    }

    pub fn with(trusts: &'a Authority, identity: &'a Identity) -> Self {
        Self {
            identity: Some(identity),
            ..Self::new(trusts)
        }
    }

    pub fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.0.der().clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
                builder
                    .with_client_auth_cert(vec![identity.der()], key)
                    .expect("an identity")
            }
        };
        config.alpn_protocols = self.protocols.iter().map(|name| name.to_vec()).collect();
        config
    }
}

/// Connects and performs the handshake.
pub async fn connect(address: SocketAddr, config: impl Into<Arc<ClientConfig>>) -> io::Result<TlsStream<TcpStream>> {
    connect_from(Ipv4Addr::LOCALHOST.into(), address, config).await
}

/// As [`connect`], from this address.
pub async fn connect_from(
    from: IpAddr,
    address: SocketAddr,
    config: impl Into<Arc<ClientConfig>>,
) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(config.into()).connect(name, stream).await
}

/// The result of a handshake.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreed {
    pub certificate: CertificateDer<'static>,
    pub version: ProtocolVersion,
    pub protocol: Option<Vec<u8>>,
}

pub fn agreed(stream: &TlsStream<TcpStream>) -> Agreed {
    let connection = stream.get_ref().1;
    let certificates = connection.peer_certificates().expect("certificates");
    Agreed {
        certificate: certificates[0].clone().into_owned(),
        version: connection.protocol_version().expect("a version"),
        protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
    }
}

/// Lets clients without TLS reach a listener with TLS. Each connection to the tunnel becomes a TLS connection from the same
/// address, and ends if the handshake fails.
pub struct Tunnel {
    pub address: SocketAddr,
    agreed: Arc<Mutex<Vec<Agreed>>>,
    _tasks: JoinSet<()>,
}

impl Tunnel {
    pub async fn to(target: SocketAddr, peer: &Peer<'_>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let config = Arc::new(peer.config());
        let seen = Arc::<Mutex<Vec<Agreed>>>::default();
        let agreements = Arc::clone(&seen);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut client, from) = listener.accept().await.expect("a connection");
                client.set_nodelay(true).expect("no delay");
                let (config, agreements) = (Arc::clone(&config), Arc::clone(&agreements));
                connections.spawn(async move {
                    let mut server = connect_from(from.ip(), target, config).await?;
                    agreements.lock().expect("no panic").push(agreed(&server));
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        Self {
            address,
            agreed: seen,
            _tasks: tasks,
        }
    }

    /// The results of all handshakes so far.
    pub fn agreed(&self) -> Vec<Agreed> {
        self.agreed.lock().expect("no panic").clone()
    }
}
