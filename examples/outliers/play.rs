//! Plays a scenario in its mode and says what is done.

use std::collections::BTreeMap;

use serde::Serialize;
use unattended_selfheal::{
    Action, Ejection, EjectionCause, Ending, Envoy, EnvoyResult, GrpcA50, NodeIndex, Outcome, Reason, Record,
    RecordEvent as Happened, Replay, Standing, Step,
};

use super::scenario::{Config, Event, Host, Kind, Scenario, What};

/// One action, as a line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    /// Seconds.
    pub(crate) t: Seconds,
    pub(crate) host: String,
    pub(crate) action: &'static str,
    pub(crate) reason: String,
    /// By how much the base time is multiplied (envoy, grpc_a50); how often the host was isolated (native).
    pub(crate) multiplier: u64,
    /// Share of its usual calls, where that is what changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<f64>,
    /// For people: the numbers it rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// How things stand after the last event.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct State {
    #[serde(rename = "final")]
    pub(crate) last: bool,
    pub(crate) t: Seconds,
    pub(crate) mode: &'static str,
    /// Members that are out, in the order in which they joined.
    pub(crate) ejected: Vec<String>,
    /// How many these are.
    pub(crate) active: u64,
    pub(crate) hosts: BTreeMap<String, HostState>,
    /// By detector: how often it spoke, and how often that had an effect.
    pub(crate) detections: BTreeMap<String, Detections>,
    /// Detections that the cap left without effect.
    pub(crate) overflow: u64,
    /// Events of hosts that had left, and events that this mode knows nothing of.
    pub(crate) ignored: u64,
    /// When the next sweep is due; the clock of a detector that is off does not run.
    pub(crate) next_sweep: Option<Seconds>,
    /// Mean and threshold of the last comparison of success rates, in per cent.
    pub(crate) success_rate: Option<[f64; 2]>,
    pub(crate) local_origin_success_rate: Option<[f64; 2]>,
    /// Nobody is isolated just now, since most hosts got worse together.
    pub(crate) frozen: bool,
    /// What was decided beside the actions: freezes, thaws, holds, probes.
    pub(crate) notes: Vec<String>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct HostState {
    pub(crate) ejected: bool,
    pub(crate) multiplier: u64,
    pub(crate) weight: f64,
    pub(crate) standing: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Detections {
    pub(crate) detected: u64,
    pub(crate) enforced: u64,
}

/// Milliseconds that are written as seconds: `10`, `30.001`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) u64);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1_000) {
            serializer.serialize_u64(self.0 / 1_000)
        } else {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of a century are below 2^53")]
            serializer.serialize_f64(self.0 as f64 / 1_000.0)
        }
    }
}

/// Plays the scenario. `Err` is a fault of the scenario, and names the event.
pub(crate) fn play(scenario: &Scenario) -> Result<(Vec<Line>, State), String> {
    match &scenario.config {
        Config::Envoy(config) => {
            let envoy = Envoy::new(0, config.clone(), scenario.seed).map_err(|error| format!("config.{error}"))?;
            drive(EnvoyMode(envoy), scenario)
        }
        Config::Grpc(config) => {
            let grpc = GrpcA50::new(0, config.clone(), scenario.seed).map_err(|error| format!("config.{error}"))?;
            drive(GrpcMode(grpc), scenario)
        }
        Config::Native(policy) => {
            let replay = Replay::new((**policy).clone(), scenario.seed).map_err(|error| format!("config.{error}"))?;
            let native = Native {
                replay,
                out: Vec::new(),
                free: Vec::new(),
                joined: 0,
                ignored: 0,
            };
            drive(native, scenario)
        }
    }
}

/// What the modes have in common.
trait Mode {
    fn add(&mut self, at_ms: u64, capacity: Option<f64>, said: &mut Said) -> Result<NodeIndex, String>;
    fn remove(&mut self, at_ms: u64, node: NodeIndex, said: &mut Said) -> Result<(), String>;
    fn happen(&mut self, at_ms: u64, node: NodeIndex, kind: Kind, times: u32, said: &mut Said) -> Result<(), String>;
    fn tick(&mut self, at_ms: u64, said: &mut Said) -> Result<(), String>;
    fn configure(&mut self, at_ms: u64, config: &Config, said: &mut Said) -> Result<(), String>;
    fn finish(&mut self, said: &mut Said, state: &mut State);
    fn host(&self, at_ms: u64, node: NodeIndex) -> HostState;
}

/// Names of hosts by number, and what was said so far.
#[derive(Debug, Default)]
struct Said {
    names: Vec<String>,
    lines: Vec<Line>,
    notes: Vec<String>,
    detections: BTreeMap<String, Detections>,
}

fn drive(mut mode: impl Mode, scenario: &Scenario) -> Result<(Vec<Line>, State), String> {
    let mut said = Said::default();
    // Names of members, in the order in which they joined, with their numbers.
    let mut members: Vec<(String, NodeIndex)> = Vec::new();
    let join = |mode: &mut dyn Mode, at_ms: u64, name: &str, capacity, members: &mut Vec<_>, said: &mut Said| {
        let node = mode.add(at_ms, capacity, said)?;
        let place = node.0 as usize;
        if said.names.len() <= place {
            said.names.resize(place + 1, String::new());
        }
        name.clone_into(&mut said.names[place]);
        members.push((name.to_owned(), node));
        Ok::<(), String>(())
    };
    for Host { name, capacity } in &scenario.hosts {
        join(&mut mode, 0, name, *capacity, &mut members, &mut said)?;
    }
    let (mut now_ms, mut ignored) = (0, 0);
    for Event { at_ms, place, what } in &scenario.events {
        now_ms = *at_ms;
        let fault = |error: String| format!("events[{place}]: {error}");
        match what {
            What::Tick => mode.tick(now_ms, &mut said).map_err(fault)?,
            What::Config(config) => mode.configure(now_ms, config, &mut said).map_err(fault)?,
            What::Host { host, kind, times } => {
                let member = members.iter().position(|(name, _)| name == host);
                match (member, *kind) {
                    (Some(_), Kind::Add { .. }) => {
                        return Err(fault(format!("host `{host}` is there already; fix: remove it before")));
                    }
                    (None, Kind::Add { capacity }) => {
                        join(&mut mode, now_ms, host, capacity, &mut members, &mut said).map_err(fault)?;
                    }
                    (Some(member), Kind::Remove) => {
                        let (_, node) = members.remove(member);
                        mode.remove(now_ms, node, &mut said).map_err(fault)?;
                    }
                    (Some(member), kind) => {
                        let node = members[member].1;
                        mode.happen(now_ms, node, kind, *times, &mut said).map_err(fault)?;
                    }
                    // It has left; its last answers may still come in.
                    (None, _) => ignored += 1,
                }
            }
        }
    }
    let mut state = State {
        last: true,
        t: Seconds(now_ms),
        ..State::default()
    };
    mode.finish(&mut said, &mut state);
    state.ignored += ignored;
    for (name, node) in members {
        let host = mode.host(now_ms, node);
        if host.ejected {
            state.ejected.push(name.clone());
        }
        state.hosts.insert(name, host);
    }
    state.active = state.ejected.len() as u64;
    state.detections = said.detections;
    state.notes = said.notes;
    Ok((said.lines, state))
}

/// A cause or a reason by its name in files.
fn named(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

impl Said {
    fn name(&self, node: NodeIndex) -> String {
        self.names.get(node.0 as usize).cloned().unwrap_or_default()
    }

    fn ejections(&mut self, ejections: &[Ejection]) {
        for ejection in ejections {
            if ejection.ejected {
                let counts = self.detections.entry(named(ejection.cause)).or_default();
                counts.detected += 1;
                counts.enforced += u64::from(ejection.enforced);
            }
            if !ejection.enforced {
                continue;
            }
            let why = ejection.rate.map(|rate| match ejection.cause {
                EjectionCause::SuccessRate | EjectionCause::SuccessRateLocalOrigin => format!(
                    "{} % succeeded, below {} %; the mean is {} %",
                    rate.host, rate.threshold, rate.mean
                ),
                _ => format!("{} % failed; the threshold is {} %", rate.host, rate.threshold),
            });
            self.lines.push(Line {
                t: Seconds(ejection.at_ms),
                host: self.name(ejection.node),
                action: if ejection.ejected { "eject" } else { "uneject" },
                reason: named(ejection.cause),
                multiplier: ejection.multiplier,
                weight: None,
                why,
            });
        }
    }
}

fn other_mode() -> String {
    "config: is of another mode; fix: keep the mode of the scenario".to_owned()
}

fn plain(ejected: bool, multiplier: u64) -> HostState {
    HostState {
        ejected,
        multiplier,
        weight: if ejected { 0.0 } else { 1.0 },
        standing: if ejected { "ejected" } else { "in_service" }.to_owned(),
    }
}

struct EnvoyMode(Envoy);

impl Mode for EnvoyMode {
    fn add(&mut self, _: u64, _: Option<f64>, _: &mut Said) -> Result<NodeIndex, String> {
        Ok(self.0.add())
    }

    fn remove(&mut self, _: u64, node: NodeIndex, _: &mut Said) -> Result<(), String> {
        self.0.remove(node).map_err(|error| error.to_string())
    }

    fn happen(&mut self, at_ms: u64, node: NodeIndex, kind: Kind, times: u32, said: &mut Said) -> Result<(), String> {
        let result = match kind {
            Kind::Http { code } => EnvoyResult::Http(code),
            Kind::ConnectFailure { code } => EnvoyResult::ConnectFailure(code),
            Kind::ConnectSuccess { code } => EnvoyResult::ConnectSuccess(code),
            Kind::LocalTimeout { code } => EnvoyResult::LocalTimeout(code),
            Kind::RequestFailure => EnvoyResult::RequestFailure(None),
            Kind::RequestSuccess => EnvoyResult::RequestSuccess(None),
            Kind::ActiveCheckPassed => {
                said.ejections(&self.0.active_check_passed(at_ms, node));
                return Ok(());
            }
            // Envoy knows no latency.
            Kind::Latency { .. } | Kind::Add { .. } | Kind::Remove => return Ok(()),
        };
        for _ in 0..times {
            said.ejections(&self.0.record(at_ms, node, result));
        }
        Ok(())
    }

    fn tick(&mut self, at_ms: u64, said: &mut Said) -> Result<(), String> {
        said.ejections(&self.0.sweep(at_ms));
        Ok(())
    }

    fn configure(&mut self, _: u64, config: &Config, _: &mut Said) -> Result<(), String> {
        let Config::Envoy(config) = config else {
            return Err(other_mode());
        };
        self.0.configure(config.clone()).map_err(|error| error.to_string())
    }

    fn finish(&mut self, _: &mut Said, state: &mut State) {
        state.mode = "envoy";
        state.overflow = self.0.overflows();
        state.next_sweep = Some(Seconds(self.0.next_sweep_ms()));
        state.success_rate = self
            .0
            .success_rate_threshold()
            .map(|(mean, threshold)| [mean, threshold]);
        state.local_origin_success_rate = self
            .0
            .local_success_rate_threshold()
            .map(|(mean, threshold)| [mean, threshold]);
    }

    fn host(&self, _: u64, node: NodeIndex) -> HostState {
        plain(self.0.is_ejected(node), self.0.multiplier(node))
    }
}

struct GrpcMode(GrpcA50);

impl Mode for GrpcMode {
    fn add(&mut self, _: u64, _: Option<f64>, _: &mut Said) -> Result<NodeIndex, String> {
        Ok(self.0.add())
    }

    fn remove(&mut self, _: u64, node: NodeIndex, _: &mut Said) -> Result<(), String> {
        self.0.remove(node).map_err(|error| error.to_string())
    }

    fn happen(&mut self, _: u64, node: NodeIndex, kind: Kind, times: u32, _: &mut Said) -> Result<(), String> {
        let failed = |failed| if failed { Outcome::Failure } else { Outcome::Success };
        let outcome = match kind {
            // Below 100 it is a gRPC status, of which only 0 is a success.
            Kind::Http { code: code @ 0..100 } => failed(code != 0),
            Kind::Http { code } => failed((500..600).contains(&code)),
            // The caller's deadline ended the call: a failed call like any other.
            Kind::LocalTimeout { code } => failed(code.is_none_or(|code| (500..600).contains(&code))),
            Kind::RequestFailure => Outcome::Failure,
            Kind::RequestSuccess => Outcome::Success,
            // gRPC counts calls, and these are none.
            Kind::ConnectFailure { .. }
            | Kind::ConnectSuccess { .. }
            | Kind::Latency { .. }
            | Kind::ActiveCheckPassed
            | Kind::Add { .. }
            | Kind::Remove => return Ok(()),
        };
        (0..times).for_each(|_| self.0.record(node, outcome));
        Ok(())
    }

    fn tick(&mut self, at_ms: u64, said: &mut Said) -> Result<(), String> {
        said.ejections(&self.0.sweep(at_ms));
        Ok(())
    }

    fn configure(&mut self, at_ms: u64, config: &Config, said: &mut Said) -> Result<(), String> {
        let Config::Grpc(config) = config else {
            return Err(other_mode());
        };
        let ejections = self.0.configure(at_ms, config.clone());
        said.ejections(&ejections.map_err(|error| error.to_string())?);
        Ok(())
    }

    fn finish(&mut self, _: &mut Said, state: &mut State) {
        state.mode = "grpc_a50";
        state.overflow = self.0.unenforced();
        state.next_sweep = self.0.next_sweep_ms().map(Seconds);
    }

    fn host(&self, _: u64, node: NodeIndex) -> HostState {
        plain(self.0.is_ejected(node), self.0.multiplier(node))
    }
}

struct Native {
    replay: Replay,
    /// Hosts that nothing goes to, by number: an action that ends that is an `uneject`.
    out: Vec<bool>,
    /// Numbers of hosts that have left; the detector gives out the smallest again.
    free: Vec<u32>,
    joined: u32,
    ignored: u64,
}

impl Native {
    fn play(&mut self, at_ms: u64, node: NodeIndex, event: Happened, said: &mut Said) -> Result<(), String> {
        let actions = self.replay.play(&Record::new(at_ms, node, event));
        self.say(&actions.map_err(|error| error.to_string())?, said);
        Ok(())
    }

    fn say(&mut self, actions: &[Action], said: &mut Said) {
        for action in actions {
            let Some(node) = action
                .node
                .filter(|_| matches!(action.step, Step::Isolate { .. } | Step::Weigh { .. } | Step::Restore))
            else {
                said.notes.push(action.to_string());
                continue;
            };
            let place = node.0 as usize;
            if self.out.len() <= place {
                self.out.resize(place + 1, false);
            }
            let was_out = self.out[place];
            let (what, weight) = match action.step {
                Step::Isolate { .. } => ("eject", None),
                Step::Weigh { weight_permille } => {
                    let weight = Some(f64::from(weight_permille) / 1_000.0);
                    (if was_out { "uneject" } else { "weight" }, weight)
                }
                _ => (if was_out { "uneject" } else { "weight" }, Some(1.0)),
            };
            self.out[place] = what == "eject";
            if what == "eject" {
                let counts = said.detections.entry(named(action.reason)).or_default();
                counts.detected += 1;
                counts.enforced += u64::from(action.enforced);
            }
            if action.reason == Reason::CommonCause {
                continue;
            }
            let line = Line {
                t: Seconds(action.at_ms),
                host: said.name(node),
                action: what,
                reason: named(action.reason),
                multiplier: u64::from(action.multiplier),
                weight,
                why: Some(action.to_string()),
            };
            said.lines.push(line);
        }
    }
}

impl Mode for Native {
    fn add(&mut self, at_ms: u64, capacity: Option<f64>, said: &mut Said) -> Result<NodeIndex, String> {
        self.free.sort_unstable_by(|a, b| b.cmp(a));
        let number = self.free.pop().unwrap_or(self.joined);
        self.joined = self.joined.max(number + 1);
        let node = NodeIndex(number);
        self.play(at_ms, node, Happened::Join { capacity }, said)?;
        Ok(node)
    }

    fn remove(&mut self, at_ms: u64, node: NodeIndex, said: &mut Said) -> Result<(), String> {
        self.free.push(node.0);
        self.play(at_ms, node, Happened::Leave, said)?;
        if let Some(out) = self.out.get_mut(node.0 as usize) {
            *out = false;
        }
        Ok(())
    }

    fn happen(&mut self, at_ms: u64, node: NodeIndex, kind: Kind, times: u32, said: &mut Said) -> Result<(), String> {
        let by_code = |code: u16| match code {
            500..600 => Ending::ServerError,
            _ => Ending::Answered,
        };
        let ending = match kind {
            Kind::Http { code } => by_code(code),
            Kind::ConnectFailure { code } => code.map_or(Ending::ConnectFailure, by_code),
            Kind::LocalTimeout { code } => code.map_or(Ending::TimedOut, by_code),
            Kind::ConnectSuccess { code: Some(code) } => by_code(code),
            Kind::RequestFailure => Ending::ServerError,
            Kind::RequestSuccess => Ending::Answered,
            Kind::Latency { us } => {
                let event = Happened::Latency {
                    latency_us: us,
                    calls: times,
                };
                return self.play(at_ms, node, event, said);
            }
            // A connection is no answer, and a check from elsewhere is not this traffic.
            Kind::ConnectSuccess { code: None } | Kind::ActiveCheckPassed | Kind::Add { .. } | Kind::Remove => {
                self.ignored += 1;
                return self.play(
                    at_ms,
                    node,
                    Happened::Calls {
                        ending: Ending::Answered,
                        calls: 0,
                    },
                    said,
                );
            }
        };
        self.play(at_ms, node, Happened::Calls { ending, calls: times }, said)
    }

    fn tick(&mut self, at_ms: u64, said: &mut Said) -> Result<(), String> {
        self.play(at_ms, NodeIndex(0), Happened::Tick, said)
    }

    fn configure(&mut self, at_ms: u64, config: &Config, said: &mut Said) -> Result<(), String> {
        let Config::Native(policy) = config else {
            return Err(other_mode());
        };
        self.tick(at_ms, said)?;
        self.replay
            .configure((**policy).clone())
            .map_err(|error| error.to_string())
    }

    fn finish(&mut self, said: &mut Said, state: &mut State) {
        let actions = self.replay.finish();
        self.say(&actions, said);
        state.mode = "native";
        state.ignored = self.ignored + self.replay.ignored();
        state.frozen = self.replay.detector().frozen();
    }

    fn host(&self, at_ms: u64, node: NodeIndex) -> HostState {
        let detector = self.replay.detector();
        let standing = detector.standing(node).ok();
        let weight = match standing {
            Some(Standing::Isolated { .. } | Standing::Probing) => 0.0,
            Some(Standing::SubHealthy { weight_permille } | Standing::Returning { weight_permille }) => {
                f64::from(weight_permille) / 1_000.0
            }
            _ => 1.0,
        };
        let _ = at_ms;
        HostState {
            ejected: matches!(standing, Some(Standing::Isolated { .. } | Standing::Probing)),
            multiplier: detector.multiplier(node).map_or(0, u64::from),
            weight,
            standing: match standing {
                Some(Standing::Healthy) => "healthy",
                Some(Standing::Suspect) => "suspect",
                Some(Standing::SubHealthy { .. }) => "sub_healthy",
                Some(Standing::Isolated { .. }) => "isolated",
                Some(Standing::Probing) => "probing",
                Some(Standing::Returning { .. }) => "returning",
                _ => "unknown",
            }
            .to_owned(),
        }
    }
}
