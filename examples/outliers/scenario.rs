//! A scenario as it is written: JSON in, typed events out, or a complaint that names the field and the fix.

use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use unattended_selfheal::{EnvoyConfig, GrpcConfig, Policy};

/// Events in one scenario, copies counted: what a second or so can play.
const MOST_CALLS: u64 = 100_000_000;
/// The latest time, in seconds: 100 years.
const LATEST: f64 = 3_155_760_000.0;

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) config: Config,
    pub(crate) seed: u64,
    pub(crate) hosts: Vec<Host>,
    /// By time; those of one time in the order in which they were given.
    pub(crate) events: Vec<Event>,
}

/// The rules, by mode.
#[derive(Debug, Clone)]
pub(crate) enum Config {
    Envoy(EnvoyConfig),
    Grpc(GrpcConfig),
    Native(Box<Policy>),
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    /// Calls per second.
    pub(crate) capacity: Option<f64>,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) at_ms: u64,
    /// Where it is in the list, for complaints.
    pub(crate) place: usize,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// Of a host: its name and what it did, so many times.
    Host {
        host: String,
        kind: Kind,
        times: u32,
    },
    Config(Config),
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Http { code: u16 },
    ConnectFailure { code: Option<u16> },
    ConnectSuccess { code: Option<u16> },
    LocalTimeout { code: Option<u16> },
    RequestFailure,
    RequestSuccess,
    Latency { us: u64 },
    ActiveCheckPassed,
    Add { capacity: Option<f64> },
    Remove,
}

const KINDS: [&str; 12] = [
    "http",
    "connect_failure",
    "connect_success",
    "local_timeout",
    "request_failure",
    "request_success",
    "latency",
    "active_check_passed",
    "add",
    "remove",
    "config",
    "tick",
];

impl Scenario {
    pub(crate) fn parse(value: Value) -> Result<Self, String> {
        let mut top = Fields::of(value, "scenario")?;
        let mode = top.required("mode")?;
        let mode = mode.as_str().unwrap_or_default().to_owned();
        let config = match top.optional("config") {
            Some(value) => Config::parse(&mode, value, "config")?,
            None => Config::parse(&mode, Value::Object(Map::new()), "config")?,
        };
        let seed = match top.optional("seed") {
            None => 1,
            Some(value) => whole(&value, "seed", u64::MAX)?,
        };
        let hosts = hosts(top.required("hosts")?)?;
        let Value::Array(list) = top.required("events")? else {
            return Err("events: must be a list; fix: write [ ... ], if need be an empty one".to_owned());
        };
        top.nothing_else(&["mode", "config", "seed", "hosts", "events"])?;
        let mut events = Vec::with_capacity(list.len());
        let mut calls = 0_u64;
        for (place, value) in list.into_iter().enumerate() {
            let event = Event::parse(&mode, place, value)?;
            if let What::Host { times, .. } = event.what {
                calls += u64::from(times);
            }
            if calls > MOST_CALLS {
                return Err(format!(
                    "events[{place}].n: more than {MOST_CALLS} calls in all; fix: play a part of it"
                ));
            }
            events.push(event);
        }
        events.sort_by_key(|event| event.at_ms);
        let scenario = Self {
            config,
            seed,
            hosts,
            events,
        };
        scenario.check_hosts()?;
        Ok(scenario)
    }

    /// Every host of an event was in the list, or was added before.
    fn check_hosts(&self) -> Result<(), String> {
        let mut known: Vec<&str> = self.hosts.iter().map(|host| host.name.as_str()).collect();
        for event in &self.events {
            let What::Host { host, kind, .. } = &event.what else {
                continue;
            };
            if matches!(kind, Kind::Add { .. }) {
                known.push(host);
            } else if !known.contains(&host.as_str()) {
                return Err(format!(
                    "events[{}].host: `{host}` is not a host; fix: put it into hosts, or add it before: {}",
                    event.place,
                    known.join(", ")
                ));
            }
        }
        Ok(())
    }
}

fn hosts(value: Value) -> Result<Vec<Host>, String> {
    let Value::Array(list) = value else {
        return Err("hosts: must be a list of names; fix: write [\"h0\", \"h1\"]".to_owned());
    };
    let mut hosts: Vec<Host> = Vec::with_capacity(list.len());
    for (place, value) in list.into_iter().enumerate() {
        let at = format!("hosts[{place}]");
        let host = match value {
            Value::String(name) => Host { name, capacity: None },
            value @ Value::Object(_) => {
                let mut fields = Fields::of(value, &at)?;
                let name = fields.required("name")?;
                let name = name
                    .as_str()
                    .ok_or_else(|| format!("{at}.name: {name} is not a name; fix: write it in quotes"))?
                    .to_owned();
                let capacity = capacity(&mut fields)?;
                fields.nothing_else(&["name", "capacity"])?;
                Host { name, capacity }
            }
            other => return Err(format!("{at}: {other} is not a name; fix: write it in quotes")),
        };
        if hosts.iter().any(|known| known.name == host.name) {
            return Err(format!("{at}: `{}` is there twice; fix: name it once", host.name));
        }
        hosts.push(host);
    }
    Ok(hosts)
}

fn capacity(fields: &mut Fields) -> Result<Option<f64>, String> {
    let Some(value) = fields.optional("capacity") else {
        return Ok(None);
    };
    match value.as_f64().filter(|capacity| *capacity > 0.0) {
        Some(capacity) => Ok(Some(capacity)),
        None => Err(format!(
            "{}.capacity: {value} calls per second; fix: give a number above 0, or leave it out",
            fields.at
        )),
    }
}

impl Config {
    fn parse(mode: &str, value: Value, at: &str) -> Result<Self, String> {
        match mode {
            "envoy" => {
                let config: EnvoyConfig = typed(value, at)?;
                config.check().map_err(|error| format!("{at}.{error}"))?;
                Ok(Self::Envoy(config))
            }
            "grpc_a50" => {
                // Part of every configuration in use, and nothing to this policy.
                let mut value = value;
                if let Value::Object(fields) = &mut value {
                    fields.remove("childPolicy");
                }
                let config: GrpcConfig = typed(value, at)?;
                config.check().map_err(|error| format!("{at}.{error}"))?;
                Ok(Self::Grpc(config))
            }
            "native" => {
                let policy: Policy = typed(value, at)?;
                policy.check().map_err(|error| format!("{at}.{error}"))?;
                Ok(Self::Native(Box::new(policy)))
            }
            other => Err(format!(
                "mode: `{other}` is not one; fix: give \"envoy\", \"grpc_a50\" or \"native\""
            )),
        }
    }
}

/// A configuration. Each field is tried alone first, so that a complaint can name it; one that is null is left out.
fn typed<T: DeserializeOwned>(value: Value, at: &str) -> Result<T, String> {
    let Value::Object(mut fields) = value else {
        return Err(format!(
            "{at}: must be an object; fix: write {{ ... }}, if need be an empty one"
        ));
    };
    drop_nulls(&mut fields);
    for (name, value) in &fields {
        let alone = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        if let Err(error) = T::deserialize(alone) {
            let said = error.to_string();
            // Of a field below: the object it is in says which one.
            let below = value.as_object().and_then(|inner| {
                inner.iter().find(|(inner, value)| {
                    let only = Map::from_iter([((*inner).clone(), (*value).clone())]);
                    let alone = Value::Object(Map::from_iter([(name.clone(), Value::Object(only))]));
                    T::deserialize(alone).is_err()
                })
            });
            let path = below.map_or_else(|| format!("{at}.{name}"), |(inner, _)| format!("{at}.{name}.{inner}"));
            let fix = match said.split_once(", expected ") {
                // Of plain numbers serde tells the type only.
                Some((_, "u32" | "u64")) => "give a whole number".to_owned(),
                Some((_, "f64")) => "give a number".to_owned(),
                Some((_, "a boolean")) => "give true or false".to_owned(),
                Some((_, expected)) => format!("give {expected}"),
                None => "see docs/outliers.md".to_owned(),
            };
            let what = said.split(", expected ").next().unwrap_or_default();
            return Err(format!("{path}: {what}; fix: {fix}"));
        }
    }
    T::deserialize(Value::Object(fields)).map_err(|error| format!("{at}: {error}"))
}

fn drop_nulls(fields: &mut Map<String, Value>) {
    fields.retain(|_, value| !value.is_null());
    for value in fields.values_mut() {
        if let Value::Object(inner) = value {
            drop_nulls(inner);
        }
    }
}

impl Event {
    fn parse(mode: &str, place: usize, value: Value) -> Result<Self, String> {
        let at = format!("events[{place}]");
        let mut fields = Fields::of(value, &at)?;
        let at_ms = time(&fields.required("t")?, &format!("{at}.t"))?;
        let kind = fields.required("kind")?;
        let kind = kind.as_str().unwrap_or_default().to_owned();
        let what = match kind.as_str() {
            // Some name a host there, which changes nothing.
            "tick" => {
                fields.optional("host");
                What::Tick
            }
            "config" => What::Config(Config::parse(
                mode,
                fields.required("config")?,
                &format!("{at}.config"),
            )?),
            known if KINDS.contains(&known) => {
                let host = fields.required("host")?;
                let host = host
                    .as_str()
                    .ok_or_else(|| format!("{at}.host: {host} is not a name; fix: write it in quotes"))?
                    .to_owned();
                let times = match fields.optional("n") {
                    None => 1,
                    Some(value) => {
                        u32::try_from(whole(&value, &format!("{at}.n"), u64::from(u32::MAX))?).unwrap_or(u32::MAX)
                    }
                };
                let kind = Kind::parse(known, &at, &mut fields)?;
                What::Host { host, kind, times }
            }
            other => {
                return Err(format!(
                    "{at}.kind: `{other}` is not one; fix: give one of {}",
                    KINDS.join(", ")
                ));
            }
        };
        fields.nothing_else(&["t", "kind", "host", "n", "code", "ms", "config", "capacity"])?;
        Ok(Self { at_ms, place, what })
    }
}

impl Kind {
    fn parse(kind: &str, at: &str, fields: &mut Fields) -> Result<Self, String> {
        let mut code = || -> Result<Option<u16>, String> {
            let Some(value) = fields.optional("code") else {
                return Ok(None);
            };
            let code = whole(&value, &format!("{at}.code"), 999)?;
            Ok(u16::try_from(code).ok())
        };
        Ok(match kind {
            "http" => Self::Http {
                code: code()?
                    .ok_or_else(|| format!("{at}.code: is missing; fix: add the status, such as \"code\": 503"))?,
            },
            "connect_failure" => Self::ConnectFailure { code: code()? },
            "connect_success" => Self::ConnectSuccess { code: code()? },
            "local_timeout" => Self::LocalTimeout { code: code()? },
            "request_failure" => Self::RequestFailure,
            "request_success" => Self::RequestSuccess,
            "active_check_passed" => Self::ActiveCheckPassed,
            "add" => Self::Add {
                capacity: capacity(fields)?,
            },
            "remove" => Self::Remove,
            _ => {
                let ms = fields.required("ms")?;
                let us = ms.as_f64().map(|ms| ms * 1_000.0);
                let us = us
                    .filter(|us| (0.0..=LATEST * 1e6).contains(us))
                    .ok_or_else(|| format!("{at}.ms: {ms} is no latency; fix: give milliseconds, such as 12.5"))?;
                Self::Latency { us: rounded(us) }
            }
        })
    }
}

/// The fields of one object; what is taken is gone.
struct Fields {
    at: String,
    map: Map<String, Value>,
}

impl Fields {
    fn of(value: Value, at: &str) -> Result<Self, String> {
        match value {
            Value::Object(map) => Ok(Self { at: at.to_owned(), map }),
            other => Err(format!("{at}: {other} is not an object; fix: write {{ ... }}")),
        }
    }

    fn optional(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    fn required(&mut self, name: &str) -> Result<Value, String> {
        self.optional(name)
            .ok_or_else(|| format!("{}.{name}: is missing; fix: add \"{name}\"", self.at))
    }

    fn nothing_else(&self, known: &[&str]) -> Result<(), String> {
        let Some(name) = self.map.keys().next() else {
            return Ok(());
        };
        let mut text = format!("{}.{name}: ", self.at);
        let _ = if known.contains(&name.as_str()) {
            write!(text, "does not belong to this kind; fix: leave it out")
        } else {
            write!(
                text,
                "is not a field; fix: leave it out, or use one of {}",
                known.join(", ")
            )
        };
        Err(text)
    }
}

/// Seconds as a number or as `"10s"`, in milliseconds.
fn time(value: &Value, at: &str) -> Result<u64, String> {
    let text = value.as_str().and_then(|text| text.strip_suffix('s'));
    let seconds = value.as_f64().or_else(|| text.and_then(|text| text.parse().ok()));
    let seconds = seconds.filter(|seconds| (0.0..=LATEST).contains(seconds));
    seconds
        .map(|seconds| rounded(seconds * 1_000.0))
        .ok_or_else(|| format!("{at}: {value} is no time; fix: give seconds from 0 on, such as 10, 0.5 or \"10s\""))
}

fn whole(value: &Value, at: &str, most: u64) -> Result<u64, String> {
    let number = value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        ((0.0..=9e15).contains(&number) && number.fract().abs() <= 0.0).then(|| rounded(number))
    });
    number
        .filter(|&number| number <= most)
        .ok_or_else(|| format!("{at}: {value} is not a whole number from 0 to {most}; fix: give one"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the callers' numbers are not negative and far below 2^64"
)]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}
