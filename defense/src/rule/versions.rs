//! `kind: versions`: which versions may run, beside which others.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::answer::{Answer, Judged, fresh, said};
use super::version::{Range, Version};
use super::{Ask, BuiltIn, Over, Rule, Wrong, judged};
use crate::finding::Code;
use crate::request::{Direction, Neighbour, Protocol, form};
use crate::verdict::UnknownReason;

/// Whether a tag that can be moved may stand for an artefact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tags {
    #[default]
    Refused,
    Allowed,
}

/// What an older version answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Downgrade {
    /// Not at all. A rollback is not meant: it goes back to what ran.
    #[default]
    Deny,
    NeedsPerson,
    Allow,
}

/// Conditions on the version a change goes to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Versions {
    /// Only these: `1.9.2`, `1.9.*`, `>=1.8, <2`. Absent: all.
    #[serde(default)]
    allow: Option<Vec<Written>>,
    /// Never these.
    #[serde(default)]
    deny: Vec<Written>,
    #[serde(default)]
    downgrade: Downgrade,
    /// Whether the artefact may be named by a tag alone. Default: refused, a tag can be moved.
    #[serde(default)]
    mutable_tags: Tags,
    /// How many minor versions neighbours may be apart.
    skew: Option<u64>,
    /// Whether the new version and each neighbour must understand what the other sends, so that each order of changes works,
    /// and the way back. The old version is one of the neighbours where old and new targets meet.
    #[serde(default)]
    compatible: bool,
    /// How old what the caller looked up may be, in milliseconds.
    #[serde(default = "hour", deserialize_with = "form::span::deserialize")]
    max_age: u64,
}

/// A range as it was written.
#[derive(Debug)]
struct Written {
    text: String,
    range: Range,
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match Range::parse(&text) {
            Some(range) => Ok(Self { text, range }),
            None => Err(D::Error::custom(format!(
                "`{text}` is not a range of versions; fix: write 1.9.2, 1.9.*, or comparisons such as `>=1.8, <2`"
            ))),
        }
    }
}

const fn hour() -> u64 {
    3_600_000
}

impl BuiltIn for Versions {
    const KIND: &'static str = "versions";

    fn check(&self) -> Result<(), Wrong> {
        let denied = |allowed: &Written| self.deny.iter().any(|denied| denied.text == allowed.text);
        match &self.allow {
            // None of none: that nothing is allowed, too.
            Some(allow) if allow.iter().all(denied) => Err(Wrong {
                field: "allow",
                what: "no version is left that may run".to_owned(),
                fix: "name one that is not denied, such as \"1.9.*\", or remove `allow`".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

impl Rule for Versions {
    fn judge(&self, ask: &Ask<'_>) -> Vec<Answer> {
        // Each condition is asked, even where another cannot tell: a clear no must not hide behind an unknown.
        let conditions = [Self::tag, Self::range, Self::older, Self::apart, Self::talk];
        conditions
            .iter()
            .flat_map(|condition| judged(condition(self, ask)))
            .collect()
    }
}

impl Versions {
    fn tag(&self, ask: &Ask<'_>) -> Judged {
        if self.mutable_tags == Tags::Allowed {
            return Ok(Vec::new());
        }
        let artefact = said(ask.request.change.artefact.as_ref(), "change.artefact")?;
        Ok(if has_digest(artefact) {
            Vec::new()
        } else {
            vec![Answer::deny(Code::VersionMutable).with("artefact", artefact)]
        })
    }

    fn range(&self, ask: &Ask<'_>) -> Judged {
        if self.allow.is_none() && self.deny.is_empty() {
            return Ok(Vec::new());
        }
        let to = &said(ask.request.change.versions.as_ref(), "change.versions")?.to;
        let mut answers = Vec::new();
        let mut unreadable = None;
        let mut clear = |has: Option<bool>| {
            has.unwrap_or_else(|| {
                unreadable = Some(Answer::unknown(UnknownReason::Unreadable, format!("version {to}")));
                false
            })
        };
        for written in self
            .deny
            .iter()
            .filter(|denied| clear(denied.range.has_by_any_name(to)))
        {
            answers.push(
                Answer::deny(Code::VersionDenied)
                    .with("version", to)
                    .with("range", &written.text),
            );
        }
        if let Some(allow) = &self.allow
            && !allow.iter().any(|allowed| clear(allowed.range.has(to)))
        {
            let ranges: Vec<&str> = allow.iter().map(|written| written.text.as_str()).collect();
            answers.push(
                Answer::deny(Code::VersionNotAllowed)
                    .with("version", to)
                    .with("range", ranges.join(" or ")),
            );
        }
        answers.extend(unreadable);
        Ok(answers)
    }

    fn older(&self, ask: &Ask<'_>) -> Judged {
        let change = &ask.request.change;
        let over = match self.downgrade {
            Downgrade::Allow => return Ok(Vec::new()),
            Downgrade::Deny => Over::Deny,
            Downgrade::NeedsPerson => Over::NeedsPerson,
        };
        if change.direction == Direction::Rollback {
            return Ok(Vec::new());
        }
        let versions = said(change.versions.as_ref(), "change.versions")?;
        Ok(if version(&versions.to)? < version(&versions.from)? {
            vec![
                over.answer(Code::VersionDowngrade, None)
                    .with("version", &versions.to)
                    .with("from", &versions.from),
            ]
        } else {
            Vec::new()
        })
    }

    fn apart(&self, ask: &Ask<'_>) -> Judged {
        let Some(skew) = self.skew else {
            return Ok(Vec::new());
        };
        let to = &said(ask.request.change.versions.as_ref(), "change.versions")?.to;
        let ours = version(to)?;
        self.beside(ask, |neighbour| {
            let apart = ours.minors_apart(&version(&neighbour.version)?);
            let too_far = || {
                Answer::hold(Code::VersionSkew, None)
                    .with("version", to)
                    .with("app", &neighbour.app)
                    .with("theirs", &neighbour.version)
                    .with("skew", skew)
            };
            let near = apart.is_some_and(|apart| apart <= skew);
            Ok((!near).then(too_far).into_iter().collect())
        })
    }

    fn talk(&self, ask: &Ask<'_>) -> Judged {
        if !self.compatible {
            return Ok(Vec::new());
        }
        let change = &ask.request.change;
        let ours = said(change.protocol.as_ref(), "change.protocol")?;
        let own = change.versions.as_ref().map_or(&change.id, |versions| &versions.to);
        self.beside(ask, |neighbour| {
            let name = format!("facts.neighbours[{}].protocol", neighbour.app);
            let theirs = said(neighbour.protocol.as_ref(), &name)?;
            let silent = |from: &str, to: &str, sender, reader| -> Vec<Answer> {
                let answer = |format| {
                    Answer::hold(Code::VersionProtocol, None)
                        .with("format", format)
                        .with("from", from)
                        .with("to", to)
                };
                unread(sender, reader).into_iter().map(answer).collect()
            };
            let mut answers = silent(own, &neighbour.app, ours, theirs);
            answers.extend(silent(&neighbour.app, own, theirs, ours));
            Ok(answers)
        })
    }

    /// What one condition says about each neighbour. Of one nobody may know enough, and another stand against it.
    fn beside(&self, ask: &Ask<'_>, condition: impl Fn(&Neighbour) -> Judged) -> Judged {
        let name = "facts.neighbours";
        let known = fresh(ask.request.facts.neighbours.as_ref(), name, self.max_age, ask.now_ms)?;
        let of = |neighbour: &Neighbour| {
            let seen = format!("{} {}", neighbour.app, neighbour.version);
            let answers = judged(condition(neighbour)).into_iter();
            answers.map(move |answer| answer.seen(name, known.at_ms, &seen))
        };
        Ok(known.value.iter().flat_map(of).collect())
    }
}

/// What one sends and the other does not understand.
fn unread<'p>(sender: &'p Protocol, reader: &Protocol) -> Vec<&'p String> {
    sender
        .writes
        .iter()
        .filter(|format| !reader.reads.contains(format))
        .collect()
}

fn version(text: &str) -> Result<Version, Answer> {
    Version::parse(text).ok_or_else(|| Answer::unknown(UnknownReason::Unreadable, format!("version {text}")))
}

/// Whether a reference ends with a digest of the content: `name@sha256:` and 64 hexadecimal digits, or `@sha512:` and 128.
fn has_digest(reference: &str) -> bool {
    let Some((_, digest)) = reference.rsplit_once('@') else {
        return false;
    };
    [("sha256:", 64), ("sha512:", 128)].iter().any(|(kind, digits)| {
        digest
            .strip_prefix(kind)
            .is_some_and(|hex| hex.len() == *digits && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    })
}
