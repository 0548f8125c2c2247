//! Everyday tasks over gRPC:
//!
//! - `cargo run --example tasks -- sell SELLER BUYER IDENTIFIER...` transfers devices, if they still belong to the seller
//! - `cargo run --example tasks -- return OWNER IDENTIFIER...` removes devices from a customer
//! - `cargo run --example tasks -- sync FILE` gives each device to the one customer that a CSV file names for it. Its first line is
//!   `customer_email,device_identifier`.
//!
//! A sale and a return are one call each, with the generated client. The sync uses the client of the crate for lists of any length,
//! which retries temporary errors.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program prints")]

use std::{env, error::Error, fs::File, process::ExitCode, time::Duration};

use device_assignment::{
    client::{self, Action, ClientError, Event, RemoteService, Services, Settings, Source, Target},
    pb::{TransferDevicesToOwnerRequest, UnassignDevicesFromOwnerRequest},
};

const TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let target = Target {
        url: env::var("DEVICE_ASSIGNMENT_SERVER").unwrap_or_else(|_| "http://127.0.0.1:50051".into()),
        ca: None,
        key: env::var("DEVICE_ASSIGNMENT_API_KEY")?,
    };
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (message, skipped) = match words.as_slice() {
        ["sync", file] => return sync(&target, file).await,
        ["sell", seller, buyer, identifiers @ ..] => {
            let (mut services, _) = Services::connect(&target, TIMEOUT).await?;
            let request = services.request(TransferDevicesToOwnerRequest {
                customer_email: (*buyer).into(),
                device_identifiers: identifiers.iter().map(|identifier| (*identifier).into()).collect(),
                expected_owner: Some((*seller).into()),
                ..Default::default()
            });
            match services.assignments.transfer_devices_to_owner(request).await {
                Ok(response) => (response.get_ref().message.clone(), response.into_inner().skipped),
                Err(status) => return Ok(failed(&status)),
            }
        }
        ["return", owner, identifiers @ ..] => {
            let (mut services, _) = Services::connect(&target, TIMEOUT).await?;
            let request = services.request(UnassignDevicesFromOwnerRequest {
                customer_email: (*owner).into(),
                device_identifiers: identifiers.iter().map(|identifier| (*identifier).into()).collect(),
                ..Default::default()
            });
            match services.assignments.unassign_devices_from_owner(request).await {
                Ok(response) => (response.get_ref().message.clone(), response.into_inner().skipped),
                Err(status) => return Ok(failed(&status)),
            }
        }
        _ => return Err("the task is sell, return or sync".into()),
    };
    println!("{message}");
    if !skipped.is_empty() {
        println!("Skipped: {}", skipped.join(" "));
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(status: &tonic::Status) -> ExitCode {
    eprintln!("{:?}: {}", status.code(), status.message());
    ExitCode::FAILURE
}

/// Transfers every device of the list to its customer, in as few calls as the service allows.
async fn sync(target: &Target, file: &str) -> Result<ExitCode, Box<dyn Error>> {
    let settings = Settings {
        action: Action::Transfer {
            auto_create: false,
            expected_owner: None,
        },
        dry_run: false,
        parallel: 4,
        timeout: TIMEOUT,
        retry_for: Duration::from_secs(120),
    };
    let source = Source::csv(Box::new(File::open(file)?), None)?;
    let service = RemoteService::connect(target).await?;
    let report = client::run::<ClientError>(service, source, &settings, |event| {
        match event {
            Event::Rejected(row) => eprintln!("line {}: {}", row.line, row.problem),
            Event::Skipped(rows) => println!("Skipped: {}", rows.identifiers.join(" ")),
            Event::Trouble(answer) => eprintln!("{answer}; trying again"),
            Event::Progress { .. } => {}
        }
        Ok(())
    })
    .await?;
    let transferred = report.assigned + report.already_assigned;
    println!("Successfully transferred {transferred} device(s)");
    Ok(ExitCode::from(u8::from(report.refused > 0)))
}
