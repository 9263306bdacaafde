//! The state of one version line.

use std::collections::{BTreeMap, BTreeSet};

use super::autonomy::Autonomy;
use super::cadence::Times;
use super::config::LineConfig;
use super::incidents::Incidents;
use super::newest::Newest;
use super::{
    Artefact, Briefing, BuildOrder, ChangeEnd, ChangeKey, ChangeOrder, Content, Lane, LineId, Refusal, ReleaseFacts,
    Site, Stage,
};
use crate::notice::Desk;
use crate::{Actor, NoticeStage, Outcome, Severity, Telling};

use super::Command;
use unattended_defense::Guard;

/// Ended changes, finished releases and deliveries that are remembered.
pub(super) const REMEMBERED: usize = 1_000;
/// Words that wait to be said. Beyond it the oldest are dropped: what is still so is said again.
const MOST_WORDS: usize = 1_024;
/// Commits that are remembered before the oldest are forgotten, in production or not.
pub(super) const MOST_COMMITS: usize = 100_000;

/// One commit.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) id: String,
    pub(super) at_ms: i64,
    pub(super) green: bool,
    /// It contradicts itself: it is never built from.
    pub(super) quarantined: bool,
}

/// One release.
#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) artefact: Artefact,
    pub(super) lane: Lane,
    pub(super) content: Content,
    pub(super) stage: Stage,
    pub(super) built_ms: i64,
    /// When it was on the whole canary fleet.
    pub(super) soaking_ms: Option<i64>,
    pub(super) qualified_ms: Option<i64>,
    pub(super) facts: Option<ReleaseFacts>,
    /// What else was told to be of this version.
    pub(super) others: Vec<Artefact>,
    /// How often a change of each site was started.
    pub(super) tries: BTreeMap<Site, u32>,
    /// What people did for it.
    pub(super) hands: u64,
    /// When it went no further.
    pub(super) left_ms: Option<i64>,
    /// Stages that it has reached, with the time.
    pub(super) passed: Vec<(Site, i64)>,
}

/// Why a change is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A hotfix wants the fleet.
    GiveWay,
    /// It has no time left.
    Deadline,
    /// The release must not go on.
    Barred,
    /// Somebody stopped the line, and wanted it back.
    Stopped,
    /// Before it had surely begun, the line was stopped, or its level, the calendar or its age do not let it begin any more.
    NotBegun,
}

/// A change on its way back.
#[derive(Clone, Debug)]
pub(super) struct Back {
    pub(super) since_ms: i64,
    pub(super) reason: Why,
    pub(super) text: String,
}

impl Back {
    pub(super) fn command(&self, change: &ChangeKey) -> Command {
        Command::TakeBack {
            change: change.clone(),
            why: self.text.clone(),
        }
    }
}

/// A change of the autopilot that was started.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) order: ChangeOrder,
    /// The key of the release.
    pub(super) release: Vec<u64>,
    pub(super) since_ms: i64,
    pub(super) back: Option<Back>,
    /// People were told that it does not end.
    pub(super) overdue: bool,
    /// People were told that nobody confirms its start.
    pub(super) unconfirmed: bool,
    /// The slot that it has used, by the time at which that opened.
    pub(super) slot_ms: Option<i64>,
}

/// A build that was ordered.
#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) lane: Lane,
    pub(super) head: u64,
    pub(super) content: Content,
    pub(super) since_ms: i64,
    /// How many artefacts of the same were taken before.
    pub(super) rebuilds: u32,
    /// It was asked for; while a line is stopped nothing is.
    pub(super) ordered: bool,
    /// It has not come in time, and people know.
    pub(super) late: bool,
}

impl Build {
    /// The commit upon which it is built, if it is no nightly.
    pub(super) fn base(&self) -> Option<u64> {
        (self.lane == Lane::Hotfix).then_some(self.content.upto)
    }

    /// Whether it is what was asked for so.
    pub(super) fn is_of(&self, order: &BuildOrder) -> bool {
        (self.lane, self.head, self.base()) == (order.lane, order.head, order.base)
            && self.other_picks().eq(order.picks.iter().copied())
            && self.rebuilds == order.rebuilds
    }

    /// What is picked beside the newest commit.
    pub(super) fn other_picks(&self) -> impl Iterator<Item = u64> + '_ {
        self.content.picks.iter().copied().filter(|&pick| pick != self.head)
    }
}

/// What production runs.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) version: String,
    pub(super) numbers: Vec<u64>,
    pub(super) content: Content,
}

/// The slot that is open, and the next one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) open_since_ms: Option<i64>,
    pub(super) next_ms: i64,
}

/// Why a line stands still.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) severity: Severity,
}

/// A change of production that has ended.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) version: String,
    pub(super) began_ms: i64,
    pub(super) end: ChangeEnd,
    pub(super) hands: u64,
    /// From commit to the end of the change, for each commit it brought.
    pub(super) leads_ms: Vec<i64>,
    /// It was taken back for a hotfix, which says nothing of it.
    pub(super) gave_way: bool,
}

impl Delivery {
    pub(super) const fn arrived(&self) -> bool {
        self.end.arrived()
    }
}

/// Slots in a row in which nothing went, though no calendar held it.
#[derive(Clone, Debug)]
pub(super) struct Starved {
    /// When the first one opened.
    pub(super) since_ms: i64,
    pub(super) slots: u32,
    /// Why nothing went in the last.
    pub(super) why: String,
}

/// Somebody's choice.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) key: Vec<u64>,
    pub(super) by: Actor,
    /// A hotfix that it lacks has qualified since: that goes before it, or is asked about first.
    pub(super) overtaken: bool,
}

/// Why the release that would go does not, as people were told last.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The release and the rules: told again when these change, and not with each new number in the text.
    pub(super) about: String,
    pub(super) text: String,
    /// It mends production.
    pub(super) urgent: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) config: LineConfig,
    pub(super) times: Times,
    pub(super) commits: BTreeMap<u64, Tried>,
    /// By the numbers of the version.
    pub(super) releases: BTreeMap<Vec<u64>, Release>,
    pub(super) production: Standing,
    /// What the canary fleet runs.
    pub(super) canary: String,
    /// The change that left it between two versions, by its release, and how, until one arrives.
    pub(super) mixed: Option<(String, Outcome)>,
    pub(super) runs: BTreeMap<Site, Run>,
    pub(super) ended: Newest<ChangeKey, ChangeEnd>,
    pub(super) builds: Vec<Build>,
    pub(super) next_nightly_ms: i64,
    pub(super) built_head: u64,
    pub(super) slot: Slot,
    pub(super) question: Option<Briefing>,
    /// Chosen, and not begun yet.
    pub(super) chosen: Option<Chosen>,
    pub(super) stopped: Option<Stop>,
    pub(super) incidents: Incidents,
    /// Commits that were ordered as hotfixes.
    pub(super) mends: BTreeSet<u64>,
    /// Those of them that went no further and that nobody has seen to, with their versions and why.
    pub(super) lost_hotfixes: BTreeMap<u64, (String, String)>,
    pub(super) autonomy: Autonomy,
    /// Sources that do not answer, and since when.
    pub(super) silent: BTreeMap<String, i64>,
    pub(super) desk: Desk,
    /// The clock has gone back: what time it is, nobody knows.
    pub(super) clock_is_back: bool,
    /// Slots in a row in which nothing went.
    pub(super) starved: Option<Starved>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) hands: u64,
    pub(super) held: Option<Held>,
    /// What was refused and told.
    pub(super) refused: BTreeSet<String>,
}

/// What a step of a line may see and do beside the line's own state.
pub(super) struct Context<'a> {
    pub(super) now_ms: i64,
    pub(super) owner: &'a Actor,
    pub(super) telling: &'a Telling,
    pub(super) clock_is_back: bool,
    /// What is wrong with the clock, where this line is to say so.
    pub(super) clock: Option<&'a str>,
    pub(super) calendar: &'a Guard,
    pub(super) qualification: &'a Guard,
    pub(super) out: &'a mut Outbox,
}

impl Context<'_> {
    /// Tells of something that has happened.
    pub(super) fn tell(&mut self, line: &LineId, code: &str, severity: Severity, text: String) {
        self.out.say(Command::Tell {
            line: line.clone(),
            code: code.to_owned(),
            severity,
            key: format!("{line}/{code}/{}", self.out.given),
            stage: NoticeStage::Raised,
            raised_unix_ms: self.now_ms,
            text,
            briefing: None,
        });
    }
}

/// Commands that are not done yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    pub(super) due: BTreeMap<u64, Command>,
    pub(super) given: u64,
}

impl Outbox {
    pub(super) fn push(&mut self, command: Command) {
        self.due.insert(self.given, command);
        self.given += 1;
    }

    /// Has something said. What waits to be said once more of a matter is not said twice.
    pub(super) fn say(&mut self, word: Command) {
        let Command::Tell { key: wanted, .. } = &word else {
            return;
        };
        let again = |stage: &NoticeStage| !matches!(stage, NoticeStage::Raised | NoticeStage::Resolved);
        self.due
            .retain(|_, due| !matches!(due, Command::Tell { key, stage, .. } if key == wanted && again(stage)));
        self.push(word);
        let words = self.due.iter().filter(|(_, due)| matches!(due, Command::Tell { .. }));
        let many = words.clone().count().saturating_sub(MOST_WORDS);
        let oldest: Vec<u64> = words.take(many).map(|(number, _)| *number).collect();
        for number in oldest {
            self.due.remove(&number);
        }
    }

    /// Takes back the word that a change begins, if it has not been carried out yet.
    pub(super) fn withdraw(&mut self, change: &ChangeKey) {
        self.due
            .retain(|_, command| !matches!(command, Command::Start(order) if order.change == *change));
    }

    /// No build of a line, or of one of its lanes, is asked for any more.
    pub(super) fn withdraw_builds(&mut self, line: &LineId, lane: Option<Lane>) {
        let of = |order: &BuildOrder| order.line == *line && lane.is_none_or(|lane| order.lane == lane);
        self.due
            .retain(|_, command| !matches!(command, Command::Build(order) if of(order)));
    }

    /// Only these builds of a line are asked for: nobody waits for the others.
    pub(super) fn keep_builds(&mut self, line: &LineId, wanted: impl Fn(&BuildOrder) -> bool) {
        self.due
            .retain(|_, command| !matches!(command, Command::Build(order) if order.line == *line && !wanted(order)));
    }

    /// Whether a build is to be asked for and has not been.
    pub(super) fn asks_for(&self, line: &LineId, head: u64, lane: Lane) -> bool {
        self.due.values().any(
            |command| matches!(command, Command::Build(order) if order.line == *line && order.head == head && order.lane == lane),
        )
    }

    /// A change has ended: neither its start nor its taking back is wanted any more.
    pub(super) fn ended(&mut self, ended: &ChangeKey) {
        self.due.retain(|_, command| match command {
            Command::Start(order) => order.change != *ended,
            Command::TakeBack { change, .. } => change != ended,
            _ => true,
        });
    }

    /// Whether a change's start has been carried out, as far as anybody said.
    pub(super) fn has_begun(&self, change: &ChangeKey) -> bool {
        !self
            .due
            .values()
            .any(|command| matches!(command, Command::Start(order) if order.change == *change))
    }
}

impl Line {
    pub(super) fn new(config: LineConfig, times: Times, numbers: Vec<u64>, nightly_ms: i64, slot_ms: i64) -> Self {
        Self {
            production: Standing {
                version: config.version.clone(),
                numbers,
                content: Content::upto(config.head),
            },
            canary: config.version.clone(),
            mixed: None,
            built_head: config.head,
            times,
            commits: BTreeMap::new(),
            releases: BTreeMap::new(),
            runs: BTreeMap::new(),
            ended: Newest::new(REMEMBERED),
            builds: Vec::new(),
            next_nightly_ms: nightly_ms,
            slot: Slot {
                open_since_ms: None,
                next_ms: slot_ms,
            },
            question: None,
            chosen: None,
            stopped: None,
            incidents: Incidents::default(),
            mends: BTreeSet::new(),
            lost_hotfixes: BTreeMap::new(),
            autonomy: Autonomy::new(&config.grant),
            silent: BTreeMap::new(),
            desk: Desk::default(),
            clock_is_back: false,
            starved: None,
            deliveries: Vec::new(),
            hands: 0,
            held: None,
            refused: BTreeSet::new(),
            config,
        }
    }

    /// Remembers a refusal; whether it is a new one.
    pub(super) fn refuses(&mut self, refusal: &Refusal) -> bool {
        if self.refused.len() >= REMEMBERED {
            self.refused.clear();
        }
        self.refused.insert(refusal.to_string())
    }

    /// The release of a version's name.
    pub(super) fn find(&self, version: &str) -> Option<(&Vec<u64>, &Release)> {
        let numbers = super::model::numbers(version)?;
        self.releases
            .get_key_value(&numbers)
            .filter(|(_, release)| release.artefact.version == version)
    }

    /// The one in a stage, if there is one.
    pub(super) fn in_stage(&self, is: impl Fn(&Stage) -> bool) -> Option<Vec<u64>> {
        let found = self.releases.iter().rev().find(|(_, release)| is(&release.stage));
        found.map(|(numbers, _)| numbers.clone())
    }

    /// Names of the commits after one and up to another one, the newest last.
    pub(super) fn names(&self, after: u64, content: &Content) -> Vec<String> {
        let news = self.commits.range(after + 1..);
        let inside = news.filter(|(number, _)| content.has(**number));
        inside.map(|(_, tried)| tried.id.clone()).collect()
    }

    /// The newest commit before `content`'s that was in a release which passed.
    pub(super) fn last_good(&self, content: &Content) -> u64 {
        let passed = self.releases.values().filter(|release| {
            let passed = matches!(
                release.stage,
                Stage::Qualified { .. } | Stage::OnProduction | Stage::InProduction | Stage::Replaced
            );
            passed && release.content.upto < content.upto
        });
        let floor = self.production.content.upto;
        passed.map(|release| release.content.upto).fold(floor, u64::max)
    }

    /// Forgets what nobody will ask for any more.
    pub(super) fn forget(&mut self) {
        let waiting: BTreeSet<u64> = self.builds.iter().map(|build| build.head).collect();
        let live = self.releases.values().filter(|release| release.stage.is_live());
        let floor = live
            .map(|release| release.content.upto)
            .chain(waiting)
            .fold(self.production.content.upto, u64::min);
        self.commits = self.commits.split_off(&floor);
        while self.commits.len() > MOST_COMMITS {
            self.commits.pop_first();
        }
        let production = &self.production.content;
        self.mends.retain(|head| !production.has(*head));
        while self.releases.len() > REMEMBERED {
            let done = self.releases.iter().find(|(_, release)| !release.stage.is_live());
            let Some(oldest) = done.map(|(numbers, _)| numbers.clone()) else {
                break;
            };
            self.releases.remove(&oldest);
        }
        if self.deliveries.len() > REMEMBERED {
            self.deliveries.remove(0);
        }
        self.incidents.forget();
    }
}
