//! Where the train stands, for reports.

use serde::{Deserialize, Serialize};

use super::line::{Line, Release};
use super::{Briefing, Lane, Measures, Site, Stage, Train};
use crate::{Level, Severity};

/// The version of the shape of [`TrainSummary`] in JSON.
pub const TRAIN_SCHEMA: u32 = 1;

/// Everything that a report shows of a train at one moment. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrainSummary {
    /// [`TRAIN_SCHEMA`].
    pub schema: u32,
    /// Who answers for it.
    pub owner: String,
    /// When it began.
    pub began_unix_ms: i64,
    /// The moment shown.
    pub now_unix_ms: i64,
    /// The lines.
    pub lines: Vec<LineView>,
    /// Over all lines.
    pub measures: Measures,
}

/// One version line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LineView {
    /// Its name.
    pub id: String,
    /// How often it chooses.
    pub cadence: String,
    /// The level of autonomy in force.
    pub level: Level,
    /// Who granted it, or the last that was.
    pub granted_by: String,
    /// When that ends, or ended.
    pub granted_until_unix_ms: i64,
    /// What production runs.
    pub production: String,
    /// What the canary fleet runs, or is brought to.
    pub canary: String,
    /// Who stopped it, and why, where it stands still.
    pub stopped: Option<String>,
    /// What people are told as long as it is so, by its key.
    pub matters: Vec<MatterView>,
    /// The open question.
    pub question: Option<Briefing>,
    /// Why the release that would go does not go now.
    pub held: Option<String>,
    /// The next slot.
    pub next_slot_unix_ms: i64,
    /// Incidents of production that are open.
    pub incidents: Vec<String>,
    /// Commits that production does not have yet.
    pub commits_waiting: u64,
    /// The releases, by version, oldest first.
    pub releases: Vec<ReleaseView>,
    /// The line's own figures.
    pub measures: Measures,
}

/// Something that people have to know as long as it is so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MatterView {
    /// A stable code, `train.what`.
    pub code: String,
    /// Under which key it is acknowledged.
    pub key: String,
    /// How soon somebody has to look at it.
    pub severity: Severity,
    /// Since when it is so.
    pub since_unix_ms: i64,
    /// The whole story.
    pub text: String,
}

/// One release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReleaseView {
    /// Its version.
    pub version: String,
    /// The digest of its artefact.
    pub digest: String,
    /// Ordinary or urgent.
    pub lane: Lane,
    /// The number of its newest commit.
    pub head: u64,
    /// When it was built.
    pub built_unix_ms: i64,
    /// When it was on the whole canary fleet.
    pub soaking_unix_ms: Option<i64>,
    /// When it qualified.
    pub qualified_unix_ms: Option<i64>,
    /// When it was in all of production.
    pub production_unix_ms: Option<i64>,
    /// When it went no further; of one that went all the way, when it arrived.
    pub left_unix_ms: Option<i64>,
    /// Whether a change of this site was ever started for it.
    pub tried_canary: bool,
    /// See above.
    pub tried_production: bool,
    /// Where it stands.
    pub stage: Stage,
    /// What people did for it.
    pub human_actions: u64,
}

impl Train {
    /// Where it stands.
    pub fn summary(&self) -> TrainSummary {
        TrainSummary {
            schema: TRAIN_SCHEMA,
            owner: self.owner.to_string(),
            began_unix_ms: self.began_ms,
            now_unix_ms: self.now_ms,
            lines: self.lines.values().map(|line| self.line_view(line)).collect(),
            measures: Measures::of(self.lines.values(), self.began_ms, self.now_ms),
        }
    }

    fn line_view(&self, line: &Line) -> LineView {
        let waiting = line
            .commits
            .keys()
            .filter(|number| !line.production.content.has(**number));
        LineView {
            id: line.config.id.to_string(),
            cadence: line.config.timetable.cadence.to_string(),
            level: line.autonomy.level,
            granted_by: line.autonomy.by.to_string(),
            granted_until_unix_ms: line.autonomy.until_ms,
            production: line.production.version.clone(),
            canary: line
                .runs
                .get(&Site::Canary)
                .and_then(|run| line.releases.get(&run.release))
                .map_or_else(|| line.canary.clone(), |release| release.artefact.version.clone()),
            stopped: line
                .stopped
                .as_ref()
                .map(|stop| format!("{}: {}", stop.by, stop.reason)),
            matters: line.open_matters().collect(),
            question: line.question.clone(),
            held: line.held.as_ref().map(|held| held.text.clone()),
            next_slot_unix_ms: line.slot.next_ms,
            incidents: line.incidents.open().map(str::to_owned).collect(),
            commits_waiting: waiting.count() as u64,
            releases: line.releases.values().map(view).collect(),
            measures: Measures::of(std::iter::once(line), self.began_ms, self.now_ms),
        }
    }
}

fn view(release: &Release) -> ReleaseView {
    let production = release.passed.iter().find(|(site, _)| *site == Site::Production);
    ReleaseView {
        version: release.artefact.version.clone(),
        digest: release.artefact.digest.clone(),
        lane: release.lane,
        head: release.artefact.head,
        built_unix_ms: release.built_ms,
        soaking_unix_ms: release.soaking_ms,
        qualified_unix_ms: release.qualified_ms,
        production_unix_ms: production.map(|(_, at_ms)| *at_ms),
        left_unix_ms: release.left_ms,
        tried_canary: release.tries.contains_key(&Site::Canary),
        tried_production: release.tries.contains_key(&Site::Production),
        stage: release.stage.clone(),
        human_actions: release.hands,
    }
}
