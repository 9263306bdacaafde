use std::net::SocketAddr;

use async_trait::async_trait;
use hyper::Method;
use rustix::process::Signal;
use unattended_upgrade::{IngressOrder, SelfCheck};

use crate::fill::fill;
use crate::http::{self, Door, Silence};
use crate::program::{Able, Answer, Filled, Place, Program, Told};
use crate::{Start, TemplateError};

/// An HTTP request to a process, in which `{name}` stands for a value as in [`Start`].
///
/// Written as `GET http://127.0.0.1:{port}/ready`, `POST unix:{admin}:/healthcheck/fail`, or without the method for `GET`.
/// An answer from 200 to 299 is a yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask(String);

impl Ask {
    /// The request that a text says.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Method, place and path of the request.
    pub(crate) fn fill(&self, field: &str, place: &Place) -> Result<(Method, Door, String), TemplateError> {
        let text = fill(field, &self.0, &place.values())?;
        let wrong = |problem: String| {
            let fix = "write `GET http://127.0.0.1:PORT/path` or `POST unix:SOCKET:/path`";
            TemplateError::new(field, problem, fix)
        };
        let (method, url) = text.split_once(' ').unwrap_or(("GET", &text));
        let method = match method {
            "GET" => Method::GET,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            other => return Err(wrong(format!("`{other}` is none of GET, POST, PUT"))),
        };
        if let Some(rest) = url.strip_prefix("unix:") {
            let (socket, path) = rest
                .split_once(":/")
                .filter(|(socket, _)| !socket.is_empty())
                .ok_or_else(|| wrong(format!("`{url}` has no socket and path")))?;
            return Ok((method, Door::Unix(socket.into()), format!("/{path}")));
        }
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(wrong(format!("`{url}` begins neither with `http://` nor with `unix:`")));
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address: SocketAddr = host
            .replace("localhost:", "127.0.0.1:")
            .parse()
            .map_err(|_| wrong(format!("`{host}` is no address and port")))?;
        Ok((method, Door::Tcp(address), format!("/{path}")))
    }

    async fn send(&self, field: &str, place: &Place, limit_ms: u64) -> Result<http::Reply, Silence> {
        let (method, door, path) = self
            .fill(field, place)
            .map_err(|error| Silence::NotAsked(error.to_string()))?;
        let reply = http::ask(&door, method, &path, Vec::new(), limit_ms).await?;
        match (reply.peer_pid, place.pid) {
            (Some(peer), Some(pid)) if peer != pid => Err(Silence::NotAsked(format!(
                "{door} is held by process {peer}, not by {pid}"
            ))),
            _ => Ok(reply),
        }
    }
}

/// A program that knows nothing of this adapter.
///
/// Its readiness is its word on itself: while it answers yes it is ready and counts as having passed its checks. Over a Unix
/// socket it is known to be the process itself that answers; over TCP whoever holds the port is believed.
///
/// The way of new traffic is whatever [`ingress`](Self::ingress) asks for. A closed way of a program
/// that was started anew is closed again before it is shown as ready, and opened at its time, by the adapter: one must run for
/// that. There are no slots, no probes and no configurations.
#[derive(Clone, Debug)]
pub struct Foreign {
    start: Start,
    ready: Ask,
    close: Option<Ask>,
    open: Option<Ask>,
    drain: Option<Ask>,
    binds: Vec<String>,
    overlap_ms: Option<u64>,
    ask_ms: u64,
}

impl Foreign {
    /// A program that is started so, and is ready when this request is answered with yes.
    pub const fn new(start: Start, ready: Ask) -> Self {
        Self {
            start,
            ready,
            close: None,
            open: None,
            drain: None,
            binds: Vec::new(),
            overlap_ms: None,
            ask_ms: 2_000,
        }
    }

    /// With requests that close and open the way of new traffic.
    #[must_use]
    pub fn ingress(mut self, close: Ask, open: Ask) -> Self {
        (self.close, self.open) = (Some(close), Some(open));
        self
    }

    /// With a request that is sent before the process is told to end.
    #[must_use]
    pub fn drain(mut self, drain: Ask) -> Self {
        self.drain = Some(drain);
        self
    }

    /// With a TCP address that it binds, as `127.0.0.1:{port}`: tried before it is first started.
    #[must_use]
    pub fn binds(mut self, address: impl Into<String>) -> Self {
        self.binds.push(address.into());
        self
    }

    /// With a hot restart of its own: a replacement in place starts the new process beside the old one, as `{epoch}` + 1, and
    /// the old one may go on for so long, in milliseconds, after the new one is ready; then it is told to end, if it has not
    /// ended by itself. The two are left to share their ports as they can. A cold replacement starts alone, as epoch 0.
    #[must_use]
    pub const fn overlaps(mut self, linger_ms: u64) -> Self {
        self.overlap_ms = Some(linger_ms);
        self
    }

    /// Sets how long a request may go unanswered, in milliseconds. Default 2 s.
    #[must_use]
    pub const fn ask_ms(mut self, ask_ms: u64) -> Self {
        self.ask_ms = ask_ms;
        self
    }
}

/// The address that a text says.
pub(crate) fn address(field: String, text: &str, place: &Place) -> Result<(String, SocketAddr), TemplateError> {
    let text = fill(&field, text, &place.values())?;
    let address = text.replace("localhost:", "127.0.0.1:").parse();
    let address = address.map_err(|_| {
        let problem = format!("`{text}` is no address and port");
        TemplateError::new(field.clone(), problem, "write an address as `127.0.0.1:8080`")
    })?;
    Ok((field, address))
}

#[async_trait]
impl Program for Foreign {
    fn able(&self) -> Able {
        Able {
            ingress: self.close.is_some() && self.open.is_some(),
            ..Able::default()
        }
    }

    fn command(&self, place: &Place) -> Result<Filled, TemplateError> {
        self.start.fill(place)
    }

    fn check(&self, place: &Place) -> Result<(), TemplateError> {
        self.ready.fill("ready", place)?;
        for (field, ask) in [("close", &self.close), ("open", &self.open), ("drain", &self.drain)] {
            if let Some(ask) = ask {
                ask.fill(field, place)?;
            }
        }
        Ok(())
    }

    fn binds(&self, place: &Place) -> Result<Vec<(String, SocketAddr)>, TemplateError> {
        let binds = self.binds.iter().enumerate();
        binds
            .map(|(at, text)| address(format!("binds[{at}]"), text, place))
            .collect()
    }

    fn overlaps(&self) -> Option<u64> {
        self.overlap_ms
    }

    async fn ask(&self, place: &Place) -> Result<Told, String> {
        let reply = self.ready.send("ready", place, self.ask_ms).await;
        let ready = (200..300).contains(&reply.map_err(|silence| silence.to_string())?.status);
        let self_check = if ready {
            SelfCheck::Passed
        } else {
            SelfCheck::Unreported
        };
        Ok(Told::plain(ready, self_check))
    }

    async fn ingress(&self, place: &Place, order: IngressOrder) -> Answer {
        let (field, ask) = match order {
            IngressOrder::Open => ("open", &self.open),
            IngressOrder::Close { .. } => ("close", &self.close),
        };
        let Some(ask) = ask else {
            return Answer::Failed("its template has no requests that close and open".to_owned());
        };
        match ask.send(field, place, self.ask_ms).await {
            Ok(reply) if (200..300).contains(&reply.status) => Answer::Applied,
            Ok(reply) => Answer::Failed(format!("`{field}` was answered with {}", reply.status)),
            Err(Silence::NotAsked(why)) => Answer::NotAsked(why),
            Err(Silence::Unanswered(why)) => Answer::Unknown(why),
        }
    }

    async fn drain(&self, place: &Place) -> Signal {
        if let Some(ask) = &self.drain {
            // What does not drain is ended all the same, after its grace.
            let _ = ask.send("drain", place, self.ask_ms).await;
        }
        Signal::TERM
    }
}
