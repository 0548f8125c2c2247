//! Peers that no client library would be: they send hand-made bytes, and need not read responses.

use std::net::{IpAddr, SocketAddr};

use axum::http::{Request, Response};
use h2::{
    RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use prost::bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use tonic::Status;

pub const ASSIGN: &str = "telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner";

/// Connects from an address of this machine.
pub async fn connect(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    // Small, so that unread data stays at the server.
    socket.set_recv_buffer_size(16 * 1024)?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// An HTTP/2 connection. Streams can be left unfinished.
pub struct Peer {
    requests: SendRequest<Bytes>,
    _connection: JoinSet<()>,
}

impl Peer {
    /// Connects. With a `window` of 0 the server may send heads but no bodies.
    pub async fn connect(from: IpAddr, to: SocketAddr, window: u32) -> Option<Self> {
        let stream = connect(from, to).await.ok()?;
        let handshake = Builder::new()
            .initial_window_size(window)
            .initial_max_send_streams(128)
            .handshake(stream);
        let (requests, connection) = handshake.await.ok()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Some(Self {
            requests,
            _connection: tasks,
        })
    }

    /// Starts a request whose body is sent later.
    pub async fn begin(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut request = Request::post(format!("http://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut requests = self.requests.clone().ready().await?;
        requests.send_request(request.body(()).expect("a request"), false)
    }

    /// Requests a page, and returns when its head has arrived.
    pub async fn get(&self, path: &str) -> Result<Response<RecvStream>, h2::Error> {
        let request = Request::get(format!("http://localhost{path}"));
        let mut requests = self.requests.clone().ready().await?;
        requests
            .send_request(request.body(()).expect("a request"), true)?
            .0
            .await
    }

    /// Starts a gRPC call.
    pub async fn begin_call(
        &self,
        method: &str,
        headers: &[(&str, &str)],
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let of_grpc = [("content-type", "application/grpc"), ("te", "trailers")];
        self.begin(&format!("/{method}"), &[&of_grpc, headers].concat()).await
    }
}

/// A message in gRPC framing.
pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0); // not compressed
    frame.put_u32(u32::try_from(message.len()).expect("a short message"));
    frame.put_slice(message);
    frame.freeze()
}

/// The status of a call.
pub async fn status(response: Response<RecvStream>) -> Result<Status, h2::Error> {
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Ok(status);
    }
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
    }
    let trailers = body.trailers().await?.expect("trailers");
    Ok(Status::from_header_map(&trailers).expect("a status"))
}
