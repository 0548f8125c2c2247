//! Certificates of authorities that only a test knows, and the other end of TLS.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ALL_VERSIONS, ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};

pub const HTTP_2: &[u8] = b"h2";
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// An authority whose certificates nobody else knows.
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

    /// For this machine, by name and address; as a service or as a client of one.
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
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")
    }
}

/// A folder of PEM files.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    /// Makes a file, or puts another in its place; nobody sees a part of it.
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

/// What a client brings to a handshake.
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

/// Connects and shakes hands.
pub async fn connect(address: SocketAddr, config: impl Into<Arc<ClientConfig>>) -> io::Result<TlsStream<TcpStream>> {
    connect_from(Ipv4Addr::LOCALHOST.into(), address, config).await
}

/// As [`connect`], from this address.
async fn connect_from(
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

/// What a handshake led to.
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

/// Lets clients that know nothing of TLS reach a listener that speaks nothing else: each connection to the tunnel is one of
/// TLS at its other end, from the same address, and ends when no hands are shaken there.
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

    /// What each connection led to, so far.
    pub fn agreed(&self) -> Vec<Agreed> {
        self.agreed.lock().expect("no panic").clone()
    }
}
