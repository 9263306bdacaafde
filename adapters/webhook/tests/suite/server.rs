//! A server that answers as it is told, and keeps what it was sent.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use std::collections::{BTreeMap, VecDeque};
use std::io::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What it does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(u16, &'static str),
    /// A status with `retry-after`, in seconds.
    Later(u16, &'static str),
    /// Nothing, for ever.
    Silence,
    /// The connection is cut.
    Cut,
}

/// One request that came in whole.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

/// Ends with its value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers the first requests so, and all others with 204.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self::with(answers, None).await
    }

    /// The same over TLS, as `localhost`.
    pub(crate) async fn secure() -> Self {
        let chain = vec![CertificateDer::from(include_bytes!("../data/server.der").to_vec())];
        let key = PrivatePkcs8KeyDer::from(include_bytes!("../data/server.key.der").to_vec());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(chain, PrivateKeyDer::from(key)).unwrap();
        Self::with([], Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn with(answers: impl IntoIterator<Item = Answer>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let answers = Arc::new(Mutex::new(answers.into_iter().collect::<VecDeque<_>>()));
        let kept = Arc::clone(&received);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (kept, answers, tls) = (Arc::clone(&kept), Arc::clone(&answers), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, kept, answers).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, kept, answers).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            received,
            task,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    kept: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (kept, answers) = (Arc::clone(&kept), Arc::clone(&answers));
        async move {
            assert_eq!(request.method(), "POST");
            let path = request.uri().to_string();
            let headers = (request.headers().iter())
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            let body = request.into_body().collect().await.map_err(Error::other)?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap();
            kept.lock().push(Received { path, headers, body });
            let answer = answers.lock().pop_front().unwrap_or(Answer::Status(204, ""));
            let reply =
                |status: u16, body: &'static str| Response::builder().status(status).body(Full::new(Bytes::from(body)));
            match answer {
                Answer::Status(status, body) => Ok(reply(status, body).unwrap()),
                Answer::Later(status, seconds) => {
                    let mut response = reply(status, "").unwrap();
                    response.headers_mut().insert("retry-after", seconds.parse().unwrap());
                    Ok(response)
                }
                Answer::Silence => std::future::pending().await,
                Answer::Cut => Err(Error::other("cut")),
            }
        }
    });
    // Whoever hangs up is no fault of the server's.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
