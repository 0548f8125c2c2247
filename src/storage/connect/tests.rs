use super::*;

#[tokio::test]
async fn a_pool_starts_no_task() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let url = DatabaseUrl::parse("postgres://db/devices").expect("a URL");
    let database = Database::open(url).await.expect("a database");
    let connection = database.schema_connection().await.expect("a connection");
    assert_eq!(metrics.num_alive_tasks(), before);
    drop((database, connection));
}
