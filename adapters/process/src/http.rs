//! One question over HTTP/1.1, to a Unix socket or a TCP port, within a time.
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// The longest answer that is read.
const LONGEST_BODY: usize = 1 << 20;

/// Where somebody is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Who holds the other end of a Unix socket.
    pub(crate) peer_pid: Option<i32>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nobody has heard the question.
    NotAsked(String),
    /// It may have been heard, and done.
    Unanswered(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked(why) | Self::Unanswered(why) => f.write_str(why),
        }
    }
}

/// Asks, and gives the answer or says why there is none after twice `limit_ms` at the latest: once
/// for the connection, once for the answer.
pub(crate) async fn ask(
    door: &Door,
    method: Method,
    path: &str,
    body: Vec<u8>,
    limit_ms: u64,
) -> Result<Reply, Silence> {
    let limit = Duration::from_millis(limit_ms);
    let late = |what: &str| format!("{door}: {what} within {limit_ms} ms");
    let not_asked = |error: std::io::Error| Silence::NotAsked(format!("{door}: {error}"));
    match door {
        Door::Unix(socket) => {
            let stream = tokio::time::timeout(limit, UnixStream::connect(socket)).await;
            let stream = stream
                .map_err(|_| Silence::NotAsked(late("no connection")))?
                .map_err(not_asked)?;
            let peer_pid = stream.peer_cred().ok().and_then(|cred| cred.pid());
            let answered = tokio::time::timeout(limit, exchange(stream, method, path, body)).await;
            answered.map(|answered| (answered, peer_pid))
        }
        Door::Tcp(address) => {
            let stream = tokio::time::timeout(limit, TcpStream::connect(address)).await;
            let stream = stream
                .map_err(|_| Silence::NotAsked(late("no connection")))?
                .map_err(not_asked)?;
            let answered = tokio::time::timeout(limit, exchange(stream, method, path, body)).await;
            answered.map(|answered| (answered, None))
        }
    }
    .map_or_else(
        |_| Err(Silence::Unanswered(late("no answer"))),
        |(answered, peer_pid)| match answered {
            Ok((status, body)) => Ok(Reply { status, body, peer_pid }),
            Err(words) => Err(Silence::Unanswered(format!("{door}: {words}"))),
        },
    )
}

async fn exchange<S>(stream: S, method: Method, path: &str, body: Vec<u8>) -> Result<(u16, Vec<u8>), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let words = |error: hyper::Error| error.to_string();
    let handshake = hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(words)?;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "localhost")
        .header(CONNECTION, "close");
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let answered = async {
        let reply = sender.send_request(request).await.map_err(words)?;
        let status = reply.status().as_u16();
        let body = Limited::new(reply.into_body(), LONGEST_BODY).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes().to_vec();
        Ok((status, body))
    };
    // The connection is driven beside the answer, and dropped with it.
    let (answered, driven) = (std::pin::pin!(answered), std::pin::pin!(connection));
    match futures::future::select(answered, driven).await {
        futures::future::Either::Left((answered, _)) => answered,
        futures::future::Either::Right((_, answered)) => answered.await,
    }
}
