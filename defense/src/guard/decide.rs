//! May it happen now: every rule's word, joined.

use std::collections::BTreeMap;

use super::rules::{Found, only_holds};
use super::{Guard, HORIZON_MS, RANGE_REASON, RANGE_RULE};
use crate::conflict;
use crate::decision::Decision;
use crate::finding::{Code, Finding};
use crate::request::Request;
use crate::scope::Labels;
use crate::time::in_range;
use crate::verdict::{UnknownReason, Verdict};
use crate::window::{Block, Bound, Room, WindowKind, earliest_of_all};

impl Guard {
    /// May this happen now? `now_ms` is in unix milliseconds.
    pub fn decide(&self, request: &Request, now_ms: i64) -> Decision {
        let labels = Labels::with_facts(&request.scope, &request.facts);
        let digest = request.digest(&self.0.asked, now_ms);
        let known = self.0.vocabulary.look_up(&labels);
        let packs = self.0.by_pack_scope.meeting(&known).count();
        if !in_range(now_ms) {
            let finding = out_of_range(now_ms, &digest);
            return Decision {
                verdict: finding.verdict,
                findings: vec![finding],
                shadow: Vec::new(),
                next_feasible: None,
                packs,
                digest,
            };
        }
        let limit = now_ms + HORIZON_MS;
        let bounds = self.bounds(&known, Room::new(request.change.direction, request.need));
        let Found {
            counted: mut findings,
            mut shadow,
        } = self.ask_rules(request, &labels, &known, now_ms);
        findings.extend(conflict::findings(request, &labels));
        findings.extend(self.unruled(&labels, &known, request.phase));
        // When all but the windows would let it pass: none knows better than the latest, or one does not know.
        let floor_ms = findings
            .iter()
            .filter(|finding| !finding.verdict.may_start())
            .try_fold(now_ms, |floor_ms, finding| Some(floor_ms.max(finding.until?)));
        let blocks: Vec<(&Bound<'_>, Block)> = bounds
            .iter()
            .filter_map(|bound| Some((bound, bound.block(now_ms, limit)?)))
            .collect();
        // No start is feasible before each of them lets it pass; where none stands in the way, none need be asked again.
        let next_feasible = floor_ms.and_then(|floor_ms| {
            let mut untils = blocks.iter().map(|(_, block)| block.until);
            let floor_ms = untils.try_fold(floor_ms, |floor_ms, until| Some(floor_ms.max(until?)))?;
            if floor_ms == now_ms {
                return Some(now_ms);
            }
            earliest_of_all(&bounds, floor_ms, limit)
        });
        findings.extend(
            blocks
                .into_iter()
                .map(|(bound, block)| self.finding(bound, block, &labels)),
        );
        for findings in [&mut findings, &mut shadow] {
            only_holds(request.phase, findings);
            for finding in findings.iter_mut() {
                finding.input.clone_from(&digest);
            }
            findings.sort_by(|a, b| b.verdict.cmp(&a.verdict).then_with(|| a.rule.cmp(&b.rule)));
        }
        let verdict = findings
            .iter()
            .fold(Verdict::Allow, |joined, finding| joined.join(finding.verdict));
        Decision {
            verdict,
            findings,
            shadow,
            next_feasible,
            packs,
            digest,
        }
    }

    fn finding(&self, bound: &Bound<'_>, block: Block, labels: &Labels<'_>) -> Finding {
        let window = bound.window();
        let pack = &self.0.decoded.packs[window.pack];
        let mut params = BTreeMap::from([
            ("from_ms".to_owned(), block.from.to_string()),
            ("zone".to_owned(), window.zone.clone()),
        ]);
        if let Some(until) = block.until {
            params.insert("until_ms".to_owned(), until.to_string());
        }
        let code = match (bound.doubt(), window.kind, block.active) {
            (Some((UnknownReason::MissingLabel, label)), ..) => {
                params.insert("label".to_owned(), label.to_owned());
                Code::LabelMissing
            }
            (Some(_), ..) => Code::LabelMixed,
            (None, WindowKind::Protected, true) => Code::WindowProtected,
            (None, WindowKind::Protected, false) => Code::WindowProtectedRoom,
            (None, WindowKind::Change, true) => Code::WindowChange,
            (None, WindowKind::Change, false) => Code::WindowChangeRoom,
            (None, WindowKind::Freeze, true) => Code::FreezeActive,
            (None, WindowKind::Freeze, false) => Code::FreezeRoom,
        };
        Finding {
            code,
            params,
            rule: [&pack.name, "/", &window.id].concat(),
            version: pack.version.clone(),
            owner: window.owner.clone(),
            reason: window.reason_at(block.from),
            verdict: bound.verdict(block.until, labels.of_key(self.tier())),
            until: block.until,
            unknown: bound.doubt().map(|(reason, _)| reason),
            evidence: Vec::new(),
            input: String::new(),
        }
    }
}

fn out_of_range(now_ms: i64, digest: &str) -> Finding {
    Finding {
        code: Code::TimeRange,
        params: BTreeMap::from([("now_ms".to_owned(), now_ms.to_string())]),
        rule: format!("builtin/{RANGE_RULE}"),
        version: "1".to_owned(),
        owner: "the caller's clock".to_owned(),
        reason: RANGE_REASON.to_owned(),
        verdict: Verdict::Unknown(UnknownReason::TimeOutOfRange),
        until: None,
        unknown: Some(UnknownReason::TimeOutOfRange),
        evidence: Vec::new(),
        input: digest.to_owned(),
    }
}
