//! What the train is told, what it wants done, and what it refuses.

use serde::{Deserialize, Serialize};

use super::cadence::instant;
use super::{Artefact, ChangeEnd, ChangeKey, Commit, Lane, LineId, ReleaseFacts, Site};
use crate::{Actor, Level, NoticeStage, Severity};

/// One input of the machine. Everything it knows came in as one of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Input {
    /// The time is this, in Unix milliseconds. A clock that goes back is not followed.
    Tick(i64),
    /// CI has tried a commit.
    Ci {
        /// The line.
        line: LineId,
        /// The commit.
        commit: Commit,
        /// What it said.
        green: bool,
    },
    /// CI has built what was ordered.
    Built {
        /// The line.
        line: LineId,
        /// What it built.
        artefact: Artefact,
    },
    /// A change of the autopilot has ended.
    Ended {
        /// Which.
        change: ChangeKey,
        /// How.
        end: ChangeEnd,
    },
    /// What is seen of a release on the canary fleet.
    Facts {
        /// The line.
        line: LineId,
        /// The release.
        version: String,
        /// What was seen.
        facts: ReleaseFacts,
    },
    /// Something burns in production.
    Incident {
        /// The line.
        line: LineId,
        /// The name of the incident.
        id: String,
        /// Since when, in Unix milliseconds.
        at_unix_ms: i64,
    },
    /// It burns no more.
    Restored {
        /// The line.
        line: LineId,
        /// The name of the incident.
        id: String,
        /// Since when, in Unix milliseconds.
        at_unix_ms: i64,
    },
    /// Somebody said something.
    Order {
        /// The line.
        line: LineId,
        /// What.
        order: Order,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// A command has been carried out: it is not given again.
    Done(u64),
    /// How far a source was read, so that a later run goes on there.
    Cursor {
        /// The name of the source.
        source: String,
        /// The line.
        line: LineId,
        /// The place, in the source's own counting.
        cursor: u64,
    },
    /// A source of news has stopped to answer, or answers again. One of which nothing is said answers.
    Source {
        /// The line.
        line: LineId,
        /// Which: without [`INCIDENTS`](super::INCIDENTS) it is not known what burns, without [`FLEETS`](super::FLEETS) not how what
        /// soaks does.
        source: String,
        /// Whether it answers.
        answers: bool,
    },
}

/// A word to the train.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Order {
    /// No change begins and no build is ordered on this line until further notice. What was to begin and is not known to have
    /// begun, does not.
    StopTheLine {
        /// Whether what runs is taken back, too.
        take_back: bool,
    },
    /// Go on. What was taken back and did not end gets its time again.
    Resume,
    /// Build this commit upon what production runs, and let it overtake.
    Hotfix {
        /// The name of the commit; CI must have found it good.
        commit: String,
    },
    /// Bring this qualified release to production at the next moment the calendar allows, however many slots that takes: also
    /// the answer to a question. A hotfix that qualifies later and that it lacks goes first.
    Choose {
        /// The release.
        version: String,
    },
    /// Never bring this release to production; of a hotfix that went no further, or is being built, that it is given up.
    Skip {
        /// The release, or the name of the commit that is being built.
        version: String,
    },
    /// The line may act at this level until then: a person's word.
    Grant {
        /// The level.
        level: Level,
        /// When it ends, in Unix milliseconds.
        until_unix_ms: i64,
    },
    /// The line acts at this level at the most, at once. Anybody may say so.
    Demote {
        /// The level.
        level: Level,
    },
    /// It burns no more, whatever the source of incidents says of it: a person's word.
    CloseIncident {
        /// The name of the incident.
        id: String,
    },
    /// Whoever says so knows of a matter, and need not be told again [for a while](crate::Telling::acknowledged_ms). It is no
    /// answer, and lets nothing go on.
    Acknowledge {
        /// The [key](crate::Notice::dedup_key) of the matter.
        key: String,
    },
}

/// Something to be done outside, with the number under which it is reported as [done](Input::Done). Doing it twice does no
/// harm: changes have keys, and people read a word again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Command {
    /// Build a release.
    Build(BuildOrder),
    /// Start a change of the autopilot, unless one of this key was started already.
    Start(ChangeOrder),
    /// Take a change back: it has no time left, must give way, or must not begin any more.
    TakeBack {
        /// The key.
        change: ChangeKey,
        /// Why.
        why: String,
    },
    /// Tell CI where the cause of a bad release is.
    Suspects {
        /// The line.
        line: LineId,
        /// The bad release.
        version: String,
        /// The number of the last commit that is known to be good.
        after: u64,
        /// The names of the commits since.
        commits: Vec<String>,
        /// What was seen.
        why: String,
    },
    /// Tell people: of something that has happened, or that is so, is still so, or is over.
    Tell {
        /// The line.
        line: LineId,
        /// A stable code, `train.what`.
        code: String,
        /// How soon somebody has to look at it.
        severity: Severity,
        /// Which matter: what is said again of it, and its end, have the same.
        key: String,
        /// The word's place in its matter. What has happened is raised, and never resolved.
        stage: NoticeStage,
        /// When the matter came up, in Unix milliseconds.
        raised_unix_ms: i64,
        /// The whole story.
        text: String,
        /// What there is to choose from, where a person is asked which release production gets.
        briefing: Option<Briefing>,
    },
}

/// A build, as the train orders it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BuildOrder {
    /// The line.
    pub line: LineId,
    /// Ordinary or urgent.
    pub lane: Lane,
    /// The number of the commit.
    pub head: u64,
    /// Its name.
    pub commit: String,
    /// Of a hotfix: what to build it upon.
    pub base: Option<u64>,
    /// Of a hotfix: later commits that production has already.
    pub picks: Vec<u64>,
    /// How many artefacts of just this were taken before, and cannot be promoted any more: mostly 0. Each gets a version of its
    /// own.
    pub rebuilds: u32,
}

/// A change of the autopilot, as the train orders it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangeOrder {
    /// The line.
    pub line: LineId,
    /// Canary fleet or production.
    pub site: Site,
    /// Its key: one change for one key, however often it is ordered.
    pub change: ChangeKey,
    /// What the fleet runs.
    pub from: String,
    /// What it is to run.
    pub version: String,
    /// The digest of that version's artefact.
    pub digest: String,
    /// Who wants it: the author of the change.
    pub author: Actor,
}

/// What a person needs to choose a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Briefing {
    /// What production runs.
    pub production: String,
    /// The release that the train would choose.
    pub recommended: String,
    /// All that may be chosen, the recommended one first.
    pub candidates: Vec<Candidate>,
    /// Why a person is asked.
    pub because: String,
    /// By when an answer is wanted, in Unix milliseconds: of a nightly the next slot, of a hotfix
    /// [`hotfix_answer_ms`](super::Limits::hotfix_answer_ms). Without one nothing is promoted, and it is asked again.
    pub by_unix_ms: i64,
}

/// One release that may be chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Candidate {
    /// Its version.
    pub version: String,
    /// Ordinary or urgent.
    pub lane: Lane,
    /// Since it was built, in hours.
    pub age_hours: f64,
    /// On the whole canary fleet, in hours.
    pub soak_hours: f64,
    /// The safety evidence of its worst class, as an e-value.
    pub safety_evidence: Option<f64>,
    /// The error budget it left.
    pub error_budget_left: Option<f64>,
    /// Commits that production would get.
    pub commits: u64,
    /// What speaks against it, in words.
    pub risks: Vec<String>,
}

impl Briefing {
    /// Whether the recommended one mends production.
    pub fn is_urgent(&self) -> bool {
        self.candidates
            .first()
            .is_some_and(|candidate| candidate.lane == Lane::Hotfix)
    }

    /// For somebody who just woke up.
    pub fn text(&self) -> String {
        let mut text = format!(
            "Which release for production, which runs {}? {}\nRecommended: {}. Without an answer by {} nothing is promoted.",
            self.production,
            self.because,
            self.recommended,
            instant(self.by_unix_ms)
        );
        // Evidence multiplies: beyond a million to one, digits say nothing more.
        let known = |value: Option<f64>| match value {
            None => "unknown".to_owned(),
            Some(value) if value >= 1e6 => ">1e6".to_owned(),
            Some(value) => format!("{value:.2}"),
        };
        for candidate in &self.candidates {
            text.push_str(&format!(
                "\n- {}: {:.0} h old, soaked {:.0} h, safety evidence {}, error budget left {}, {} commits; {}",
                candidate.version,
                candidate.age_hours,
                candidate.soak_hours,
                known(candidate.safety_evidence),
                known(candidate.error_budget_left),
                candidate.commits,
                if candidate.risks.is_empty() {
                    "nothing speaks against it".to_owned()
                } else {
                    candidate.risks.join(", ")
                }
            ));
        }
        text
    }
}

/// Why an input was not followed. Nothing is promoted because of it, and people are told; what it proves is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refusal")]
#[non_exhaustive]
pub enum Refusal {
    /// No such line.
    #[error("there is no line `{line}`; the train has {known}")]
    UnknownLine {
        /// The one named.
        line: String,
        /// Those there are.
        known: String,
    },
    /// One commit, two results.
    #[error("CI said green and red for commit {commit}: it is in quarantine, and nothing is built from it or promoted")]
    CiContradicts {
        /// The commit.
        commit: String,
    },
    /// One place in the line, two commits.
    #[error(
        "commit {number} was `{known}` and is now `{now}`: a line's history is never rewritten; nothing is built from either"
    )]
    CommitMoved {
        /// The place.
        number: u64,
        /// The name before.
        known: String,
        /// The name now.
        now: String,
    },
    /// A version whose content changed.
    #[error(
        "version {version} was {known} and is now {now}: it is barred, and the line stands still until a person resumes it"
    )]
    ArtefactChanged {
        /// The version.
        version: String,
        /// What it was: digest and commits.
        known: String,
        /// What it is now.
        now: String,
    },
    /// A commit whose place cannot be.
    #[error(
        "commit {commit} is said to be number {number}, and the newest before it was {newest}: no line grows by more than {most} at once; \
         give the number of commits before it"
    )]
    CommitTooFar {
        /// The commit.
        commit: String,
        /// Its number.
        number: u64,
        /// The highest number before.
        newest: u64,
        /// The widest step.
        most: u64,
    },
    /// A version that is not above those before it.
    #[error("version {version} goes backwards: {newest} was there before; give it a higher number")]
    VersionBackwards {
        /// The version.
        version: String,
        /// The newest there was.
        newest: String,
    },
    /// A version without a number.
    #[error("version `{version}` has no number that could be compared; name it as in mesh-1.9.2")]
    NotAVersion {
        /// The version.
        version: String,
    },
    /// What nobody asked for.
    #[error("{what}: nobody asked for it")]
    NobodyAsked {
        /// What it was.
        what: String,
    },
    /// One change, two ends.
    #[error("change {change} ended as {known} and now as {now}: the first stands")]
    EndChanged {
        /// The change.
        change: String,
        /// Its outcome before.
        known: String,
        /// Its outcome now.
        now: String,
    },
    /// No such release.
    #[error("there is no release {version} on this line")]
    UnknownVersion {
        /// The version.
        version: String,
    },
    /// Not one that may be chosen.
    #[error("release {version} cannot be chosen: {why}")]
    NotACandidate {
        /// The version.
        version: String,
        /// Why not.
        why: String,
    },
    /// A program said what only a person may say.
    #[error("{actor} is a program: only a person may {to}")]
    NeedsPerson {
        /// Who said it.
        actor: String,
        /// What.
        to: String,
    },
    /// A level that is not given.
    #[error("level {level} is not granted: {why}")]
    NoGrant {
        /// The level.
        level: String,
        /// Why not.
        why: String,
    },
    /// A program wanted more than its budget.
    #[error("{what} ({setting}): only a person may order another one now")]
    BeyondBudget {
        /// What is spent.
        what: String,
        /// The setting of [`TrainBudget`](super::TrainBudget).
        setting: String,
    },
    /// What production has is not skipped.
    #[error("release {version} cannot be skipped: {why}")]
    NotSkipped {
        /// The version.
        version: String,
        /// Why not.
        why: String,
    },
    /// Nobody was told of it.
    #[error("`{key}` is not open on this line: {open}")]
    NotOpen {
        /// The key that was named.
        key: String,
        /// Those that are.
        open: String,
    },
    /// A commit that CI has not found good.
    #[error("commit {commit} cannot be a hotfix: {why}")]
    NoHotfix {
        /// The commit.
        commit: String,
        /// Why not.
        why: String,
    },
}
