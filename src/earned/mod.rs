//! Levels that are earned: what became of the changes of a kind says at which level the next one may act.

mod quantile;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::quantile::beta_quantile;
use crate::{Actor, ActorKind, Grant, Level};

const DAY_MS: u64 = 24 * 3_600_000;

/// What became of a change, as it turned out afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "it was stopped or not, and rightly or not")]
pub enum Label {
    /// It was good, and was not stopped.
    Passed,
    /// It was bad, and was stopped.
    RightStop,
    /// It was good, and was stopped.
    FalseStop,
    /// It was bad, and was not stopped; nobody was harmed.
    Missed,
    /// It was bad, was not stopped, and did harm.
    MissedWithHarm,
    /// It was stopped, or not, for something else: a power cut, somebody's word. It counts for nothing.
    Exception,
}

impl Label {
    const fn words(self) -> &'static str {
        match self {
            Self::Passed => "it passed",
            Self::RightStop => "it was stopped, rightly",
            Self::FalseStop => "it was stopped, and was good",
            Self::Missed => "it was bad, and was not stopped",
            Self::MissedWithHarm => "it was bad, was not stopped, and did harm",
            Self::Exception => "it counts for nothing",
        }
    }
}

/// One change that has ended, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "plain data, written as a literal by callers")]
pub struct Labelled {
    /// Its name. A second label for the same change takes the place of the first. Where a person said that one, where it cost a level,
    /// or where one says that it was a drill and the other that it was none, only a person may say the second.
    pub change: String,
    /// Its [kind](crate::Change::kind).
    pub kind: String,
    /// When it was labelled, in Unix milliseconds.
    pub at_unix_ms: i64,
    /// What became of it.
    pub label: Label,
    /// It was made to be tried: a release known to be bad, or one in which nothing changes.
    #[serde(default)]
    pub drill: bool,
    /// Who says so. Of a drill a program may, since its truth was known before; of a stop or a miss a person.
    pub by: Actor,
    /// Why, in their words.
    #[serde(default)]
    pub note: String,
}

/// What levels ask for. Each bound is one that the 5 % quantile of the posterior has to reach: precision is
/// Beta(1 + right stops, 1 + false stops), recall Beta(1 + right stops, 1 + misses).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Terms {
    /// For L3, L4 and L5. Default 0.8, 0.9 and 0.95, of 0..1.
    pub at_least: [f64; 3],
    /// So many changes that were no drills must have ended with a label that counts, for any of them. Default 20.
    pub real_changes: u32,
    /// Labels older than this count no more, in milliseconds. Default one year.
    pub window_ms: u64,
    /// For so long an earned level is granted, in milliseconds; the next change asks again. Default seven days.
    pub grant_ms: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            at_least: [0.8, 0.9, 0.95],
            real_changes: 20,
            window_ms: 365 * DAY_MS,
            grant_ms: 7 * DAY_MS,
        }
    }
}

/// Why something was not taken into a record.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrackError {
    /// Nobody answers for what it grants.
    #[error("`{0}` is a program: a person answers for the levels that a record grants")]
    Owner(String),
    /// Terms that nothing could keep.
    #[error("terms: `{0}`")]
    Terms(String),
    /// A program says what only people can know.
    #[error(
        "{change}: `{by}` is a program, and whether a real change was stopped rightly, falsely or not at all a person says"
    )]
    Program {
        /// The change.
        change: String,
        /// The program.
        by: String,
    },
    /// A program says otherwise than was said before, where a person has to.
    #[error(
        "{change}: `{by}` is a program, and {before}: another label for it, or that it was a drill or none, a person says"
    )]
    Said {
        /// The change.
        change: String,
        /// The program.
        by: String,
        /// What was said before, and by whom.
        before: String,
    },
    /// A name is missing.
    #[error("a label without a `{0}`: name it")]
    Empty(&'static str),
}

/// A level is lost, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Demotion {
    /// Changes of this kind.
    pub kind: String,
    /// Act at this level at most from now on.
    pub to: Level,
    /// Why.
    pub why: String,
}

/// A share with how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measured {
    /// Right ones.
    pub right: u32,
    /// Of so many.
    pub of: u32,
    /// Of these, drills.
    pub drills: u32,
    /// The 5 % quantile of the posterior.
    pub low: f64,
}

impl Measured {
    fn new(right: u32, wrong: u32, drills: u32) -> Self {
        Self {
            right,
            of: right + wrong,
            drills,
            low: beta_quantile(0.05, 1 + right, 1 + wrong),
        }
    }
}

/// What a kind of change has earned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Earned {
    /// The level.
    pub level: Level,
    /// Of all stops, those that were right.
    pub precision: Measured,
    /// Of all bad changes, those that were stopped.
    pub recall: Measured,
    /// Changes that were no drills.
    pub real_changes: u32,
    /// Why it is not higher; empty at L5.
    pub lacks: String,
}

/// What became of past changes, by kind: plain data, of which a level follows. Keep it wherever the labels are kept.
///
/// A level is lost at once when a bad change passes and does harm, drill or not, and when a drill in which nothing changes is
/// stopped: then nothing that was labelled before counts any more, for that kind.
///
/// ```
/// use unattended::{Actor, Label, Labelled, Level, Terms, TrackRecord};
/// let li = || Actor::person("li", "release desk");
/// let mut record = TrackRecord::new(li(), Terms::default())?;
/// let label = |at: i64, drill, label| Labelled {
///     change: format!("c{at}"), kind: "sidecar".into(), at_unix_ms: at, label, drill, by: li(), note: String::new(),
/// };
/// for at in 0..20 { record.add(label(at, false, Label::Passed))?; }
/// for at in 20..48 { record.add(label(at, true, Label::RightStop))?; }
/// assert_eq!(record.earned("sidecar", 100).level, Level::L4);
/// let fallen = record.add(label(60, false, Label::MissedWithHarm))?;
/// assert_eq!(fallen.map(|fallen| fallen.to), Some(Level::L2));
/// assert_eq!(record.earned("sidecar", 100).level, Level::L2);
/// # Ok::<(), unattended::TrackError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TrackRecord {
    owner: Actor,
    terms: Terms,
    /// By kind and change.
    labels: BTreeMap<(String, String), Labelled>,
}

impl TrackRecord {
    /// An empty record. `owner` answers for the levels that it grants.
    ///
    /// # Errors
    /// [`TrackError::Owner`] and [`TrackError::Terms`].
    pub fn new(owner: Actor, terms: Terms) -> Result<Self, TrackError> {
        if owner.kind != ActorKind::Person {
            return Err(TrackError::Owner(owner.id));
        }
        let [l3, l4, l5] = terms.at_least;
        if !(0.0 < l3 && l3 <= l4 && l4 <= l5 && l5 < 1.0) {
            let text =
                format!("at_least` is {l3}, {l4}, {l5}: give numbers between 0 and 1, none below the one before");
            return Err(TrackError::Terms(text));
        }
        for (name, value) in [("window_ms", terms.window_ms), ("grant_ms", terms.grant_ms)] {
            if !(1..=100 * 365 * DAY_MS).contains(&value) {
                return Err(TrackError::Terms(format!(
                    "{name}` is {value}: give 1 ms to a hundred years"
                )));
            }
        }
        Ok(Self {
            owner,
            terms,
            labels: BTreeMap::new(),
        })
    }

    /// Takes a label, and says whether a level is lost by it: demote what is under way
    /// ([`Handle::demote`](crate::Handle::demote), or [`QueueHandle::demote`](crate::queue::QueueHandle::demote) for all of it).
    ///
    /// # Errors
    /// [`TrackError::Program`], [`TrackError::Said`] and [`TrackError::Empty`]; the record is as it was.
    pub fn add(&mut self, labelled: Labelled) -> Result<Option<Demotion>, TrackError> {
        for (name, value) in [("change", &labelled.change), ("kind", &labelled.kind)] {
            if value.is_empty() {
                return Err(TrackError::Empty(name));
            }
        }
        let known = matches!(labelled.label, Label::Passed | Label::Exception) || labelled.drill;
        if labelled.by.kind == ActorKind::Program && !known {
            return Err(TrackError::Program {
                change: labelled.change,
                by: labelled.by.id,
            });
        }
        let key = (labelled.kind.clone(), labelled.change.clone());
        if labelled.by.kind == ActorKind::Program
            && let Some(before) = self.labels.get(&key)
            && (before.by.kind == ActorKind::Person || falls(before) || before.drill != labelled.drill)
        {
            let drill = if before.drill { " of the drill" } else { "" };
            return Err(TrackError::Said {
                change: labelled.change,
                by: labelled.by.id,
                before: format!("{} said{drill} that {}", before.by, before.label.words()),
            });
        }
        let falls = falls(&labelled).then(|| Demotion {
            kind: labelled.kind.clone(),
            to: Level::UNGRANTED,
            why: format!(
                "{}: {} says that {}",
                labelled.change,
                labelled.by,
                labelled.label.words()
            ),
        });
        self.labels.insert(key, labelled);
        Ok(falls)
    }

    /// What a kind of change has earned by a moment, in Unix milliseconds.
    pub fn earned(&self, kind: &str, now_unix_ms: i64) -> Earned {
        let of_kind = || {
            self.labels
                .values()
                .filter(|label| label.kind == kind && label.at_unix_ms <= now_unix_ms)
        };
        let fell = of_kind()
            .filter(|label| falls(label))
            .max_by_key(|label| label.at_unix_ms);
        let oldest = now_unix_ms.saturating_sub_unsigned(self.terms.window_ms);
        let counts =
            |label: &&Labelled| label.at_unix_ms > oldest && fell.is_none_or(|fell| label.at_unix_ms > fell.at_unix_ms);
        let count = |wanted: &[Label], drills: bool| {
            let all = of_kind()
                .filter(counts)
                .filter(|label| wanted.contains(&label.label) && (label.drill || !drills));
            u32::try_from(all.count()).unwrap_or(u32::MAX / 4)
        };
        let (right, false_stops, missed) = (
            [Label::RightStop],
            [Label::FalseStop],
            [Label::Missed, Label::MissedWithHarm],
        );
        let measured = |wrong: &[Label]| {
            let drills = count(&right, true) + count(wrong, true);
            Measured::new(count(&right, false), count(wrong, false), drills)
        };
        let (precision, recall) = (measured(&false_stops), measured(&missed));
        let real = of_kind()
            .filter(counts)
            .filter(|label| !label.drill && label.label != Label::Exception);
        let real_changes = u32::try_from(real.count()).unwrap_or(u32::MAX);
        let steps = [Level::L3, Level::L4, Level::L5].into_iter().zip(self.terms.at_least);
        let mut earned = Earned {
            level: Level::UNGRANTED,
            precision,
            recall,
            real_changes,
            lacks: String::new(),
        };
        for (level, bound) in steps {
            let lacks = if real_changes < self.terms.real_changes {
                format!(
                    "{real_changes} real changes, and {} are needed",
                    self.terms.real_changes
                )
            } else if precision.low < bound {
                format!("precision is at least {:.3}, and {bound} is needed", precision.low)
            } else if recall.low < bound {
                format!("recall is at least {:.3}, and {bound} is needed", recall.low)
            } else {
                earned.level = level;
                continue;
            };
            let fell = fell.map_or_else(String::new, |fell| {
                format!(", since {} ({})", fell.change, fell.label.words())
            });
            earned.lacks = format!("{level}: {lacks}{fell}");
            break;
        }
        earned
    }

    /// The grant that a kind of change has earned; `None` where it is no more than anybody has.
    pub fn grant(&self, kind: &str, now_unix_ms: i64) -> Option<Grant> {
        let earned = self.earned(kind, now_unix_ms);
        let of = |name: &str, it: Measured| format!("{name} {}/{} ({} drills)", it.right, it.of, it.drills);
        let (precision, recall) = (of("precision", earned.precision), of("recall", earned.recall));
        (earned.level > Level::UNGRANTED).then(|| Grant {
            level: earned.level,
            by: Actor::person(
                self.owner.id.clone(),
                format!("earned by {kind}: {precision}, {recall}"),
            ),
            until_unix_ms: now_unix_ms.saturating_add_unsigned(self.terms.grant_ms),
        })
    }
}

/// Harm that passed; or a stop where nothing had changed, by which the measure itself has drifted.
const fn falls(labelled: &Labelled) -> bool {
    matches!(labelled.label, Label::MissedWithHarm) || labelled.drill && matches!(labelled.label, Label::FalseStop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn li() -> Actor {
        Actor::person("li", "release desk")
    }

    fn label(at_unix_ms: i64, drill: bool, label: Label) -> Labelled {
        Labelled {
            change: format!("c{at_unix_ms}"),
            kind: "sidecar".to_owned(),
            at_unix_ms,
            label,
            drill,
            by: li(),
            note: String::new(),
        }
    }

    /// Labels from moment 1 on, one at each, of real changes and drills.
    fn record(real: u32, right: u32, drills: u32, false_stops: u32, missed: u32) -> TrackRecord {
        let mut record = TrackRecord::new(li(), Terms::default()).unwrap();
        let kinds = [
            (real, false, Label::Passed),
            (right, false, Label::RightStop),
            (drills, true, Label::RightStop),
            (false_stops, false, Label::FalseStop),
            (missed, false, Label::Missed),
        ];
        let all = kinds
            .into_iter()
            .flat_map(|(n, drill, what)| (0..n).map(move |_| (drill, what)));
        for (at, (drill, what)) in (1..).zip(all) {
            assert_eq!(record.add(label(at, drill, what)), Ok(None));
        }
        record
    }

    fn level(record: &TrackRecord) -> Level {
        record.earned("sidecar", 1_000).level
    }

    #[test]
    fn levels_are_earned_where_the_quantiles_of_both_reach_the_bound() {
        // Of n stops, all right: 0.05^(1/(n + 1)) reaches 0.8 at 13, 0.9 at 28 and 0.95 at 58.
        for (right, earned) in [(0, 2), (12, 2), (13, 3), (27, 3), (28, 4), (57, 4), (58, 5)] {
            let found = level(&record(20, right, 0, 0, 0));
            assert_eq!(found, Level::ALL[earned], "{right} right stops");
            assert_eq!(level(&record(20, 0, right, 0, 0)), found, "drills are counted");
        }
        assert_eq!(
            level(&record(20, 28, 0, 1, 0)),
            Level::L3,
            "a false stop costs precision"
        );
        assert_eq!(level(&record(20, 28, 0, 0, 1)), Level::L3, "a miss costs recall");
        assert_eq!(
            level(&record(19, 0, 60, 0, 0)),
            Level::L2,
            "drills alone are not enough"
        );
        assert_eq!(
            record(20, 58, 0, 0, 0).earned("other", 1_000).level,
            Level::L2,
            "each kind for itself"
        );
    }

    #[test]
    fn drills_are_told_apart_and_what_is_lacking_is_said() {
        let record = record(20, 3, 15, 1, 2);
        let earned = record.earned("sidecar", 1_000);
        let of = |it: Measured| (it.right, it.of, it.drills);
        assert_eq!((of(earned.precision), of(earned.recall)), ((18, 19, 15), (18, 20, 15)));
        assert_eq!(earned.real_changes, 26);
        assert_eq!(earned.level, Level::L2);
        assert!(
            earned.lacks.starts_with("L3: precision is at least 0.7"),
            "{}",
            earned.lacks
        );
    }

    #[test]
    fn a_grant_names_who_answers_and_ends() {
        let record = record(20, 0, 28, 0, 0);
        let grant = record.grant("sidecar", 1_000).unwrap();
        assert_eq!((grant.level, &*grant.by.id), (Level::L4, "li"));
        assert!(grant.by.via.contains("precision 28/28 (28 drills)"), "{}", grant.by.via);
        assert_eq!(grant.until_unix_ms, 1_000 + 7 * 24 * 3_600_000);
        assert_eq!(record.grant("other", 1_000), None);
    }

    #[test]
    fn harm_and_drift_cost_the_level_at_once_and_what_was_before_counts_no_more() {
        for (drill, what) in [
            (false, Label::MissedWithHarm),
            (true, Label::MissedWithHarm),
            (true, Label::FalseStop),
        ] {
            let mut record = record(20, 60, 0, 0, 0);
            let fallen = record.add(label(500, drill, what)).unwrap().unwrap();
            assert_eq!((fallen.to, &*fallen.kind), (Level::L2, "sidecar"));
            assert_eq!(level(&record), Level::L2);
            assert!(record.earned("sidecar", 1_000).lacks.contains("since c500"));
            assert_eq!(record.earned("sidecar", 499).level, Level::L5, "before it was known");
            for at in 600..660 {
                record.add(label(at, true, Label::RightStop)).unwrap();
            }
            assert_eq!(level(&record), Level::L2, "the real ones before it are gone, too");
            for at in 700..720 {
                record.add(label(at, false, Label::Passed)).unwrap();
            }
            assert_eq!(level(&record), Level::L5, "and may be earned again");
            // It was a mistake: the second label of a change takes the place of the first.
            let mut corrected = label(500, drill, Label::Exception);
            corrected.note = "somebody pulled the plug".to_owned();
            record.add(corrected).unwrap();
            assert_eq!(record.earned("sidecar", 599).level, Level::L5);
        }
        let mut record = record(20, 60, 0, 0, 0);
        assert_eq!(
            record.add(label(500, false, Label::FalseStop)),
            Ok(None),
            "that is what precision is for"
        );
    }

    #[test]
    fn what_is_old_counts_no_more() {
        let record = record(20, 0, 28, 0, 0);
        let year = 365 * 24 * 3_600_000;
        assert_eq!(record.earned("sidecar", year).level, Level::L4);
        assert_eq!(
            record.earned("sidecar", year + 5).level,
            Level::L2,
            "five real changes have faded"
        );
    }

    #[test]
    fn people_say_what_programs_cannot_know() {
        let mut record = TrackRecord::new(li(), Terms::default()).unwrap();
        let by_program = |drill, what| Labelled {
            by: Actor::program("train", "nightly"),
            ..label(1, drill, what)
        };
        assert!(record.add(by_program(false, Label::Passed)).is_ok());
        let drill = Labelled {
            change: "drill".to_owned(),
            ..by_program(true, Label::RightStop)
        };
        assert!(record.add(drill).is_ok());
        for what in [Label::RightStop, Label::FalseStop, Label::Missed, Label::MissedWithHarm] {
            let refused = record.add(by_program(false, what));
            assert!(matches!(refused, Err(TrackError::Program { .. })), "{refused:?}");
        }
        // What a person has said, what cost a level, and whether it was a drill, no program takes back.
        let mut record = TrackRecord::new(li(), Terms::default()).unwrap();
        let said = [
            (false, Label::MissedWithHarm),
            (false, Label::FalseStop),
            (true, Label::RightStop),
            (false, Label::Passed),
        ];
        for (drill, what) in said {
            record.add(label(1, drill, what)).unwrap();
            let earned = record.earned("sidecar", 100);
            for (drill, other) in [
                (false, Label::Passed),
                (false, Label::Exception),
                (true, Label::RightStop),
                (true, Label::Exception),
            ] {
                let refused = record.add(by_program(drill, other));
                assert!(
                    matches!(&refused, Err(TrackError::Said { before, .. }) if before.starts_with("li")),
                    "{what:?}, then {other:?}: {refused:?}"
                );
            }
            assert_eq!(record.earned("sidecar", 100), earned);
        }
        let mut record = TrackRecord::new(li(), Terms::default()).unwrap();
        assert!(record.add(by_program(false, Label::Passed)).is_ok());
        assert!(
            record.add(by_program(false, Label::Exception)).is_ok(),
            "its own word it may"
        );
        assert!(
            record.add(by_program(true, Label::FalseStop)).is_err(),
            "it was no drill"
        );
        assert!(record.add(label(1, true, Label::Passed)).is_ok(), "a person says so");
        let mut record = TrackRecord::new(li(), Terms::default()).unwrap();
        assert!(record.add(by_program(true, Label::FalseStop)).unwrap().is_some());
        assert!(
            record.add(by_program(true, Label::Exception)).is_err(),
            "it cost the level"
        );
        let nobody = Labelled {
            kind: String::new(),
            ..label(1, false, Label::Passed)
        };
        assert_eq!(record.add(nobody), Err(TrackError::Empty("kind")));
        let program = TrackRecord::new(Actor::program("train", ""), Terms::default());
        assert!(matches!(program, Err(TrackError::Owner(_))));
        let terms = Terms {
            at_least: [0.9, 0.8, 0.95],
            ..Terms::default()
        };
        assert!(matches!(TrackRecord::new(li(), terms), Err(TrackError::Terms(_))));
    }
}
