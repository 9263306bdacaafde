//! One HTTP/1.1 connection as a client has it.

use std::io;
use std::net::SocketAddr;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// A connection to a target.
#[derive(Debug)]
pub(crate) struct Http {
    sender: SendRequest<Full<Bytes>>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    /// The server will end the connection now.
    pub(crate) last: bool,
    /// The process that answered, where the proxy names it.
    pub(crate) instance: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct NoAnswer {
    /// Nobody listened.
    pub(crate) refused: bool,
    pub(crate) reason: String,
}

impl NoAnswer {
    pub(crate) fn of_io(what: &str, error: &io::Error) -> Self {
        Self {
            refused: error.kind() == io::ErrorKind::ConnectionRefused,
            reason: format!("{what}: {error}"),
        }
    }

    pub(crate) fn late(what: &str) -> Self {
        Self {
            refused: false,
            reason: format!("{what}: no answer within {} s", PATIENCE.as_secs()),
        }
    }

    fn of_http(what: &str, error: &hyper::Error) -> Self {
        Self {
            refused: false,
            reason: format!("{what}: {error}"),
        }
    }
}

/// A TCP connection, within patience.
pub(crate) async fn connect(at: SocketAddr) -> Result<TcpStream, NoAnswer> {
    match timeout(PATIENCE, TcpStream::connect(at)).await {
        Ok(Ok(stream)) => {
            drop(stream.set_nodelay(true));
            Ok(stream)
        }
        Ok(Err(error)) => Err(NoAnswer::of_io("connect", &error)),
        Err(_) => Err(NoAnswer::late("connect")),
    }
}

impl Http {
    pub(crate) async fn open(at: SocketAddr) -> Result<Self, NoAnswer> {
        let stream = connect(at).await?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| NoAnswer::of_http("handshake", &error))?;
        // It ends with the sender or with the socket; either is told to the sender.
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Whether the server has ended it.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> Result<Answer, NoAnswer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "app")
            .body(Full::new(body))
            .map_err(|error| NoAnswer {
                refused: false,
                reason: error.to_string(),
            })?;
        let exchange = async {
            // The answer before may have been read to its end by everybody but the connection's own task.
            self.sender.ready().await?;
            let answer = self.sender.send_request(request).await?;
            let status = answer.status().as_u16();
            let last = answer
                .headers()
                .get(CONNECTION)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
            let instance = answer.headers().get("x-unattended-instance");
            let instance = instance.and_then(|value| value.to_str().ok()?.parse().ok());
            let body = answer.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Answer {
                status,
                body,
                last,
                instance,
            })
        };
        match timeout(PATIENCE, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(NoAnswer::of_http("request", &error)),
            Err(_) => Err(NoAnswer::late("request")),
        }
    }
}

/// The status of one GET over a connection of its own.
pub(crate) async fn get(at: SocketAddr, path: &str) -> Result<u16, NoAnswer> {
    let mut connection = Http::open(at).await?;
    Ok(connection.ask(Method::GET, path, Bytes::new()).await?.status)
}
