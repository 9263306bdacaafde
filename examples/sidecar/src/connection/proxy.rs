//! What an HTTP request gets: the sidecar's own word, or the application's.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::io::Exchange;
use crate::clock::Stopwatch;
use crate::meters::Outcome;
use crate::options::{Protocol, Route};
use crate::state::Sidecar;
use crate::status;

/// From a request to the head of the application's answer.
const ANSWER: Duration = Duration::from_secs(30);

/// From a call to the application to its answer.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection to the application is kept for the next request.
const IDLE: Duration = Duration::from_secs(30);

/// Fields that are about one connection and not about the message (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 5] = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

const INSTANCE: HeaderName = HeaderName::from_static("x-sidecar-instance");
const FAULT: HeaderName = HeaderName::from_static("x-sidecar-fault");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Connections to the applications.
#[derive(Debug)]
pub(crate) struct Client(hyper_util::client::legacy::Client<HttpConnector, Passed<Incoming>>);

impl Client {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        Self(
            hyper_util::client::legacy::Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE)
                .pool_timer(TokioTimer::new())
                .build(connector),
        )
    }
}

/// A body, with the exchange that it belongs to.
#[derive(Debug)]
pub(super) struct Passed<B> {
    body: B,
    /// Counts the exchange when the body is dropped; not for requests.
    count: Option<Count>,
    _exchange: Exchange,
}

/// What is counted when an answer was passed on.
#[derive(Debug)]
struct Count {
    sidecar: Arc<Sidecar>,
    outcome: Outcome,
    own_us: u64,
    client: u64,
    ended: bool,
}

impl Drop for Count {
    fn drop(&mut self) {
        let outcome = if self.ended { self.outcome } else { Outcome::Client };
        self.sidecar.meters.active.fetch_sub(1, Ordering::Relaxed);
        self.sidecar.ended(Protocol::Http, outcome, self.own_us, self.client);
    }
}

/// The application's body, or the sidecar's own.
#[derive(Debug)]
pub(super) enum Answer {
    Passed(Passed<Incoming>),
    Own(Passed<Full<Bytes>>),
}

impl<B: Body<Data = Bytes> + Unpin> Body for Passed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(count) = &mut this.count {
            match &frame {
                None => count.ended = true,
                Some(Ok(_)) => count.ended = this.body.is_end_stream(),
                Some(Err(_)) => (count.ended, count.outcome) = (true, Outcome::Infrastructure),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Passed(body) => Pin::new(body).poll_frame(cx),
            Self::Own(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Passed(body) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Passed(body) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}

/// Tells clients apart in the episodes of the error metrics.
pub(super) fn hash(what: &impl Hash) -> u64 {
    // Without a seed: the same in each run.
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// The answer to a request.
pub(super) async fn answer(
    sidecar: Arc<Sidecar>,
    route: Route,
    client: u64,
    exchange: Exchange,
    request: Request<Incoming>,
) -> Response<Answer> {
    let mut response = match (request.method(), request.uri().path()) {
        (&Method::GET, "/identity") => identity(&sidecar, StatusCode::OK).map(|text| own(text, None, exchange)),
        (&Method::GET, "/healthz") => {
            let status = if sidecar.healthy() {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            identity(&sidecar, status).map(|text| own(text, None, exchange))
        }
        _ => pass(&sidecar, route, client, exchange, request).await,
    };
    let instance = HeaderValue::from(sidecar.options.instance);
    response.headers_mut().insert(INSTANCE, instance);
    response
}

/// Who answers.
fn identity(sidecar: &Sidecar, status: StatusCode) -> Response<String> {
    let mut response = Response::new(status::identity(sidecar).to_string());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// This answer is the connection's last one.
pub(super) fn say_close(response: &mut Response<Answer>) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}

fn own(text: String, count: Option<Count>, exchange: Exchange) -> Answer {
    Answer::Own(Passed {
        body: Full::from(text),
        count,
        _exchange: exchange,
    })
}

/// An answer that the sidecar makes since there is none of the application.
fn fault(
    status: StatusCode,
    fault: &'static str,
    mut count: Count,
    exchange: Exchange,
    why: String,
) -> Response<Answer> {
    count.ended = true;
    let mut response = Response::new(own(why, Some(count), exchange));
    *response.status_mut() = status;
    response.headers_mut().insert(FAULT, HeaderValue::from_static(fault));
    response
}

async fn pass(
    sidecar: &Arc<Sidecar>,
    route: Route,
    client: u64,
    exchange: Exchange,
    request: Request<Incoming>,
) -> Response<Answer> {
    sidecar.meters.active.fetch_add(1, Ordering::Relaxed);
    let mut count = Count {
        sidecar: Arc::clone(sidecar),
        outcome: Outcome::Own,
        own_us: 0,
        client,
        ended: false,
    };
    let watch = Stopwatch::start(&sidecar.waits);
    if !sidecar.work().await {
        count.own_us = watch.own_us(&sidecar.waits);
        let why = "a fault that was asked for\n".to_owned();
        return fault(StatusCode::INTERNAL_SERVER_ERROR, "own", count, exchange, why);
    }
    let Some(uri) = target(request.uri(), route) else {
        count.outcome = Outcome::Client;
        let why = "only requests of the form `METHOD /path` are passed on\n".to_owned();
        return fault(StatusCode::NOT_IMPLEMENTED, "client", count, exchange, why);
    };
    let (mut head, body) = request.into_parts();
    head.uri = uri;
    head.version = Version::HTTP_11;
    remove_hop_by_hop(&mut head.headers);
    if !head.headers.contains_key(HOST) {
        // HTTP/1.0 has none; the application's protocol wants one.
        if let Ok(host) = HeaderValue::from_str(&route.upstream.to_string()) {
            head.headers.insert(HOST, host);
        }
    }
    let body = Passed {
        body,
        count: None,
        _exchange: exchange.clone(),
    };
    count.own_us = watch.own_us(&sidecar.waits);
    let answered = timeout(ANSWER, sidecar.client.0.request(Request::from_parts(head, body))).await;
    let mut response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            count.outcome = Outcome::Infrastructure;
            let why = format!("{}: {error}\n", route.upstream);
            return fault(StatusCode::SERVICE_UNAVAILABLE, "infrastructure", count, exchange, why);
        }
        Err(_) => {
            count.outcome = Outcome::Infrastructure;
            let why = format!("{}: no answer within {} s\n", route.upstream, ANSWER.as_secs());
            return fault(StatusCode::GATEWAY_TIMEOUT, "infrastructure", count, exchange, why);
        }
    };
    remove_hop_by_hop(response.headers_mut());
    for (name, value) in &sidecar.config.lock().response_headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    count.outcome = if response.status().is_server_error() {
        Outcome::Business
    } else {
        Outcome::Good
    };
    response.map(|body| {
        count.ended = body.is_end_stream();
        Answer::Passed(Passed {
            body,
            count: Some(count),
            _exchange: exchange,
        })
    })
}

/// Where a request goes. `None`: it is not about a path here.
fn target(uri: &Uri, route: Route) -> Option<Uri> {
    let path = uri.path_and_query().filter(|path| path.as_str().starts_with('/'))?;
    Uri::builder()
        .scheme("http")
        .authority(route.upstream.to_string())
        .path_and_query(path.clone())
        .build()
        .ok()
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP).chain([&KEEP_ALIVE]) {
        headers.remove(name);
    }
}
