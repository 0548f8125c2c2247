//! A plain gRPC client over HTTP/2, without timers and retries of its own.

use std::net::SocketAddr;

use device_assignment::code::code_name;
use h2::client::SendRequest;
use prost::{
    Message as _,
    bytes::{BufMut as _, Bytes, BytesMut},
};
use tokio::{net::TcpStream, task::JoinSet};
use tonic::Code;

/// An HTTP/2 connection with an API key. Dropping a call's future resets its stream, as when a caller gives up.
pub struct Wire {
    requests: SendRequest<Bytes>,
    key: String,
    _connection: JoinSet<()>,
}

impl Wire {
    pub async fn connect(address: SocketAddr, key: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self {
            requests,
            key: key.to_owned(),
            _connection: tasks,
        }
    }

    /// Calls with `timeout` as `grpc-timeout`, and returns the name of the code.
    pub async fn assign(
        &self,
        message: &device_assignment::pb::AssignDevicesToOwnerRequest,
        timeout: &str,
    ) -> Result<String, h2::Error> {
        let request = axum::http::Request::post(
            "http://localhost/telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner",
        )
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-api-key", &self.key)
        .header("grpc-timeout", timeout)
        .body(())
        .expect("a request");
        let mut frame = BytesMut::new();
        frame.put_u8(0); // not compressed
        frame.put_u32(u32::try_from(message.encoded_len()).expect("a short message"));
        message.encode(&mut frame).expect("a message");

        let mut requests = self.requests.clone().ready().await?;
        let (response, mut body) = requests.send_request(request, false)?;
        // The response may arrive before the request is sent completely.
        let _ = body.send_data(frame.freeze(), true);
        let response = response.await?;
        assert_eq!(response.status(), 200);
        if let Some(status) = response.headers().get("grpc-status") {
            return Ok(name(status));
        }
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
        }
        let trailers = body.trailers().await?.expect("trailers");
        Ok(name(trailers.get("grpc-status").expect("a status")))
    }
}

fn name(status: &axum::http::HeaderValue) -> String {
    code_name(Code::from_bytes(status.as_bytes())).to_owned()
}
