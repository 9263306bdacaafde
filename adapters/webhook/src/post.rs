//! One request over HTTP/1.1, within a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::WebhookError;

/// So much of what a receiver says to a request that it does not take is told.
const SHOWN_BYTES: usize = 512;

/// Whereto, taken apart once.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) url: String,
    host: String,
    port: u16,
    /// As the header has it.
    authority: HeaderValue,
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Address {
    pub(crate) fn parse(url: &str, tls: Option<&Arc<ClientConfig>>) -> Result<Self, WebhookError> {
        let wrong = |why: &str| WebhookError::Url {
            url: url.to_owned(),
            why: why.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("{error}")))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) => return Err(wrong("it is neither http nor https")),
            None => return Err(wrong("it does not begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "it has a user in it, who would be told to everybody: use a header",
            ));
        }
        let host = authority.host();
        // An address of six is written in brackets, and connected to without.
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let tls = match (secure, tls) {
            (false, _) => None,
            (true, None) => return Err(WebhookError::NoRoots { url: url.to_owned() }),
            (true, Some(config)) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|error| wrong(&error.to_string()))?;
                Some((TlsConnector::from(Arc::clone(config)), name))
            }
        };
        Ok(Self {
            url: url.to_owned(),
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|error| wrong(&error.to_string()))?,
            path: uri
                .path_and_query()
                .map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned()),
            tls,
        })
    }
}

/// What became of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    Taken,
    /// Once more, after so long at least.
    Again {
        why: String,
        after: Duration,
    },
    Refused(String),
}

impl Tried {
    const fn again(why: String) -> Self {
        Self::Again {
            why,
            after: Duration::ZERO,
        }
    }
}

/// Posts once. `limit` is for the connection, and once more for the answer.
pub(crate) async fn post(address: &Address, headers: &HeaderMap, body: Bytes, limit: Duration) -> Tried {
    let late = |what: &str| Tried::again(format!("no {what} within {} ms", limit.as_millis()));
    let connected = tokio::time::timeout(limit, connect(address)).await;
    let answered = match connected {
        Err(_) => return late("connection"),
        Ok(Err(why)) => return Tried::again(why),
        Ok(Ok(stream)) => tokio::time::timeout(limit, exchange(stream, address, headers, body)).await,
    };
    match answered {
        Err(_) => late("answer"),
        Ok(Err(why)) => Tried::again(why),
        Ok(Ok(answer)) => judge(&answer),
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn connect(address: &Address) -> Result<Box<dyn Stream>, String> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
    let stream = stream.map_err(|error| format!("no connection: {error}"))?;
    let Some((connector, name)) = &address.tls else {
        return Ok(Box::new(stream));
    };
    let stream = connector.connect(name.clone(), stream).await;
    Ok(Box::new(
        stream.map_err(|error| format!("no secure connection: {error}"))?,
    ))
}

struct Answer {
    status: u16,
    retry_after: Option<u64>,
    body: Vec<u8>,
}

async fn exchange(
    stream: Box<dyn Stream>,
    address: &Address,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Answer, String> {
    let words = |error: hyper::Error| error.to_string();
    let handshake = hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(words)?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() = address.path.parse().map_err(|error| format!("{error}"))?;
    let known = request.headers_mut();
    known.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("unattended-webhook/", env!("CARGO_PKG_VERSION"))),
    );
    known.extend(headers.clone());
    known.insert(HOST, address.authority.clone());
    known.insert(CONNECTION, HeaderValue::from_static("close"));
    known.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answered = async {
        let reply = sender.send_request(request).await.map_err(words)?;
        let status = reply.status().as_u16();
        let retry_after = (reply.headers().get(RETRY_AFTER))
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.trim().parse().ok());
        let body = if reply.status().is_success() {
            Vec::new()
        } else {
            shown(Limited::new(reply.into_body(), SHOWN_BYTES)).await
        };
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    };
    // The connection is driven beside the answer, and dropped with it.
    let (answered, driven) = (std::pin::pin!(answered), std::pin::pin!(connection));
    match select(answered, driven).await {
        Either::Left((answered, _)) => answered,
        Either::Right((_, answered)) => answered.await,
    }
}

/// The beginning of what was said. What breaks off says nothing more.
async fn shown(mut body: Limited<hyper::body::Incoming>) -> Vec<u8> {
    let mut shown = Vec::new();
    loop {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    shown.extend_from_slice(&data);
                }
            }
            Some(Err(error)) if error.is::<LengthLimitError>() => {
                shown.extend_from_slice("…".as_bytes());
                return shown;
            }
            Some(Err(_)) | None => return shown,
        }
    }
}

fn judge(answer: &Answer) -> Tried {
    let said = String::from_utf8_lossy(&answer.body);
    let why = match said.trim() {
        "" => format!("it answered {}", answer.status),
        said => format!("it answered {}: {said}", answer.status),
    };
    match answer.status {
        200..=299 => Tried::Taken,
        408 | 425 | 429 | 500..=599 => Tried::Again {
            why,
            after: Duration::from_secs(answer.retry_after.unwrap_or(0)),
        },
        _ => Tried::Refused(why),
    }
}
