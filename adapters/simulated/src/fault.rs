//! What can be wrong with a release, one fault at a time, and how it is written.

use crate::nearest::hint;

/// The words by which faults begin.
pub(crate) const KINDS: [&str; 12] = [
    "crash",
    "unready",
    "errors",
    "latency",
    "late",
    "load",
    "leak",
    "one-way",
    "mute",
    "old-peers",
    "new-pairs",
    "dependency",
];

/// One way in which a release differs from the version before it, where its filters match.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// It exits at start.
    Crash,
    /// It runs, and its start-up self-check fails: it never gets ready.
    Unready,
    /// Own errors are this many times as many.
    Errors {
        /// The factor, at least 1.
        factor: f64,
    },
    /// Latency is this many times as long.
    Latency {
        /// The factor, at least 1.
        factor: f64,
    },
    /// Errors, from some age of the instance on.
    Late {
        /// The age in milliseconds.
        after_ms: u64,
        /// The factor, at least 1.
        factor: f64,
    },
    /// Errors, while the load of the day is high.
    Load {
        /// The share of the day's peak from which on it is bad, above 0 to 1.
        share: f64,
        /// The factor, at least 1.
        factor: f64,
    },
    /// Memory grows from half its limit; at the limit the instance is killed.
    Leak {
        /// Part of the limit per hour, above 0.
        per_hour: f64,
    },
    /// The way back is closed: where it has run, the old version crashes at start.
    OneWay,
    /// So much of what it counts does not arrive.
    Mute {
        /// The share of its hosts whose counts are lost, above 0 to 1.
        share: f64,
    },
    /// Calls from instances of the old version fail this many times as often, and only these see it.
    OldPeers {
        /// The factor, at least 1.
        factor: f64,
    },
    /// Calls between two instances of it fail this many times as often.
    NewPairs {
        /// The factor, at least 1.
        factor: f64,
    },
    /// A dependency that all share suffers with adoption: once all run it, everybody's errors are this many times as many.
    Dependency {
        /// The factor, at least 1.
        factor: f64,
    },
}

impl Fault {
    /// The word by which it is written.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Unready => "unready",
            Self::Errors { .. } => "errors",
            Self::Latency { .. } => "latency",
            Self::Late { .. } => "late",
            Self::Load { .. } => "load",
            Self::Leak { .. } => "leak",
            Self::OneWay => "one-way",
            Self::Mute { .. } => "mute",
            Self::OldPeers { .. } => "old-peers",
            Self::NewPairs { .. } => "new-pairs",
            Self::Dependency { .. } => "dependency",
        }
    }

    /// It says from when on requests go wrong; of these a release has one.
    pub(crate) const fn says_when(&self) -> bool {
        matches!(
            self,
            Self::Errors { .. } | Self::Latency { .. } | Self::Late { .. } | Self::Load { .. }
        )
    }
}

const EXAMPLES: &str = "good, same, crash, unready, errors=x5, latency=x2, late=30m:errors=x5, load=80%:errors=x5, leak=5%/h, \
                        one-way, mute=90%, old-peers=x5, new-pairs=x5, dependency=x5; several faults with +, all of it may \
                        end in @label=value";

/// A complaint: the part, and the fix.
pub(crate) type Complaint = (String, String);

/// Reads one fault, such as `errors=x5`.
pub(crate) fn parse_fault(head: &str) -> Result<Fault, Complaint> {
    let (kind, argument) = match head.split_once('=') {
        Some((kind, argument)) => (kind.trim(), Some(argument.trim())),
        None => (head, None),
    };
    match (kind, argument) {
        ("crash", None) => Ok(Fault::Crash),
        ("unready", None) => Ok(Fault::Unready),
        ("one-way", None) => Ok(Fault::OneWay),
        ("good" | "same" | "crash" | "unready" | "one-way", Some(_)) => {
            Err((format!("`{kind}` takes no argument"), format!("write just `{kind}`")))
        }
        ("good" | "same", None) => Err((
            format!("`{kind}` has no faults beside it"),
            format!("leave `{kind}` out, or the faults"),
        )),
        ("mute", Some(a)) => Ok(Fault::Mute { share: parse_share(a)? }),
        ("old-peers", Some(a)) => Ok(Fault::OldPeers { factor: factor(a)? }),
        ("new-pairs", Some(a)) => Ok(Fault::NewPairs { factor: factor(a)? }),
        ("dependency", Some(a)) => Ok(Fault::Dependency { factor: factor(a)? }),
        ("errors", Some(a)) => Ok(Fault::Errors { factor: factor(a)? }),
        ("latency", Some(a)) => Ok(Fault::Latency { factor: factor(a)? }),
        ("leak", Some(a)) => Ok(Fault::Leak { per_hour: leak(a)? }),
        ("late", None) => Ok(Fault::Late {
            after_ms: 30 * 60_000,
            factor: 5.0,
        }),
        ("late", Some(a)) => {
            let (age, rest) = a.split_once(':').map_or((a, None), |(age, rest)| (age, Some(rest)));
            Ok(Fault::Late {
                after_ms: duration_ms(age.trim())?,
                factor: rest.map_or(Ok(5.0), errors_part)?,
            })
        }
        ("load", Some(a)) => {
            let Some((share, rest)) = a.split_once(':') else {
                return Err((
                    format!("`load={a}` does not say what happens then"),
                    "write load=80%:errors=x5".to_owned(),
                ));
            };
            Ok(Fault::Load {
                share: parse_share(share.trim())?,
                factor: errors_part(rest)?,
            })
        }
        ("errors" | "latency" | "leak" | "load" | "mute" | "old-peers" | "new-pairs" | "dependency", None) => {
            let example = match kind {
                "errors" => "errors=x5",
                "latency" => "latency=x2",
                "leak" => "leak=5%/h",
                "load" => "load=80%:errors=x5",
                "mute" => "mute=90%",
                "old-peers" => "old-peers=x5",
                "new-pairs" => "new-pairs=x5",
                _ => "dependency=x5",
            };
            Err((format!("`{kind}` needs to know how much"), format!("write {example}")))
        }
        _ => Err((
            format!(
                "`{kind}` is not a kind of release{}",
                hint(kind, KINDS.into_iter().chain(["good", "same"]))
            ),
            format!("write one of {EXAMPLES}"),
        )),
    }
}

fn errors_part(text: &str) -> Result<f64, Complaint> {
    match text.trim().split_once('=') {
        Some(("errors", a)) => factor(a.trim()),
        _ => Err((
            format!(
                "`{text}` is not errors=xN{}",
                hint(text.split('=').next().unwrap_or_default(), ["errors"])
            ),
            "write errors=x5 after the colon".to_owned(),
        )),
    }
}

fn factor(text: &str) -> Result<f64, Complaint> {
    text.strip_prefix('x')
        .and_then(|n| n.parse::<f64>().ok())
        .filter(|n| (1.0..=1e6).contains(n))
        .ok_or_else(|| {
            (
                format!("`{text}` is not a factor"),
                "write x and a number from 1 to 1000000, as in x5".to_owned(),
            )
        })
}

fn leak(text: &str) -> Result<f64, Complaint> {
    text.strip_suffix("%/h")
        .and_then(|n| n.parse::<f64>().ok())
        .filter(|n| (0.01..=10_000.0).contains(n))
        .map(|n| n / 100.0)
        .ok_or_else(|| {
            (
                format!("`{text}` is not a leak"),
                "write percent of the memory limit per hour from 0.01 on, as in 5%/h".to_owned(),
            )
        })
}

fn parse_share(text: &str) -> Result<f64, Complaint> {
    let number = match text.strip_suffix('%') {
        Some(n) => n.parse::<f64>().ok().map(|n| n / 100.0),
        None => text.parse::<f64>().ok(),
    };
    number.filter(|n| *n > 0.0 && *n <= 1.0).ok_or_else(|| {
        (
            format!("`{text}` is not a share"),
            "write a part of all above 0, as in 80% or 0.8".to_owned(),
        )
    })
}

fn duration_ms(text: &str) -> Result<u64, Complaint> {
    let complaint = || {
        (
            format!("`{text}` is not a duration"),
            "write a number and s, m, h or d, as in 90s, 30m, 2h".to_owned(),
        )
    };
    let unit = text.chars().next_back().ok_or_else(complaint)?;
    let scale: u64 = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return Err(complaint()),
    };
    let number = &text[..text.len() - unit.len_utf8()];
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(scale))
        .filter(|ms| *ms <= 365 * 86_400_000)
        .ok_or_else(complaint)
        .and_then(|ms| match ms {
            0 => Err((
                format!("`{text}` is not late"),
                "write errors=xN for errors from the beginning".to_owned(),
            )),
            ms => Ok(ms),
        })
}
