//! The clients for everyday tasks.

use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    Api, Program, TestDatabase, devices,
    effects::owned,
    example::Example,
    organization,
    program::{finish, refused, stderr, stdout},
};

/// A sale, a return, and a fleet as a CSV file has it, twice.
pub async fn work(database: &TestDatabase, example: Example) {
    const ANN: &str = "ann@example.com";
    const BOB: &str = "bob@example.com";
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1", "SN-2", "SN-3"]).await;
    let server = Program::serve(database.url()).await;
    let client = server.client(Api::Grpc, &key);
    client.assign(ANN, &["SN-1", "SN-2", "SN-3"]).await.ok();
    let folder = TempDir::new().expect("a folder");
    let list = folder.path().join("fleet.csv");
    let rows = format!("customer_email,device_identifier\n{ANN},SN-1\n{BOB},SN-2\n{ANN},SN-3\n{BOB},SN-9\n");
    std::fs::write(&list, rows).expect("written");
    let list = list.to_str().expect("a path");
    let synchronized = json!({ANN: ["SN-1", "SN-3"], BOB: ["SN-2"]});

    let sale = ["sell", ANN, BOB, "SN-1", "SN-2"];
    for (arguments, said, expected) in [
        (
            &sale[..],
            "Successfully transferred 2 device(s)",
            json!({ANN: ["SN-3"], BOB: ["SN-1", "SN-2"]}),
        ),
        (
            &["return", BOB, "SN-2", "SN-3"],
            "Successfully unassigned 1 device(s) from customer\nSkipped: SN-3\n",
            json!({ANN: ["SN-3"], BOB: ["SN-1"]}),
        ),
        (&["sync", list], "Skipped: SN-9\n", synchronized.clone()),
        (&["sync", list], "Skipped: SN-9\n", synchronized),
    ] {
        let output = finish(example.command(&server, &key, arguments).await).await;
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        assert!(stdout(&output).contains(said), "{}", stdout(&output));
        assert_eq!(stderr(&output), "");
        assert_eq!(json!(owned(database).await), expected, "{arguments:?}");
    }
    // Ann does not have SN-2.
    let said = refused(
        &finish(
            example
                .command(&server, &key, &["sell", ANN, "eve@example.com", "SN-2", "SN-9"])
                .await,
        )
        .await,
        1,
    );
    assert!(said.contains("None of the devices belongs to expected"), "{said}");
    server.terminate().await;
}
