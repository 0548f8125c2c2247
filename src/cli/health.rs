use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::Args;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{CommandError, listeners::reachable, output::print};
use crate::config::{AdminAddr, AdminConfig};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment health
  device-assignment health --admin-addr 127.0.0.1:9091
  device-assignment health --live
      check only whether it runs, also while its database is away
";

/// How long the response may take. Supervisors check often.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest response that is read, in bytes.
const LONGEST: u64 = 4 * 1024;

#[derive(Debug, Args)]
pub(super) struct Health {
    /// Check only whether it runs, not whether it is ready
    #[arg(long)]
    live: bool,

    #[command(flatten)]
    admin: AdminConfig,
}

impl Health {
    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let AdminAddr::At(address) = self.admin.admin_addr else {
            return Err(CommandError::Failed(
                "--admin-addr (ADMIN_ADDR) is off; name the address of the admin listener of the service".into(),
            ));
        };
        let address = reachable(address);
        let path = if self.live { "/livez" } else { "/readyz" };
        let failed = |problem: &str| {
            CommandError::Failed(format!(
                "{address} {problem}; check that the service runs, and that --admin-addr (ADMIN_ADDR) is the same for both"
            ))
        };
        let response = match tokio::time::timeout(TIMEOUT, get(address, path)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(failed(&format!("cannot be reached ({error})"))),
            Err(_elapsed) => return Err(failed("does not respond")),
        };
        let (status, line) = read(&response).ok_or_else(|| failed("does not respond as the service does"))?;
        let code = match status {
            "200" => ExitCode::SUCCESS,
            "503" => ExitCode::FAILURE,
            _ => return Err(failed("does not respond as the service does")),
        };
        print(line)?;
        Ok(code)
    }
}

/// Sends one request and reads the whole response. With HTTP/1.0, the end of the connection is the end of the response.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.take(LONGEST).read_to_string(&mut response).await?;
    Ok(response)
}

/// The status of a response, and the first line of its body.
fn read(response: &str) -> Option<(&str, &str)> {
    let (head, body) = response.split_once("\r\n\r\n")?;
    let (version, status) = head.lines().next()?.split_once(' ')?;
    let is_http = version.starts_with("HTTP/1.");
    let status = status.split(' ').next().filter(|_| is_http)?;
    Some((status, body.lines().next()?))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn only_a_whole_response_is_accepted() {
        assert_eq!(
            read("HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\ndraining\n"),
            Some(("503", "draining"))
        );
        assert_eq!(read("HTTP/1.1 200\r\na: b\r\n\r\nok"), Some(("200", "ok")));
        for response in [
            "",
            "\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "SSH-2.0 200\r\n\r\nok",
            "200 OK\r\n\r\nok",
        ] {
            assert_eq!(read(response), None, "{response:?}");
        }
    }
}
