//! The listener for operators.

use std::net::SocketAddr;

use crate::support::{Program, Suite, TestDatabase, TestServer};

pub fn register(suite: &mut Suite) {
    suite.on_each("admin::a_running_process_says_that_it_lives", livez);
}

async fn livez(database: &TestDatabase) {
    let server = TestServer::start(database).await;
    assert_eq!(get(server.admin, "/livez").await, (200, "ok\n".into()));
    server.stop().await;
    let program = Program::serve(database.url()).await;
    assert_eq!(get(program.admin, "/livez").await, (200, "ok\n".into()));
    assert_eq!(get(program.admin, "/nothing").await.0, 404);
    program.terminate().await;
}

/// What an admin listener answers.
async fn get(admin: SocketAddr, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{admin}{path}")).await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}
