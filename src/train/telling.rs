//! What people have to know as long as it is so. It decides nothing.

use super::cadence::instant;
use super::line::{Context, Line, Starved};
use super::{Command, Lane, MatterView};
use crate::notice::{Matter, Said};
use crate::{Level, NoticeStage, Severity};

/// The code of the question which release production gets.
const CHOOSE: &str = "train.choose";
/// So long without a release, though there were slots and no calendar held it, somebody has to know.
const STARVED_MS: i64 = 14 * 86_400_000;
/// So long before a grant ends people are told, once.
const GRANT_ENDS_MS: i64 = 7 * 86_400_000;

/// The desk counts from 1970; no train was driven before.
fn desk_ms(unix_ms: i64) -> u64 {
    u64::try_from(unix_ms).unwrap_or(0)
}

impl Line {
    /// Says what has come up, what is still so, and what is over.
    pub(super) fn tell_people(&mut self, cx: &mut Context<'_>) {
        let matters = self.matters(cx);
        for said in self.desk.reconcile(matters, desk_ms(cx.now_ms), cx.telling) {
            let command = self.word(&said);
            cx.out.say(command);
        }
    }

    /// Somebody says that they know; whether that was open.
    pub(super) fn acknowledge(&mut self, key: &str, cx: &Context<'_>) -> bool {
        let own = key.strip_prefix(self.config.id.0.as_str());
        let own = own.and_then(|key| key.strip_prefix('/')).unwrap_or(key);
        self.desk.acknowledge(own, desk_ms(cx.now_ms), cx.telling)
    }

    /// All that is open.
    pub(super) fn open_matters(&self) -> impl Iterator<Item = MatterView> {
        self.desk.open().map(|said| MatterView {
            code: said.matter.code.to_owned(),
            key: self.key(&said),
            severity: said.matter.severity,
            since_unix_ms: i64::try_from(said.raised_ms).unwrap_or(i64::MAX),
            text: self.text(&said),
        })
    }

    fn key(&self, said: &Said) -> String {
        format!("{}/{}", self.config.id, said.matter.key())
    }

    fn text(&self, said: &Said) -> String {
        let Said { matter, stage, .. } = said;
        if *stage == NoticeStage::Resolved {
            // What it was about is enough.
            return matter.text.lines().next().unwrap_or_default().to_owned();
        }
        let mut text = matter.text.clone();
        for (what, of) in [
            ("Without a word: ", &matter.otherwise),
            ("What ends it: ", &matter.remedy),
        ] {
            if !of.is_empty() {
                text.push_str(&format!(" {what}{of}."));
            }
        }
        text
    }

    fn word(&self, said: &Said) -> Command {
        let Said {
            matter,
            stage,
            raised_ms,
        } = said;
        let asks = matter.code == CHOOSE && *stage != NoticeStage::Resolved;
        Command::Tell {
            line: self.config.id.clone(),
            code: matter.code.to_owned(),
            severity: matter.severity,
            key: self.key(said),
            stage: stage.clone(),
            raised_unix_ms: i64::try_from(*raised_ms).unwrap_or(i64::MAX),
            text: self.text(said),
            briefing: self.question.clone().filter(|_| asks),
        }
    }

    fn matters(&self, cx: &Context<'_>) -> Vec<Matter> {
        let owner = cx.owner.to_string();
        let matter = |code, detail: Option<String>, severity, text: String| Matter {
            code,
            detail,
            severity,
            one_of_many: false,
            lanes: Vec::new(),
            owner: owner.clone(),
            text,
            question: None,
            otherwise: String::new(),
            remedy: String::new(),
        };
        let mut matters = Vec::new();
        if let Some(asked) = &self.question {
            let severity = if asked.is_urgent() {
                Severity::Critical
            } else {
                Severity::Warning
            };
            // However often it is asked anew, it is one matter until somebody chooses: so it escalates. Another hotfix is another.
            let detail = asked.is_urgent().then(|| asked.recommended.clone());
            matters.push(matter(CHOOSE, detail, severity, asked.text()));
        }
        if let Some(stop) = &self.stopped {
            matters.push(Matter {
                otherwise: "nothing begins on this line, and no build is ordered".to_owned(),
                remedy: "say that it goes on (`Order::Resume`)".to_owned(),
                ..matter(
                    "train.stopped",
                    None,
                    stop.severity,
                    format!("{} stopped the line: {}.", stop.by, stop.reason),
                )
            });
        }
        if let Some((version, outcome)) = &self.mixed {
            matters.push(Matter {
                otherwise: "the next release is brought to all of it".to_owned(),
                remedy: format!("bring what runs {version} back to {}", self.canary),
                ..matter(
                    "train.canary_mixed",
                    None,
                    Severity::Warning,
                    format!(
                        "The canary fleet runs two versions: {version} was left as {} there.",
                        outcome.as_str()
                    ),
                )
            });
        }
        self.matters_of_changes(&matter, &mut matters);
        for build in self.builds.iter().filter(|build| build.late) {
            let severity = match build.lane {
                Lane::Nightly => Severity::Warning,
                Lane::Hotfix => Severity::Critical,
            };
            let (lane, head) = (build.lane.as_str(), build.head);
            matters.push(Matter {
                otherwise: "it is taken when it comes, unless it is too old by then".to_owned(),
                remedy: "have it built".to_owned(),
                ..matter(
                    "train.build_late",
                    Some(format!("{lane}/{head}")),
                    severity,
                    format!("The {lane} build of commit {head} has not come in time."),
                )
            });
        }
        for (head, (version, why)) in &self.lost_hotfixes {
            matters.push(Matter {
                otherwise: "production stays as it is".to_owned(),
                remedy: "order the same or another commit as a hotfix (`Order::Hotfix`), or give it up (`Order::Skip`)"
                    .to_owned(),
                ..matter(
                    "train.hotfix_failed",
                    Some(head.to_string()),
                    Severity::Critical,
                    format!("Hotfix {version} goes no further: {why}."),
                )
            });
        }
        if let Some(held) = &self.held {
            let severity = if held.urgent {
                Severity::Critical
            } else {
                Severity::Info
            };
            matters.push(matter(
                "train.held",
                Some(held.about.clone()),
                severity,
                held.text.clone(),
            ));
        }
        let waits = self.waits_for_release();
        let long =
            |starved: &&Starved| waits && starved.slots > 1 && cx.now_ms.saturating_sub(starved.since_ms) >= STARVED_MS;
        if let Some(Starved { slots, why, .. }) = self.starved.as_ref().filter(long) {
            matters.push(Matter {
                otherwise: if self.stopped.is_some() {
                    "nothing begins before the line goes on".to_owned()
                } else {
                    "it goes on trying".to_owned()
                },
                remedy:
                    "see to the reason; an incident that burns no more is closed by a word (`Order::CloseIncident`)"
                        .to_owned(),
                ..matter(
                    "train.starved",
                    None,
                    Severity::Warning,
                    format!("No release went in {slots} slots in a row; the last time: {why}."),
                )
            });
        }
        self.matters_of_level(cx, &matter, &mut matters);
        let limit = i64::try_from(self.config.limits.silent_ms).unwrap_or(i64::MAX);
        for (source, since_ms) in &self.silent {
            let silent_ms = cx.now_ms.saturating_sub(*since_ms);
            if silent_ms < limit {
                continue;
            }
            matters.push(Matter {
                otherwise: "what it would say is not known, and nothing passes for it".to_owned(),
                remedy: "have it answer again".to_owned(),
                ..matter(
                    "train.silent",
                    Some(source.clone()),
                    Severity::Warning,
                    format!("The source `{source}` has not answered since {}.", instant(*since_ms)),
                )
            });
        }
        if let Some(text) = cx.clock {
            matters.push(Matter {
                otherwise: "nothing is decided until it has come so far again".to_owned(),
                remedy: "set the clock right".to_owned(),
                ..matter("train.clock", None, Severity::Critical, text.to_owned())
            });
        }
        matters
    }

    fn matters_of_changes(
        &self,
        matter: &dyn Fn(&'static str, Option<String>, Severity, String) -> Matter,
        matters: &mut Vec<Matter>,
    ) {
        for run in self.runs.values() {
            let key = &run.order.change;
            if run.overdue {
                matters.push(Matter {
                    otherwise: "the line stands still".to_owned(),
                    remedy: "see to it that the change ends, then say that the line goes on (`Order::Resume`)"
                        .to_owned(),
                    ..matter(
                        "train.stuck",
                        Some(key.to_string()),
                        Severity::Critical,
                        format!("Change {key} is taken back and does not end."),
                    )
                });
            }
            if run.unconfirmed && run.back.is_none() {
                matters.push(Matter {
                    otherwise: "it is ordered again and again".to_owned(),
                    remedy: "look at the controller of the fleet".to_owned(),
                    ..matter(
                        "train.unconfirmed",
                        Some(key.to_string()),
                        Severity::Warning,
                        format!("Nobody confirms the start of {key}."),
                    )
                });
            }
        }
    }

    fn matters_of_level(
        &self,
        cx: &Context<'_>,
        matter: &dyn Fn(&'static str, Option<String>, Severity, String) -> Matter,
        matters: &mut Vec<Matter>,
    ) {
        let autonomy = &self.autonomy;
        let remedy = || "grant a level anew (`Order::Grant`)".to_owned();
        if autonomy.expired {
            matters.push(Matter {
                otherwise: "nothing begins but what a person chooses".to_owned(),
                remedy: remedy(),
                ..matter(
                    "train.grant_over",
                    None,
                    Severity::Warning,
                    format!(
                        "The grant of {} has run out: the line is at {}, as of {}.",
                        autonomy.by,
                        autonomy.level,
                        instant(autonomy.until_ms)
                    ),
                )
            });
        } else if autonomy.level < Level::L4 {
            matters.push(Matter {
                otherwise: "nothing begins but what a person chooses".to_owned(),
                remedy: remedy(),
                ..matter(
                    "train.below_l4",
                    None,
                    Severity::Warning,
                    format!("The line was taken to {}.", autonomy.level),
                )
            });
        } else if autonomy.until_ms.saturating_sub(cx.now_ms) <= GRANT_ENDS_MS {
            matters.push(Matter {
                otherwise: format!("the line goes on at {}", Level::UNGRANTED),
                remedy: remedy(),
                ..matter(
                    "train.grant_ends",
                    None,
                    Severity::Info,
                    format!(
                        "Level {}, granted by {}, ends at {}.",
                        autonomy.level,
                        autonomy.by,
                        instant(autonomy.until_ms)
                    ),
                )
            });
        }
    }
}
