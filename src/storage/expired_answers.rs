//! Deletes stored answers that have expired.

use super::{
    Database, DatabaseError, answers::now, any_write_connection::AnyWriteConnection, sql::Scalar,
    statements::DELETE_EXPIRED_ANSWERS,
};

impl Database {
    /// Deletes at most `at_most` answers that have expired, and returns how many it deleted. Uses its own connection, so that no
    /// call waits for it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn delete_expired_answers(&self, at_most: u32) -> Result<u64, DatabaseError> {
        let statement = DELETE_EXPIRED_ANSWERS.bind([Scalar::Time(now()), Scalar::Number(i64::from(at_most))], []);
        let mut connection = AnyWriteConnection::new(self);
        let deleted = connection.execute(statement).await;
        connection.close().await;
        deleted
    }
}
