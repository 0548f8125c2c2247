//! Assigns devices to a customer over gRPC: `cargo run --example assign -- EMAIL IDENTIFIER...`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]

use std::{env, error::Error, process::ExitCode, time::Duration};

use device_assignment::pb::{
    AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse,
    device_assignment_service_client::DeviceAssignmentServiceClient,
};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

const ATTEMPTS: u32 = 5;
/// The largest response, in bytes. A response can exceed the default limit of 4 MiB.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Makes the call, and retries temporary errors. The call is idempotent.
async fn assign(
    client: &mut DeviceAssignmentServiceClient<Channel>,
    message: AssignDevicesToOwnerRequest,
    key: &MetadataValue<Ascii>,
    timeout: Duration,
) -> Result<AssignDevicesToOwnerResponse, Status> {
    let deadline = Instant::now() + timeout;
    let mut attempt = 1;
    loop {
        let mut request = Request::new(message.clone());
        request.metadata_mut().insert("x-api-key", key.clone());
        request.set_timeout(deadline - Instant::now());
        let status = match timeout_at(deadline, client.assign_devices_to_owner(request)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) if Instant::now() < deadline => status,
            _ => return Err(Status::deadline_exceeded("no response in time")),
        };
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let pause = asked.unwrap_or(Duration::from_millis(100) * 2_u32.pow(attempt));
        // A random part, so that clients do not retry at the same time.
        let pause = pause.mul_f64(rand::random_range(1.0..1.5));
        let is_temporary = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted);
        if !is_temporary || attempt == ATTEMPTS || Instant::now() + pause > deadline {
            return Err(status);
        }
        sleep(pause).await;
        attempt += 1;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let server = env::var("DEVICE_ASSIGNMENT_SERVER").unwrap_or_else(|_| "http://127.0.0.1:50051".into());
    let key = env::var("DEVICE_ASSIGNMENT_API_KEY")?.parse()?;
    let timeout = env::var("DEVICE_ASSIGNMENT_TIMEOUT").map_or(Ok(30), |seconds| seconds.parse())?;
    let mut arguments = env::args().skip(1);
    let message = AssignDevicesToOwnerRequest {
        customer_email: arguments.next().unwrap_or_default(),
        device_identifiers: arguments.collect(),
        ..Default::default()
    };
    // Uses TLS if the URL begins with https.
    let channel = Endpoint::new(server)?.connect_lazy();
    let mut client = DeviceAssignmentServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
    match assign(&mut client, message, &key, Duration::from_secs(timeout)).await {
        Ok(answer) => {
            println!("{}", answer.message);
            if !answer.skipped.is_empty() {
                println!("Skipped: {}", answer.skipped.join(" "));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(status) => {
            eprintln!("{:?}: {}", status.code(), status.message());
            for violation in status
                .get_error_details()
                .bad_request()
                .iter()
                .flat_map(|bad| &bad.field_violations)
            {
                eprintln!("  {}: {}", violation.field, violation.description);
            }
            Ok(ExitCode::FAILURE)
        }
    }
}
