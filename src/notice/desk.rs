//! What is open, and what has to be said about it now. A pure machine: it is told what is so, and when.

use std::collections::{BTreeMap, VecDeque};

use crate::Question;

use super::{NoticeStage, Severity, Telling};

/// Warnings [of one among many](Matter::one_of_many) that may be open at once. What is more is not said by itself, since nobody reads
/// it. What is critical, and what is of the whole, is always said, however many teams have been warned before.
const MAX_OPEN: usize = 256;

/// For so long what is over is remembered, in case that its last word is lost with the run that says it: longer than any sending takes.
const LOST_MS: u64 = 3_600_000;

/// Something that people have to know as long as it is so.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matter {
    pub(crate) code: &'static str,
    /// What tells it apart from others of its code.
    pub(crate) detail: Option<String>,
    pub(crate) severity: Severity,
    /// It is of one among many, such as a team or a target, and not of the whole.
    pub(crate) one_of_many: bool,
    pub(crate) lanes: Vec<String>,
    pub(crate) owner: String,
    pub(crate) text: String,
    pub(crate) question: Option<Question>,
    pub(crate) otherwise: String,
    pub(crate) remedy: String,
}

impl Matter {
    /// One that concerns the whole, with nothing said of what would be otherwise.
    pub(crate) const fn new(code: &'static str, severity: Severity, text: String) -> Self {
        Self {
            code,
            detail: None,
            severity,
            one_of_many: false,
            lanes: Vec::new(),
            owner: String::new(),
            text,
            question: None,
            otherwise: String::new(),
            remedy: String::new(),
        }
    }

    /// Its key within the change.
    pub(crate) fn key(&self) -> String {
        match &self.detail {
            None => self.code.to_owned(),
            Some(detail) => format!("{}/{detail}", self.code),
        }
    }

    /// Enough of its kind may keep it from being said.
    fn is_bounded(&self) -> bool {
        self.one_of_many && self.severity < Severity::Critical
    }
}

/// What has to be said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) matter: Matter,
    pub(crate) stage: NoticeStage,
    pub(crate) raised_ms: u64,
}

#[derive(Clone, Debug)]
struct Open {
    matter: Matter,
    raised_ms: u64,
    /// Since when nobody is known to know of it.
    unknown_ms: u64,
    /// When it was said last.
    said_ms: u64,
    times: u32,
    /// Until when nobody need be told again.
    known_until_ms: Option<u64>,
    escalated: bool,
    /// What was said last may have been lost.
    again: bool,
}

impl Open {
    const fn new(matter: Matter, now_ms: u64) -> Self {
        Self {
            matter,
            raised_ms: now_ms,
            unknown_ms: now_ms,
            said_ms: now_ms,
            times: 1,
            known_until_ms: None,
            escalated: false,
            again: false,
        }
    }

    fn said(&self, stage: NoticeStage) -> Said {
        Said {
            matter: self.matter.clone(),
            stage,
            raised_ms: self.raised_ms,
        }
    }

    fn remind(&mut self, now_ms: u64) -> Said {
        (self.said_ms, self.again) = (now_ms, false);
        self.times = self.times.saturating_add(1);
        self.said(NoticeStage::Reminded { times: self.times })
    }

    /// What has to be said of a matter that is still so.
    fn pass(&mut self, now_ms: u64, telling: &Telling) -> Option<Said> {
        if self.known_until_ms.is_some_and(|until| now_ms < until) {
            return None;
        }
        let severity = self.matter.severity;
        // Whoever said that they knew has had their time.
        let known_ended = self.known_until_ms.take().is_some();
        if known_ended {
            self.unknown_ms = now_ms;
        }
        if !self.escalated && now_ms >= self.unknown_ms.saturating_add(telling.escalates_ms(severity)) {
            self.escalated = true;
            (self.said_ms, self.again) = (now_ms, false);
            self.times = self.times.saturating_add(1);
            let to = telling.escalate_to.clone();
            return Some(self.said(NoticeStage::Escalated { to }));
        }
        let due = known_ended || self.again || now_ms >= self.said_ms.saturating_add(telling.every_ms(severity));
        due.then(|| self.remind(now_ms))
    }
}

/// Everything that is open, by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desk {
    open: BTreeMap<String, Open>,
    /// What was resolved of late, and when. Of what is of one among many, at most [`MAX_OPEN`].
    over: VecDeque<(u64, Said)>,
    /// Of these it is to be said once more.
    over_again: Vec<Said>,
}

impl Desk {
    /// These matters are so now, and no others: what is new is raised, what is over resolved, and of the rest is said again
    /// what is due.
    pub(crate) fn reconcile(&mut self, matters: Vec<Matter>, now_ms: u64, telling: &Telling) -> Vec<Said> {
        let many = self.over.iter().filter(|(_, said)| said.matter.one_of_many).count();
        let mut many = many.saturating_sub(MAX_OPEN);
        self.over.retain(|(_, said)| {
            let goes = many > 0 && said.matter.one_of_many;
            many -= usize::from(goes);
            !goes
        });
        while let Some((at_ms, _)) = self.over.front()
            && at_ms.saturating_add(LOST_MS) < now_ms
        {
            self.over.pop_front();
        }
        let mut said = std::mem::take(&mut self.over_again);
        if matters.is_empty() && self.open.is_empty() {
            return said;
        }
        let mut still: BTreeMap<String, Matter> = BTreeMap::new();
        for matter in matters {
            still.entry(matter.key()).or_insert(matter);
        }
        self.open.retain(|key, open| {
            let so = still.contains_key(key);
            if !so {
                let over = open.said(NoticeStage::Resolved);
                self.over.push_back((now_ms, over.clone()));
                said.push(over);
            }
            so
        });
        let mut bounded = self.open.values().filter(|open| open.matter.is_bounded()).count();
        for (key, matter) in still {
            if let Some(open) = self.open.get_mut(&key) {
                let asked = |matter: &Matter| matter.question.as_ref().map(|question| question.id);
                if asked(&matter) != asked(&open.matter) {
                    // Another question of the same kind, asked as soon as the one before was answered.
                    *open = Open::new(matter, now_ms);
                    said.push(open.said(NoticeStage::Raised));
                    continue;
                }
                let worse = matter.severity > open.matter.severity;
                open.matter = matter;
                if worse {
                    (open.known_until_ms, open.unknown_ms, open.escalated) = (None, now_ms, false);
                    said.push(open.remind(now_ms));
                } else {
                    said.extend(open.pass(now_ms, telling));
                }
            } else if !matter.is_bounded() || bounded < MAX_OPEN {
                bounded += usize::from(matter.is_bounded());
                let open = Open::new(matter, now_ms);
                said.push(open.said(NoticeStage::Raised));
                self.open.insert(key, open);
            }
        }
        // Where more is said at once than can wait to be sent, it is the first that is lost.
        said.sort_by_key(|said| !said.matter.one_of_many);
        said
    }

    /// Somebody says that they know. Whether that was open.
    pub(crate) fn acknowledge(&mut self, key: &str, now_ms: u64, telling: &Telling) -> bool {
        let Some(open) = self.open.get_mut(key) else {
            return false;
        };
        open.known_until_ms = Some(now_ms.saturating_add(telling.acknowledged_ms));
        true
    }

    /// Another run takes over: what was last said may have been lost with the run before, so all that nobody is known to
    /// know of is said once more as soon as it turns out to be still so, and of what has just ended that it has.
    pub(crate) fn again(&mut self) {
        let over = self.over.iter().map(|(_, said)| said);
        let over = over.filter(|said| !self.open.contains_key(&said.matter.key()));
        self.over_again = over.cloned().collect();
        for open in self.open.values_mut() {
            open.again = true;
        }
    }

    /// Everything that is open.
    pub(crate) fn open(&self) -> impl Iterator<Item = Said> {
        self.open.values().map(|open| {
            open.said(match open.times {
                0 | 1 => NoticeStage::Raised,
                times => NoticeStage::Reminded { times },
            })
        })
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.open.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;
    const HOUR_MS: u64 = 60 * MINUTE_MS;

    fn matter(code: &'static str, severity: Severity) -> Matter {
        Matter {
            code,
            detail: None,
            severity,
            one_of_many: false,
            lanes: Vec::new(),
            owner: "li".to_owned(),
            text: "it is so".to_owned(),
            question: None,
            otherwise: String::new(),
            remedy: String::new(),
        }
    }

    /// What is said of a matter that is so from 0 on, minute by minute: minutes and stages.
    fn play(severity: Severity, hours: u64, telling: &Telling, known_at: Option<u64>) -> Vec<(u64, NoticeStage)> {
        let mut desk = Desk::default();
        let mut said = Vec::new();
        for minute in 0..=hours * 60 {
            let now_ms = minute * MINUTE_MS;
            if known_at == Some(minute) {
                assert!(desk.acknowledge("a.b", now_ms, telling));
            }
            let now = desk.reconcile(vec![matter("a.b", severity)], now_ms, telling);
            assert!(now.iter().all(|said| said.raised_ms == 0));
            said.extend(now.into_iter().map(|said| (minute, said.stage)));
        }
        said
    }

    #[test]
    fn it_is_said_again_until_somebody_knows_and_escalates_once() {
        let telling = Telling {
            escalate_to: Some("duty manager".to_owned()),
            ..Telling::default()
        };
        let escalated = NoticeStage::Escalated {
            to: telling.escalate_to.clone(),
        };
        let reminded = |times| NoticeStage::Reminded { times };
        assert_eq!(
            play(Severity::Critical, 2, &telling, None),
            [
                (0, NoticeStage::Raised),
                (15, reminded(2)),
                (30, reminded(3)),
                (45, reminded(4)),
                (60, escalated.clone()),
                (75, reminded(6)),
                (90, reminded(7)),
                (105, reminded(8)),
                (120, reminded(9))
            ]
        );
        let warned: Vec<u64> = play(Severity::Warning, 26, &telling, None)
            .into_iter()
            .map(|(minute, stage)| {
                assert_eq!(stage == escalated, minute == 24 * 60, "at {minute}");
                minute / 60
            })
            .collect();
        assert_eq!(warned, [0, 4, 8, 12, 16, 20, 24]);
        // Somebody knows: a day of quiet, then it is as if it had just come up.
        assert_eq!(
            play(Severity::Critical, 26, &telling, Some(20)),
            [
                (0, NoticeStage::Raised),
                (15, reminded(2)),
                (24 * 60 + 20, reminded(3)),
                (24 * 60 + 35, reminded(4)),
                (24 * 60 + 50, reminded(5)),
                (25 * 60 + 5, reminded(6)),
                (25 * 60 + 20, escalated),
                (25 * 60 + 35, reminded(8)),
                (25 * 60 + 50, reminded(9)),
            ]
        );
    }

    #[test]
    fn what_is_over_is_resolved_once_and_may_come_again() {
        let telling = Telling::default();
        let mut desk = Desk::default();
        let both = || vec![matter("a.b", Severity::Critical), matter("c.d", Severity::Warning)];
        let stages = |said: Vec<Said>| -> Vec<(&'static str, NoticeStage)> {
            said.into_iter().map(|said| (said.matter.code, said.stage)).collect()
        };
        let raised = NoticeStage::Raised;
        assert_eq!(
            stages(desk.reconcile(both(), 0, &telling)),
            [("a.b", raised.clone()), ("c.d", raised.clone())]
        );
        assert_eq!(desk.len(), 2);
        assert_eq!(stages(desk.reconcile(both(), 1, &telling)), []);
        let one = vec![matter("c.d", Severity::Warning)];
        assert_eq!(
            stages(desk.reconcile(one.clone(), 2, &telling)),
            [("a.b", NoticeStage::Resolved)]
        );
        assert_eq!(stages(desk.reconcile(one, 3, &telling)), []);
        assert!(!desk.acknowledge("a.b", 3, &telling), "it is not open");
        assert_eq!(stages(desk.reconcile(both(), 4, &telling)), [("a.b", raised)]);
        let all = stages(desk.reconcile(Vec::new(), 5, &telling));
        assert_eq!(all, [("a.b", NoticeStage::Resolved), ("c.d", NoticeStage::Resolved)]);
        assert_eq!(desk.len(), 0);
    }

    #[test]
    fn what_grows_worse_is_said_at_once_even_to_those_who_knew() {
        let telling = Telling::default();
        let mut desk = Desk::default();
        desk.reconcile(vec![matter("a.b", Severity::Warning)], 0, &telling);
        assert!(desk.acknowledge("a.b", 1, &telling));
        assert!(
            desk.reconcile(vec![matter("a.b", Severity::Warning)], 5 * HOUR_MS, &telling)
                .is_empty()
        );
        let worse = desk.reconcile(vec![matter("a.b", Severity::Critical)], 5 * HOUR_MS + 1, &telling);
        assert_eq!(worse.len(), 1);
        assert_eq!(worse[0].stage, NoticeStage::Reminded { times: 2 });
        assert_eq!(worse[0].matter.severity, Severity::Critical);
    }

    #[test]
    fn another_run_says_again_what_nobody_is_known_to_know() {
        let telling = Telling::default();
        let mut desk = Desk::default();
        desk.reconcile(
            vec![matter("a.b", Severity::Critical), matter("c.d", Severity::Warning)],
            0,
            &telling,
        );
        assert!(desk.acknowledge("c.d", 0, &telling));
        desk.again();
        let both = || vec![matter("a.b", Severity::Critical), matter("c.d", Severity::Warning)];
        let again = desk.reconcile(both(), MINUTE_MS, &telling);
        assert_eq!(again.len(), 1);
        assert_eq!((again[0].matter.code, again[0].raised_ms), ("a.b", 0));
        assert_eq!(again[0].stage, NoticeStage::Reminded { times: 2 });
        // Nor is it said twice: the next time counts from here.
        assert!(desk.reconcile(both(), 15 * MINUTE_MS, &telling).is_empty());
        assert_eq!(desk.reconcile(both(), 16 * MINUTE_MS, &telling).len(), 1);
        // What is over when the next run looks is not said again, but that it is over: by the run after that, too, within an hour.
        desk.again();
        let over = desk.reconcile(Vec::new(), 17 * MINUTE_MS, &telling);
        let is_over = |said: &[Said]| said.len() == 2 && said.iter().all(|said| said.stage == NoticeStage::Resolved);
        assert!(is_over(&over), "{over:?}");
        assert!(desk.reconcile(Vec::new(), 18 * MINUTE_MS, &telling).is_empty());
        desk.again();
        let over = desk.reconcile(Vec::new(), 19 * MINUTE_MS, &telling);
        assert!(is_over(&over), "{over:?}");
        // What has come up again since is not.
        assert_eq!(desk.reconcile(both(), 20 * MINUTE_MS, &telling).len(), 2);
        desk.again();
        let again = desk.reconcile(both(), 21 * MINUTE_MS, &telling);
        assert!(
            again.iter().all(|said| said.stage != NoticeStage::Resolved),
            "{again:?}"
        );
        assert_eq!(desk.reconcile(Vec::new(), 22 * MINUTE_MS, &telling).len(), 2);
        // Nor is what was over long before.
        assert!(desk.reconcile(Vec::new(), 3 * HOUR_MS, &telling).is_empty());
        desk.again();
        assert!(desk.reconcile(Vec::new(), 3 * HOUR_MS + 1, &telling).is_empty());
    }

    /// The same of so many teams.
    fn of_teams(code: &'static str, severity: Severity, count: usize) -> Vec<Matter> {
        let of_team = |at: usize| Matter {
            detail: Some(format!("{at:04}")),
            one_of_many: true,
            ..matter(code, severity)
        };
        (0..count).map(of_team).collect()
    }

    #[test]
    fn the_desk_has_a_bound_and_keeps_what_it_has() {
        let telling = Telling::default();
        let mut desk = Desk::default();
        let many = of_teams("lane.held", Severity::Warning, 2_000);
        assert_eq!(desk.reconcile(many.clone(), 0, &telling).len(), MAX_OPEN);
        assert!(desk.reconcile(many, 1, &telling).is_empty());
        assert_eq!(desk.reconcile(Vec::new(), 2, &telling).len(), MAX_OPEN);
    }

    #[test]
    fn warnings_of_teams_keep_neither_the_change_nor_what_is_critical_from_being_said() {
        let telling = Telling::default();
        let mut desk = Desk::default();
        let mut so = of_teams("lane.held", Severity::Warning, 2_000);
        assert_eq!(desk.reconcile(so.clone(), 0, &telling).len(), MAX_OPEN);
        let teams = of_teams("rollback.held", Severity::Critical, MAX_OPEN + 1);
        so.extend(teams.clone());
        so.push(matter("permit.withheld", Severity::Critical));
        so.push(matter("change.paused", Severity::Warning));
        let said = desk.reconcile(so.clone(), 1, &telling);
        assert!(said.iter().all(|said| said.stage == NoticeStage::Raised));
        let codes: Vec<&str> = said.iter().map(|said| said.matter.code).collect();
        let (of_teams, own) = codes.split_at(teams.len());
        assert!(of_teams.iter().all(|&code| code == "rollback.held"));
        assert_eq!(own, ["change.paused", "permit.withheld"]);
        // Nor are the teams remembered, when all is over, in place of the change.
        assert_eq!(desk.reconcile(Vec::new(), 2, &telling).len(), MAX_OPEN + codes.len());
        assert!(desk.reconcile(Vec::new(), 3, &telling).is_empty());
        desk.again();
        let over = desk.reconcile(Vec::new(), 4, &telling);
        assert_eq!(over.len(), MAX_OPEN + own.len());
        let own_over = over.iter().filter(|said| !said.matter.one_of_many);
        assert_eq!(own_over.count(), own.len());
    }
}
