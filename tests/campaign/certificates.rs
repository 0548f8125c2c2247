//! An instance with TLS whose certificates are damaged, expire and are renewed while it runs.

use std::time::Duration;

use device_assignment::pb::AssignDevicesToOwnerRequest;

use crate::support::{
    Api, Client, Program, load,
    program::command,
    tls::{Authority, Folder, Peer, Tunnel},
};

/// How often the instance looks at its files.
const RELOADS: &str = "100ms";
/// How long a certificate is damaged or expired.
const LASTS: Duration = Duration::from_secs(1);
const RECOVERY: Duration = Duration::from_secs(5);
const NAME: &str = "localhost";

pub struct Secure {
    program: Program,
    authority: Authority,
    folder: Folder,
    key: String,
}

impl Secure {
    pub async fn serve(url: &str, key: &str) -> Self {
        let (authority, folder) = (Authority::new("campaign"), Folder::new());
        let [certificate, private_key] = folder.put_identity(NAME, &authority.issue(NAME));
        let mut serve = command(&["serve", "--database-url", url, "--tls-reload-interval", RELOADS]);
        serve.args(["--tls-cert", &certificate, "--tls-key", &private_key]);
        Self {
            program: Program::spawn(serve).await,
            authority,
            folder,
            key: key.to_owned(),
        }
    }

    /// Damages the certificate, replaces it by one that has expired, and then by a new one, with which calls succeed again.
    pub async fn replace_certificate(&self) {
        self.folder.put(&format!("{NAME}.crt"), "damaged");
        tokio::time::sleep(LASTS).await;
        assert!(self.is_served().await, "with the last certificate that could be read");
        let expired = self.authority.issue_as(NAME, |parameters| {
            parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
        });
        self.folder.put_identity(NAME, &expired);
        tokio::time::sleep(LASTS).await;
        self.folder.put_identity(NAME, &self.authority.issue(NAME));
        load::eventually("calls over TLS succeed", RECOVERY, async || self.is_served().await).await;
    }

    /// Whether a call on a new connection succeeds.
    async fn is_served(&self) -> bool {
        let peer = Peer {
            protocols: &[b"h2"],
            ..Peer::new(&self.authority)
        };
        let tunnel = Tunnel::to(self.program.grpc, &peer).await;
        let client = Client::new(Api::Grpc, tunnel.address, &self.key);
        // It has no effect that could be taken for one of the load.
        let preview = AssignDevicesToOwnerRequest {
            validate_only: true,
            ..load::message("preview@example.com")
        };
        client
            .grpc()
            .assign_devices_to_owner(client.signed(preview))
            .await
            .is_ok()
    }

    pub async fn stop(self) {
        let (code, log) = self.program.terminate().await;
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}
