use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use unattended_upgrade::{
    ConfigSeen, Generation, HandoverOrder, Ingress, IngressOrder, InstanceId, Moves, Pauses, Probe, SelfCheck, Version,
};

use crate::clock::now_ms;
use crate::fill::fill;
use crate::foreign::address;
use crate::http::{self, Door, Silence};
use crate::program::{Able, Answer, Filled, Place, Program, Told, nobody};
use crate::template::find;
use crate::{Start, TemplateError};

/// A sidecar that speaks this adapter's own protocol, as `examples/sidecar` does: an admin socket with `/status` and
/// orders, a doorbell for the hand-over, and a way that it opens by itself at its time.
///
/// Its command line is `PROGRAM ARGUMENTS… --target T --instance N --version V --slot a|b --dir DIR --admin PATH
/// [--passive] [--leftover-ms MS] [--http L=U]… [--tcp L=U]… [--framed L=U]… [--udp L=U]…`.
#[derive(Clone, Debug)]
pub struct Sidecar {
    start: Start,
    listeners: Vec<(&'static str, String)>,
    versions: Vec<(Version, Vec<String>)>,
    configs: Option<PathBuf>,
    ask_ms: u64,
    leftover_ms: u64,
}

impl Sidecar {
    /// A sidecar that is started so; what its protocol asks for is appended.
    pub const fn new(start: Start) -> Self {
        Self {
            start,
            listeners: Vec::new(),
            versions: Vec::new(),
            configs: None,
            ask_ms: 2_000,
            leftover_ms: 0,
        }
    }

    /// With a listener for HTTP, as `127.0.0.1:{port}=127.0.0.1:{upstream}`. The first one is where it is probed.
    #[must_use]
    pub fn http(self, listen: impl Into<String>) -> Self {
        self.listener("http", listen)
    }

    /// With a listener for opaque TCP.
    #[must_use]
    pub fn tcp(self, listen: impl Into<String>) -> Self {
        self.listener("tcp", listen)
    }

    /// With a listener for calls that begin with their length.
    #[must_use]
    pub fn framed(self, listen: impl Into<String>) -> Self {
        self.listener("framed", listen)
    }

    /// With a listener for UDP.
    #[must_use]
    pub fn udp(self, listen: impl Into<String>) -> Self {
        self.listener("udp", listen)
    }

    fn listener(mut self, kind: &'static str, listen: impl Into<String>) -> Self {
        self.listeners.push((kind, listen.into()));
        self
    }

    /// With arguments that one version is started with beside the others.
    #[must_use]
    pub fn version<T: Into<String>>(mut self, version: Version, arguments: impl IntoIterator<Item = T>) -> Self {
        self.versions
            .push((version, arguments.into_iter().map(Into::into).collect()));
        self
    }

    /// With a directory in which each configuration lies as `VERSION.json`.
    #[must_use]
    pub fn configs(mut self, directory: impl Into<PathBuf>) -> Self {
        self.configs = Some(directory.into());
        self
    }

    /// Sets how long it may leave a question unanswered, in milliseconds. Default 2 s.
    #[must_use]
    pub const fn ask_ms(mut self, ask_ms: u64) -> Self {
        self.ask_ms = ask_ms;
        self
    }

    /// Sets how long an instance that has left may serve on the connections that could not move, in milliseconds; the instance
    /// that serves then calls it for them, with its `--leftover-ms`. Default 0: they are cut when it leaves.
    ///
    /// Its slot is free for the next one meanwhile. What ends there at its time is in no receipt: the attempt is over by then.
    #[must_use]
    pub const fn leftover_ms(mut self, leftover_ms: u64) -> Self {
        self.leftover_ms = leftover_ms;
        self
    }

    async fn order(&self, place: &Place, path: &str, body: &Value) -> Answer {
        let door = Door::Unix(place.admin());
        let body = body.to_string().into_bytes();
        match http::ask(&door, Method::POST, path, body, self.ask_ms).await {
            Ok(reply) => answer(reply.status, &reply.body),
            Err(Silence::NotAsked(why)) => Answer::NotAsked(why),
            Err(Silence::Unanswered(why)) => Answer::Unknown(why),
        }
    }

    fn probed(&self, place: &Place) -> Result<Option<SocketAddr>, TemplateError> {
        let Some((_, text)) = self.listeners.iter().find(|(kind, _)| *kind == "http") else {
            return Ok(None);
        };
        let listen = text.split_once('=').map_or(text.as_str(), |(listen, _)| listen);
        address("http".to_owned(), listen, place).map(|(_, address)| Some(address))
    }
}

/// The answer to an order.
fn answer(status: u16, body: &[u8]) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Said {
        answer: String,
        reason: String,
        after_ms: u64,
    }
    let said: Said = serde_json::from_slice(body).unwrap_or_default();
    match (status, said.answer.as_str()) {
        (200, "applied") => Answer::Applied,
        (200, "already_applied") => Answer::AlreadyApplied,
        (409, "stale") => Answer::Stale,
        (503, "retry") => Answer::Retry {
            after_ms: said.after_ms.max(1),
        },
        (400 | 422, "failed") => Answer::Failed(said.reason),
        _ => Answer::Unknown(format!(
            "an answer that nobody knows: {status} {}",
            String::from_utf8_lossy(&body[..body.len().min(200)])
        )),
    }
}

#[derive(Deserialize)]
struct Status {
    schema: u32,
    instance: u64,
    version: String,
    generation: u64,
    ready: bool,
    self_check: Checked,
    ingress: Ingress,
    #[serde(default)]
    reopen_by_ms: Option<u64>,
    listeners: bool,
    accepting: bool,
    accepted: u64,
    connections: u32,
    active: u32,
    #[serde(default)]
    committed_generation: Option<u64>,
    retired: bool,
    session: bool,
    moves: StatusMoves,
    /// Nothing where nothing was ever pushed.
    config: Option<StatusConfig>,
}

#[derive(Deserialize)]
struct StatusMoves {
    moved: u32,
    declined: u32,
    cut: u32,
    lost: u32,
    bytes: u64,
    pauses: StatusPauses,
}

#[derive(Deserialize)]
struct StatusPauses {
    p50_us: u32,
    p99_us: u32,
    max_us: u32,
}

#[derive(Default, Deserialize)]
struct StatusConfig {
    acknowledged: Option<Version>,
    refused: Option<(Version, Arc<str>)>,
}

#[derive(Deserialize)]
struct Identity {
    instance: u64,
    version: String,
    self_check: Checked,
}

/// Its self-check, in its own words.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Checked {
    Unreported,
    Passed,
    Failed(Arc<str>),
}

impl From<Checked> for SelfCheck {
    fn from(checked: Checked) -> Self {
        match checked {
            Checked::Unreported => Self::Unreported,
            Checked::Passed => Self::Passed,
            Checked::Failed(check) => Self::Failed { check },
        }
    }
}

impl From<Status> for Told {
    fn from(status: Status) -> Self {
        let StatusMoves {
            moved,
            declined,
            cut,
            lost,
            bytes,
            pauses,
        } = status.moves;
        let pauses = Pauses {
            p50_us: pauses.p50_us,
            p99_us: pauses.p99_us,
            max_us: pauses.max_us,
        };
        let config = status.config.unwrap_or_default();
        Self {
            ready: status.ready,
            self_check: status.self_check.into(),
            ingress: Some(status.ingress),
            reopen_by_ms: status.reopen_by_ms,
            active: Some(status.active),
            listeners: status.listeners,
            accepting: status.accepting,
            accepted: Some(status.accepted),
            connections: Some(status.connections),
            // One that was started to serve says 0.
            committed: status.committed_generation.is_some_and(|generation| generation > 0),
            retired: status.retired,
            session: status.session,
            moves: Moves {
                moved,
                declined,
                cut,
                lost,
                bytes,
                pauses,
            },
            config: ConfigSeen {
                acknowledged: config.acknowledged,
                refused: config.refused,
            },
            generation: status.generation,
        }
    }
}

#[async_trait]
impl Program for Sidecar {
    /// One that is fit to serve polls what it holds by itself, as soon as it hears of the death.
    fn waits(&self, _: &Place, told: Option<&Told>) -> bool {
        told.is_some_and(|told| told.listeners && !told.accepting && !told.session && !told.is_verified())
    }

    fn leftover_ms(&self) -> u64 {
        self.leftover_ms
    }

    fn has_ports(&self, told: &Told) -> bool {
        told.listeners
    }

    fn able(&self) -> Able {
        Able {
            ingress: true,
            hand_over: true,
            config: self.configs.is_some(),
            probe: self.listeners.iter().any(|(kind, _)| *kind == "http"),
            ..Able::default()
        }
    }

    fn command(&self, place: &Place) -> Result<Filled, TemplateError> {
        let mut filled = self.start.fill(place)?;
        let values = place.values();
        for name in ["target", "instance", "version", "slot", "dir", "admin"] {
            filled.arguments.extend([format!("--{name}"), values[name].clone()]);
        }
        if self.leftover_ms > 0 {
            filled
                .arguments
                .extend(["--leftover-ms".to_owned(), self.leftover_ms.to_string()]);
        }
        if place.passive {
            filled.arguments.push("--passive".to_owned());
        }
        for (kind, text) in &self.listeners {
            filled
                .arguments
                .extend([format!("--{kind}"), fill(kind, text, &values)?]);
        }
        for (version, arguments) in &self.versions {
            if *version == place.version {
                for (at, text) in arguments.iter().enumerate() {
                    filled.arguments.push(fill(&format!("version[{at}]"), text, &values)?);
                }
            }
        }
        filled.program = find("program", &filled.program)?;
        Ok(filled)
    }

    fn check(&self, place: &Place) -> Result<(), TemplateError> {
        let values = place.values();
        for (version, arguments) in &self.versions {
            for (at, text) in arguments.iter().enumerate() {
                fill(&format!("version {version}[{at}]"), text, &values)?;
            }
        }
        for (kind, text) in &self.listeners {
            if !text.contains('=') {
                let problem = format!("`{text}` has no upstream");
                return Err(TemplateError::new(*kind, problem, "write `LISTEN=UPSTREAM`"));
            }
        }
        if let Some(directory) = &self.configs
            && !directory.is_dir()
        {
            let problem = format!("`{}` is no directory", directory.display());
            return Err(TemplateError::new(
                "configs",
                problem,
                "create it, and put `VERSION.json` files there",
            ));
        }
        // The kernel's bound for a Unix socket's path, its end included.
        let bytes = place.doorbell().as_os_str().len() + 10;
        if bytes >= 108 {
            let problem = format!(
                "its sockets in {} would have paths of {bytes} bytes",
                place.directory.display()
            );
            return Err(TemplateError::new(
                "directory",
                problem,
                "give a directory with a shorter path",
            ));
        }
        Ok(())
    }

    fn binds(&self, place: &Place) -> Result<Vec<(String, SocketAddr)>, TemplateError> {
        let tcp = self.listeners.iter().filter(|(kind, _)| *kind != "udp");
        tcp.map(|(kind, text)| {
            let listen = text.split_once('=').map_or(text.as_str(), |(listen, _)| listen);
            address((*kind).to_owned(), listen, place)
        })
        .collect()
    }

    async fn ask(&self, place: &Place) -> Result<Told, String> {
        let door = Door::Unix(place.admin());
        let reply = http::ask(&door, Method::GET, "/status", Vec::new(), self.ask_ms).await;
        let reply = reply.map_err(|silence| silence.to_string())?;
        let status: Status =
            serde_json::from_slice(&reply.body).map_err(|error| format!("{door}: /status: {error}"))?;
        if status.schema != 1 {
            return Err(format!(
                "{door}: /status has schema {}, and 1 is understood",
                status.schema
            ));
        }
        if status.instance != place.instance.0 || status.version != place.version.as_str() {
            let (instance, version) = (status.instance, status.version);
            return Err(format!("{door}: instance {instance} of {version} answers"));
        }
        Ok(status.into())
    }

    async fn ingress(&self, place: &Place, order: IngressOrder) -> Answer {
        let body = match order {
            IngressOrder::Open => json!({"order": "open"}),
            IngressOrder::Close { reopen_by_ms } => json!({"order": "close", "reopen_by_ms": reopen_by_ms}),
        };
        self.order(place, "/ingress", &body).await
    }

    async fn fence(&self, place: &Place, generation: Generation) -> Answer {
        self.order(place, "/fence", &json!({"generation": generation.0})).await
    }

    async fn hand_over(
        &self,
        order: HandoverOrder,
        generation: Generation,
        here: &Place,
        peer: Option<&Place>,
    ) -> Answer {
        if order == HandoverOrder::Offer {
            // The new process calls; a session that stands already is one.
            let Some(new) = peer else {
                return Answer::Failed("there is nobody to offer to".to_owned());
            };
            let call = json!({"generation": generation.0, "peer": here.doorbell()});
            let called = self.order(new, "/call", &call).await;
            if !called.is_done() {
                return called;
            }
        }
        let peer = peer.map(Place::doorbell);
        let body = json!({"order": order, "generation": generation.0, "peer": peer});
        let mut answer = self.order(here, "/handover", &body).await;
        if order != HandoverOrder::Offer {
            return answer;
        }
        // The old one may hear of the session a moment after the new one has called. It stands by now, so that an offer which
        // is put off is not one at which nothing was done.
        let until_ms = now_ms() + self.ask_ms;
        loop {
            match answer {
                Answer::Retry { after_ms } if now_ms() < until_ms => {
                    tokio::time::sleep(Duration::from_millis(after_ms.clamp(1, 100))).await;
                    answer = self.order(here, "/handover", &body).await;
                }
                Answer::Retry { .. } => {
                    return Answer::Unknown("the session stands, and the offer is put off again and again".to_owned());
                }
                Answer::NotAsked(words) => return Answer::Unknown(words),
                answer => return answer,
            }
        }
    }

    fn config_file(&self, _: &Place, version: &Version) -> Result<PathBuf, String> {
        let Some(directory) = &self.configs else {
            return Err("its template has no directory of configurations".to_owned());
        };
        if version.as_str().contains('/') || version.as_str().starts_with('.') {
            return Err(format!("`{version}` is no name of a configuration"));
        }
        let file = directory.join(format!("{version}.json"));
        if file.is_file() {
            return Ok(file);
        }
        Err(format!("{}: there is no such file", file.display()))
    }

    async fn config(&self, place: &Place, version: &Version) -> Answer {
        match self.config_file(place, version) {
            Ok(path) => {
                self.order(place, "/config", &json!({"version": version, "path": path}))
                    .await
            }
            Err(words) => Answer::NotAsked(words),
        }
    }

    async fn probe(&self, place: &Place) -> Probe {
        let Ok(Some(address)) = self.probed(place) else {
            return nobody();
        };
        let reply = http::ask(&Door::Tcp(address), Method::GET, "/identity", Vec::new(), self.ask_ms).await;
        let identity = reply
            .ok()
            .and_then(|reply| serde_json::from_slice::<Identity>(&reply.body).ok());
        identity.map_or_else(nobody, |identity| Probe {
            instance: Some(InstanceId(identity.instance)),
            version: Some(identity.version.as_str().into()),
            self_check: identity.self_check.into(),
        })
    }
}
