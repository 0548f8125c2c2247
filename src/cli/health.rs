use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::Args;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{CommandError, listeners::reachable, output::print};
use crate::config::{AdminAddr, AdminConfig};

/// How long the answer may take: whoever asks for it, asks often.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes. A line needs no more.
const LONGEST: u64 = 4 * 1024;

#[derive(Debug, Args)]
pub(super) struct Health {
    /// Only ask whether it runs
    #[arg(long)]
    live: bool,

    #[command(flatten)]
    admin: AdminConfig,
}

impl Health {
    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let AdminAddr::At(address) = self.admin.admin_addr else {
            return Err(CommandError::Failed(
                "--admin-addr (ADMIN_ADDR) is off, so that nobody can be asked; name an address where the service listens"
                    .into(),
            ));
        };
        let address = reachable(address);
        let path = if self.live { "/livez" } else { "/readyz" };
        let failed = |problem: &str| {
            CommandError::Failed(format!(
                "{address} {problem}; check that the service runs, and that --admin-addr (ADMIN_ADDR) is the same for both"
            ))
        };
        let answer = match tokio::time::timeout(TIMEOUT, get(address, path)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(failed(&format!("cannot be asked ({error})"))),
            Err(_elapsed) => return Err(failed("does not answer")),
        };
        let (status, line) = read(&answer).ok_or_else(|| failed("does not answer as a service does"))?;
        let code = match status {
            "200" => ExitCode::SUCCESS,
            "503" => ExitCode::FAILURE,
            _ => return Err(failed("does not answer as a service does")),
        };
        print(line)?;
        Ok(code)
    }
}

/// One request and its whole answer. HTTP/1.0, because then the end of the connection is the end of the answer.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The status of an answer, and the first line of its body.
fn read(answer: &str) -> Option<(&str, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let (version, status) = head.lines().next()?.split_once(' ')?;
    let is_http = version.starts_with("HTTP/1.");
    let status = status.split(' ').next().filter(|_| is_http)?;
    Some((status, body.lines().next()?))
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        assert_eq!(
            read("HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\ndraining\n"),
            Some(("503", "draining"))
        );
        assert_eq!(read("HTTP/1.1 200\r\na: b\r\n\r\nok"), Some(("200", "ok")));
        for answer in [
            "",
            "\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "SSH-2.0 200\r\n\r\nok",
            "200 OK\r\n\r\nok",
        ] {
            assert_eq!(read(answer), None, "{answer:?}");
        }
    }
}
