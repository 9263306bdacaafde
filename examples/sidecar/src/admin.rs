//! The admin socket: HTTP and JSON for processes of the same user.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::geteuid;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use unattended_handover::Order;

use crate::files::Ingress;
use crate::state::{Asked, Event, Reply, Sidecar};
use crate::{config, ingress, status};

/// Longest order, in bytes.
const LONGEST: usize = 64 * 1024;

/// Most calls at once; who comes beyond waits.
const CALLS: usize = 64;

/// From a call to the whole of its request.
const REQUEST: Duration = Duration::from_secs(10);

/// From an order to the conductor's answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The socket with a path, removed when dropped if it is still its own.
#[derive(Debug)]
pub(crate) struct Admin {
    listener: StdListener,
    path: PathBuf,
    file: (u64, u64),
}

impl Admin {
    /// Opens it at `path`, for this user only. What a dead process left there is replaced.
    ///
    /// # Errors
    ///
    /// A living process is called there, the file is no socket, or what the system says.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        remove_if_dead(path)?;
        let named = |error: io::Error| io::Error::new(error.kind(), format!("--admin {}: {error}", path.display()));
        let listener = StdListener::bind(path).map_err(named)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let file = identity(path)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file,
        })
    }

    /// Answers calls to the end of the process.
    ///
    /// # Errors
    ///
    /// The runtime cannot poll the socket.
    pub(crate) fn serve(&self, sidecar: &Arc<Sidecar>) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        tokio::spawn(accept(Arc::clone(sidecar), listener));
        Ok(())
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // What cannot be removed now is replaced by the next one.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

fn remove_if_dead(path: &Path) -> io::Result<()> {
    let in_use = |what: &str| io::Error::new(io::ErrorKind::AddrInUse, format!("--admin {}: {what}", path.display()));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(in_use("there is a file that is no socket; name another path"));
        }
        Ok(_) => {}
    }
    match StdStream::connect(path) {
        Ok(_) => Err(in_use(
            "a living process is called there; name another path or end it first",
        )),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

async fn accept(sidecar: Arc<Sidecar>, listener: UnixListener) {
    let room = Arc::new(Semaphore::new(CALLS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                sidecar.log.say(format_args!("admin: a call was not taken: {error}"));
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let user = stream.peer_cred().map(|peer| peer.uid());
        if user.as_ref().ok() != Some(&geteuid().as_raw()) {
            sidecar.meters.strangers.fetch_add(1, Ordering::Relaxed);
            sidecar
                .log
                .say(format_args!("admin: user {user:?} called and was told nothing"));
            continue;
        }
        let sidecar = Arc::clone(&sidecar);
        tokio::spawn(async move {
            serve(sidecar, stream).await;
            drop(place);
        });
    }
}

async fn serve(sidecar: Arc<Sidecar>, stream: UnixStream) {
    let log = Arc::clone(&sidecar);
    let service = service_fn(move |request| {
        let sidecar = Arc::clone(&sidecar);
        async move { Ok::<_, Infallible>(answer(&sidecar, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        log.log.say(format_args!("admin: a call ended: {error}"));
    }
}

async fn answer(sidecar: &Arc<Sidecar>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let json = "application/json";
    match (request.method(), path.as_str()) {
        (&Method::GET, "/status") => text(StatusCode::OK, json, status::status(sidecar).to_string()),
        (&Method::GET, "/metrics") => text(StatusCode::OK, "text/plain; version=0.0.4", status::metrics(sidecar)),
        (&Method::GET, "/self-check") => match sidecar.report.lock().clone() {
            Some(report) => text(StatusCode::OK, json, report),
            None => said(&Reply::Retry {
                after_ms: 50,
                reason: "the self-check is not over".to_owned(),
            }),
        },
        (&Method::POST, "/ingress" | "/fence" | "/handover" | "/call" | "/config" | "/stop") => {
            let body = Limited::new(request.into_body(), LONGEST).collect();
            match timeout(REQUEST, body).await {
                Ok(Ok(body)) => match order(sidecar, &path, &body.to_bytes()).await {
                    Ok(reply) => said(&reply),
                    Err(error) => refused(StatusCode::BAD_REQUEST, &error),
                },
                Ok(Err(error)) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
                Err(late) => refused(StatusCode::REQUEST_TIMEOUT, &late.to_string()),
            }
        }
        (&Method::GET | &Method::POST, _) => refused(
            StatusCode::NOT_FOUND,
            "GET /status, /metrics, /self-check; POST /ingress, /fence, /call, /handover, /config, /stop",
        ),
        _ => refused(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST are answered"),
    }
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn refused(status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    let json = json!({ "answer": "failed", "reason": reason });
    text(status, "application/json", json.to_string())
}

fn said(reply: &Reply) -> Response<Full<Bytes>> {
    let (status, json) = match reply {
        Reply::Applied => (StatusCode::OK, json!({ "answer": "applied" })),
        Reply::AlreadyApplied => (StatusCode::OK, json!({ "answer": "already_applied" })),
        Reply::Stale { generation } => (
            StatusCode::CONFLICT,
            json!({ "answer": "stale", "generation": generation }),
        ),
        Reply::Retry { after_ms, reason } => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "answer": "retry", "after_ms": after_ms, "reason": reason }),
        ),
        Reply::Failed(reason) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({ "answer": "failed", "reason": reason }),
        ),
    };
    text(status, "application/json", json.to_string())
}

#[derive(Deserialize)]
#[serde(tag = "order", rename_all = "lowercase", deny_unknown_fields)]
enum IngressOrder {
    Open,
    Close { reopen_by_ms: u64 },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fence {
    generation: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    generation: u64,
    peer: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Handover {
    order: Step,
    generation: u64,
    /// Of use to who reads the order; the session is opened by a call.
    #[serde(default, rename = "peer")]
    _peer: Option<PathBuf>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    Offer,
    Accept,
    Quiesce,
    Migrate,
    Commit,
    Retire,
    Return,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    version: String,
    path: PathBuf,
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body: {error}"))
}

/// Carries an order out.
///
/// # Errors
///
/// The body cannot be understood; nothing has happened.
async fn order(sidecar: &Arc<Sidecar>, path: &str, body: &[u8]) -> Result<Reply, String> {
    let asked = match path {
        "/ingress" => {
            let wanted = match parse(body)? {
                IngressOrder::Open => Ingress::Open,
                IngressOrder::Close { reopen_by_ms } => Ingress::Closed { reopen_by_ms },
            };
            return Ok(ingress::order(sidecar, wanted).await);
        }
        "/config" => {
            let Push { version, path } = parse(body)?;
            return Ok(push(sidecar, version, path).await);
        }
        "/stop" => {
            sidecar.tell(Event::Stop);
            return Ok(Reply::Applied);
        }
        "/fence" => Asked::Fence(parse::<Fence>(body)?.generation),
        "/call" => {
            let Call { generation, peer } = parse(body)?;
            Asked::Call(generation, peer)
        }
        _ => {
            let Handover { order, generation, .. } = parse(body)?;
            let order = match order {
                Step::Offer => Order::Offer,
                Step::Accept => Order::Accept,
                Step::Quiesce => Order::Quiesce,
                Step::Migrate => Order::Migrate,
                Step::Commit => Order::Commit,
                Step::Retire => Order::Retire,
                Step::Return => Order::Return,
            };
            Asked::Order(generation, order)
        }
    };
    let (reply, answer) = oneshot::channel();
    sidecar.tell(Event::Asked(asked, reply));
    let failed = || Reply::Failed("this process is about to end".to_owned());
    Ok(match timeout(ANSWER, answer).await {
        Ok(answer) => answer.unwrap_or_else(|_| failed()),
        Err(late) => Reply::Retry {
            after_ms: 1_000,
            reason: late.to_string(),
        },
    })
}

/// Takes a configuration, or says why not.
async fn push(sidecar: &Arc<Sidecar>, version: String, path: PathBuf) -> Reply {
    if sidecar.config.lock().acknowledged.as_ref() == Some(&version) {
        return Reply::AlreadyApplied;
    }
    let (one, named) = (Arc::clone(sidecar), version.clone());
    let read = tokio::task::spawn_blocking(move || {
        if one.faults.config {
            return Err(config::REFUSES.to_owned());
        }
        let read = config::read(&path)?;
        let kept = read.keep(&one.options.dir, one.options.slot.as_str(), &named);
        Ok((read, kept))
    });
    match read.await.map_err(|error| error.to_string()).flatten() {
        Ok((read, Ok(()))) => {
            let owed = {
                let mut config = sidecar.config.lock();
                let owed = config.owed;
                config.take(version, read);
                owed
            };
            if owed {
                // It may be ready now.
                let checked = sidecar.view.lock().self_check.clone();
                sidecar.tell(Event::Checked(checked));
            }
            Reply::Applied
        }
        Ok((_, Err(error))) => Reply::Retry {
            after_ms: 100,
            reason: format!("configuration: {error}"),
        },
        Err(why) => {
            sidecar.config.lock().refuse(version, why.clone());
            Reply::Failed(why)
        }
    }
}
