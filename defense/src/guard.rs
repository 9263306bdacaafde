//! The engine: all packs, and the questions one can ask of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::bound::{Block, Bound, Room, earliest_of_all};
use crate::conflict;
use crate::decision::{Blocker, Code, Decision, Finding, NextFeasible, Span};
use crate::digest::Digest;
use crate::pack::{self, KeyUse, PackErrors};
use crate::request::{ChangeKind, Need, Request};
use crate::rule::{Pack, Rule, RuleKind};
use crate::scope::{Labels, Scope};
use crate::selector::{Index, Match};
use crate::time::{DAY_MS, END_MS, FIRST_MS, in_range};
use crate::verdict::{UnknownReason, Verdict};

/// How far ahead the engine looks for a start, in milliseconds: 366 days.
pub const HORIZON_MS: i64 = 366 * DAY_MS;

/// The admission engine: an immutable set of packs. Cloning is cheap and shares them.
///
/// Every answer is a function of packs, question and `now`; nothing is remembered between two questions.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    packs: Vec<Pack>,
    /// Ascending by pack, within a pack by id.
    rules: Vec<Rule>,
    by_pack_scope: Index,
    by_rule: Index,
    keys: Vec<KeyUse>,
    digest: String,
}

impl Guard {
    /// A guard without any rule: it allows whatever does not conflict, and each decision says that no pack speaks.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Vec::new(), Vec::new(), Vec::new())
    }

    /// Reads one pack, or every `.yaml` and `.yml` file of a directory (not of its subdirectories).
    ///
    /// # Errors
    /// All faults of all files, and nothing is loaded; also when there is no pack at all, or when the directory
    /// holds something that is neither a pack, a `.md` page nor hidden, since a misnamed pack must not vanish.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PackErrors> {
        Self::load_all([path])
    }

    /// As [`load`](Self::load), from several files and directories together.
    ///
    /// # Errors
    /// As there, over all of them.
    pub fn load_all<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, PackErrors> {
        let mut packs = Vec::new();
        for path in paths {
            packs.extend(pack::read(path.as_ref())?);
        }
        Self::from_packs(packs)
    }

    /// Reads one pack from its text. `name` stands for the file in errors.
    ///
    /// # Errors
    /// All faults of the text.
    pub fn from_yaml(name: impl Into<String>, text: impl Into<String>) -> Result<Self, PackErrors> {
        Self::from_packs([(name.into(), text.into())])
    }

    /// Reads packs from pairs of file name and text. Their order does not matter.
    ///
    /// # Errors
    /// All faults of all texts, and nothing is loaded.
    pub fn from_packs<N: Into<String>, T: Into<String>>(
        packs: impl IntoIterator<Item = (N, T)>,
    ) -> Result<Self, PackErrors> {
        let sources = packs.into_iter().map(|(name, text)| (name.into(), text.into()));
        let (packs, rules, keys) = pack::decode_all(sources)?;
        Ok(Self::of(packs, rules, keys))
    }

    fn of(packs: Vec<Pack>, rules: Vec<Rule>, keys: Vec<KeyUse>) -> Self {
        let mut digest = Digest::new("packs/1");
        for pack in &packs {
            digest = digest.text(&pack.name).text(&pack.version);
        }
        Self(Arc::new(Rules {
            by_pack_scope: Index::new(packs.iter().map(|pack| &pack.scope)),
            by_rule: Index::new(rules.iter().map(|rule| &rule.selector)),
            digest: digest.hex(),
            packs,
            rules,
            keys,
        }))
    }

    /// Whether it has no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.rules.is_empty()
    }

    /// The digest of the packs in force, as it enters every decision.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// May this happen now? `now_ms` is in unix milliseconds.
    pub fn decide(&self, request: &Request, now_ms: i64) -> Decision {
        let labels = Labels::with_facts(&request.scope, &request.facts);
        let digest = request.digest(&self.0.digest, &labels, now_ms);
        let packs = self.speaking(&labels);
        if !in_range(now_ms) {
            let finding = out_of_range(now_ms);
            return Decision {
                verdict: finding.verdict,
                findings: vec![finding],
                next_feasible: None,
                packs,
                digest,
            };
        }
        let limit = now_ms + HORIZON_MS;
        let bounds = self.bounds(&labels, Room::new(request.kind, request.need));
        let mut findings = conflict::findings(request, &labels, now_ms);
        let conflict = !findings.is_empty();
        findings.extend(
            bounds
                .iter()
                .filter_map(|bound| bound.block(now_ms, limit).map(|block| self.finding(bound, block))),
        );
        findings.sort_by(|a, b| b.verdict.cmp(&a.verdict).then_with(|| a.rule.cmp(&b.rule)));
        let next_feasible = if findings.is_empty() {
            Some(now_ms)
        } else if conflict {
            None
        } else {
            earliest_of_all(&bounds, now_ms, limit)
        };
        let verdict = findings
            .iter()
            .fold(Verdict::Allow, |joined, finding| joined.join(finding.verdict));
        Decision {
            verdict,
            findings,
            next_feasible,
            packs,
            digest,
        }
    }

    /// Everything that closes the scope to a forward change at this instant, the longest first; empty when it
    /// is open. Rules that may apply, for all the scope says, are among them.
    #[must_use]
    pub fn why_not_now(&self, scope: &Scope, now_ms: i64) -> Vec<Blocker> {
        if !in_range(now_ms) {
            return vec![clock_blocker(now_ms)];
        }
        let limit = now_ms + HORIZON_MS;
        let mut blockers: Vec<Blocker> = self
            .bounds(&Labels::of(scope), Room::instant())
            .iter()
            .filter_map(|bound| bound.block(now_ms, limit).map(|block| self.blocker(bound, block)))
            .collect();
        blockers.sort_by(|a, b| {
            let end = |blocker: &Blocker| blocker.until.unwrap_or(i64::MAX);
            end(b)
                .cmp(&end(a))
                .then_with(|| (&a.pack, &a.id).cmp(&(&b.pack, &b.id)))
        });
        blockers
    }

    /// The earliest start of a forward change at or after `now_ms` with room for batch and rollback: the whole
    /// of it clear, except that the rollback may lie where rollbacks are granted.
    #[must_use]
    pub fn next_feasible(&self, scope: &Scope, now_ms: i64, need: Need) -> NextFeasible {
        let never = |blockers| NextFeasible::NeverWithin(HORIZON_MS, blockers);
        if !in_range(now_ms) {
            return never(vec![clock_blocker(now_ms)]);
        }
        let limit = now_ms + HORIZON_MS;
        let bounds = self.bounds(&Labels::of(scope), Room::new(ChangeKind::Forward, need));
        earliest_of_all(&bounds, now_ms, limit).map_or_else(
            || {
                never(
                    bounds
                        .iter()
                        .filter_map(|bound| bound.block(now_ms, limit).map(|block| self.blocker(bound, block)))
                        .collect(),
                )
            },
            NextFeasible::At,
        )
    }

    /// Every span in `[from_ms, until_ms)` in which a rule closes the scope, clipped to it; by start, then pack
    /// and id. Spans of different rules may overlap.
    #[must_use]
    pub fn spans(&self, scope: &Scope, from_ms: i64, until_ms: i64) -> Vec<Span> {
        let from_ms = from_ms.clamp(FIRST_MS, END_MS);
        let until_ms = until_ms.clamp(FIRST_MS, END_MS);
        let mut spans: Vec<Span> = self
            .bounds(&Labels::of(scope), Room::instant())
            .iter()
            .flat_map(|bound| {
                let rule = bound.rule();
                bound.closed(from_ms, until_ms).into_iter().map(|closed| Span {
                    from: closed.from,
                    until: closed.until,
                    id: rule.id.clone(),
                    pack: self.0.packs[rule.pack].name.clone(),
                    kind: rule.kind,
                    owner: rule.owner.clone(),
                    reason: rule.reason.clone(),
                    rollback: bound.rollback(),
                })
            })
            .collect();
        spans.sort_by(|a, b| (a.from, &a.pack, &a.id).cmp(&(b.from, &b.pack, &b.id)));
        spans
    }

    /// The label keys that packs select on, sorted: what a scope should name.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        self.0
            .keys
            .iter()
            .map(|used| used.key.as_str())
            .filter(move |key| last.replace(*key) != Some(*key))
    }

    /// Refuses packs that select on a label no target of the fleet has: such a window would never be known to
    /// apply. `app` is always known.
    ///
    /// # Errors
    /// One error for each file and unknown key, where it is first used, with the nearest known key.
    pub fn check_keys<K: AsRef<str>>(&self, known: &[K]) -> Result<(), PackErrors> {
        pack::check_keys(&self.0.keys, known)
    }

    fn bounds(&self, labels: &Labels<'_>, room: Room) -> Vec<Bound<'_>> {
        let candidates = self.0.by_rule.candidates(labels);
        Bound::collect(candidates.iter().map(|id| &self.0.rules[*id]), labels, room)
    }

    fn speaking(&self, labels: &Labels<'_>) -> usize {
        self.0
            .by_pack_scope
            .candidates(labels)
            .iter()
            .filter(|id| self.0.packs[**id].scope.matches(labels) != Match::No)
            .count()
    }

    fn finding(&self, bound: &Bound<'_>, block: Block) -> Finding {
        let rule = bound.rule();
        let pack = &self.0.packs[rule.pack];
        let mut params = BTreeMap::from([
            ("from_ms".to_owned(), block.from.to_string()),
            ("zone".to_owned(), rule.zone.clone()),
        ]);
        if let Some(until) = block.until {
            params.insert("until_ms".to_owned(), until.to_string());
        }
        let code = match (bound.doubt(), rule.kind, block.active) {
            (Some((UnknownReason::MissingLabel, label)), ..) => {
                params.insert("label".to_owned(), label.to_owned());
                Code::LabelMissing
            }
            (Some(_), ..) => Code::LabelMixed,
            (None, RuleKind::Protected, true) => Code::WindowProtected,
            (None, RuleKind::Protected, false) => Code::WindowProtectedRoom,
            (None, RuleKind::Change, true) => Code::WindowChange,
            (None, RuleKind::Change, false) => Code::WindowChangeRoom,
            (None, RuleKind::Freeze, true) => Code::FreezeActive,
            (None, RuleKind::Freeze, false) => Code::FreezeRoom,
        };
        Finding {
            code,
            params,
            rule: format!("{}/{}", pack.name, rule.id),
            version: pack.version.clone(),
            owner: rule.owner.clone(),
            reason: rule.reason.clone(),
            verdict: bound.verdict(block.until),
            until: block.until,
        }
    }

    fn blocker(&self, bound: &Bound<'_>, block: Block) -> Blocker {
        let rule = bound.rule();
        Blocker {
            id: rule.id.clone(),
            pack: self.0.packs[rule.pack].name.clone(),
            kind: rule.kind,
            owner: rule.owner.clone(),
            reason: rule.reason.clone(),
            from: block.from,
            until: block.until,
            missing_label: match bound.doubt() {
                Some((UnknownReason::MissingLabel, label)) => Some(label.to_owned()),
                _ => None,
            },
        }
    }
}

const RANGE_RULE: &str = "time.range";
const RANGE_REASON: &str = "no calendar is trusted outside 1970 to 2199";

fn out_of_range(now_ms: i64) -> Finding {
    Finding {
        code: Code::TimeRange,
        params: BTreeMap::from([("now_ms".to_owned(), now_ms.to_string())]),
        rule: format!("builtin/{RANGE_RULE}"),
        version: "1".to_owned(),
        owner: "the caller's clock".to_owned(),
        reason: RANGE_REASON.to_owned(),
        verdict: Verdict::Unknown(UnknownReason::TimeOutOfRange),
        until: None,
    }
}

fn clock_blocker(now_ms: i64) -> Blocker {
    Blocker {
        id: RANGE_RULE.to_owned(),
        pack: "builtin".to_owned(),
        kind: RuleKind::Freeze,
        owner: "the caller's clock".to_owned(),
        reason: RANGE_REASON.to_owned(),
        from: now_ms,
        until: None,
        missing_label: None,
    }
}
