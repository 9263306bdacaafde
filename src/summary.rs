use serde::{Deserialize, Serialize};

use unattended_upgrade::Moves;

use crate::{Actor, Debt, Level, Outcome};

/// The version of the shape of [`Summary`] in JSON.
pub const SUMMARY_SCHEMA: u32 = 1;

/// Everything a report shows of a change, at one moment. Times of day are Unix milliseconds, other times are
/// milliseconds since the change began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// [`SUMMARY_SCHEMA`].
    pub schema: u32,
    /// The name of the change.
    pub change: String,
    /// Who wanted it.
    pub author: String,
    /// The version it started from.
    pub from: String,
    /// The version it brings.
    pub to: String,
    /// The level of autonomy.
    pub level: Level,
    /// When it began.
    pub began_unix_ms: i64,
    /// How far it has got in time.
    pub elapsed_ms: u64,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Outcome>,
    /// Where it stands, in one word: `rolling out`, `baking`, `rolling back`, `frozen`, `paused`, `waiting`, or the outcome.
    pub state: String,
    /// Since when it stands there: of a change that is frozen or paused, since somebody said so, or a later run took it up.
    pub state_since_ms: u64,
    /// When the run ends as frozen where nobody lets it go on. `None` where it is neither frozen nor paused, and where it has ended.
    #[serde(default)]
    pub freeze_ends_ms: Option<u64>,
    /// Who ended it where it stood, a person or a program; `None` where nobody did.
    #[serde(default)]
    pub ended_by: Option<Actor>,
    /// What a person has to do, if anything: of the open [questions](crate::Handle::questions) the one that weighs most.
    pub ask: Option<Ask>,
    /// All open questions, what weighs most first: that of [`ask`](Self::ask), then the others.
    #[serde(default)]
    pub asks: Vec<Ask>,
    /// Sizes of the fleet and what of it is exposed.
    pub exposure: Exposure,
    /// The evidence and its limit.
    pub evidence: Evidence,
    /// What happens next.
    pub next: Next,
    /// Targets whose ingress an attempt left closed, or may have: nobody is about to reopen it.
    pub closed: u64,
    /// Lanes that cannot go on for a reason that time alone does not cure.
    pub stuck: u64,
    /// Targets that serve nothing since an attempt failed both ways.
    pub lost: u64,
    /// The end of the newest interval of metrics.
    pub data_until_ms: u64,
    /// What people had to do: approvals, resumes, operator calls.
    pub human_actions: u64,
    /// Targets touched when the stop was decided, those in flight included; `None` where there was no stop.
    pub exposed_at_stop: Option<u64>,
    /// Targets that were brought back.
    pub rolled_back: u64,
    /// The batches of the plan.
    pub batches: Vec<BatchView>,
    /// The whole fleet, then each value of each label that evidence is gathered for.
    pub classes: Vec<ClassView>,
    /// Exposure over time, at most some hundred points.
    pub exposure_curve: Vec<ExposurePoint>,
    /// Applications over time, at most some dozens: those that have most left to do, then those that came through last.
    #[serde(default)]
    pub lanes: Vec<LaneView>,
    /// Evidence over time, at most some hundred points.
    pub evidence_curve: Vec<EvidencePoint>,
    /// Lanes that were held, by window; the longest first, at most some hundred.
    pub holds: Vec<HoldView>,
    /// How many lanes each window held, those among [`holds`](Self::holds) and all others.
    #[serde(default)]
    pub held: Vec<HeldBy>,
    /// What was decided, in order.
    pub decisions: Vec<DecisionView>,
    /// What was left behind.
    pub debts: Vec<Debt>,
    /// Classes that alone were stopped and taken back, while the rest went on ([`OnClassFault::Class`](crate::OnClassFault)).
    #[serde(default)]
    pub aside: Vec<AsideView>,
    /// Targets that are kept out of traffic, or are started anew, at this moment.
    #[serde(default)]
    pub isolated: Vec<IsolationView>,
    /// Durations of attempts and what they cost.
    pub receipt: ReceiptView,
}

/// What holds a change up whose effects the permit does not let be sent.
const PERMIT: &str = "the permit, which lets no effect be sent";

impl Summary {
    /// The permit lets no effect be sent: whatever else holds it up, nothing moves before that.
    pub(crate) fn withhold(&mut self) {
        if !matches!(self.outcome, None | Some(Outcome::Waiting)) {
            return;
        }
        self.next.blocked_by = Some(PERMIT.to_owned());
        // An end that moves with the clock is none.
        self.next.eta_ms = None;
        if self.outcome.is_some() && self.ask.is_none() {
            "the permit says yes again, then the next run goes on from the journal".clone_into(&mut self.next.what);
        }
    }

    /// Whether it is the permit that holds it up.
    pub(crate) fn is_withheld(&self) -> bool {
        self.next.blocked_by.as_deref() == Some(PERMIT)
    }
}

/// What a person is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ask {
    /// The question's number, by which an [answer](crate::Handle::answering) may name it; 0 in summaries of before there was one.
    #[serde(default)]
    pub id: u64,
    /// The question in one sentence.
    pub question: String,
    /// By when an answer is wanted.
    pub by_ms: u64,
    /// What happens without an answer.
    pub otherwise: String,
}

/// How much of the fleet runs, or has run, the new version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Exposure {
    /// Living targets.
    pub targets: u64,
    /// Applications.
    pub applications: u64,
    /// Targets that run the new version now.
    pub exposed: u64,
    /// Targets with an attempt under way.
    pub in_flight: u64,
    /// Applications with at least one exposed target.
    pub exposed_applications: u64,
    /// The most critical tier touched, where the fleet has the label `tier`.
    pub worst_tier: Option<String>,
}

/// One class: the whole fleet, or all targets with one value of a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClassView {
    /// `fleet`, or `zone=a`.
    pub name: String,
    /// Targets in it by the plan.
    pub targets: u64,
    /// Of these, on the new version, or on their way there.
    pub exposed: u64,
    /// So many may be exposed on the evidence there is.
    pub may_expose: u64,
    /// Where its present stage stands: `waiting` for its first target, `warming up`, `gathering` evidence, `safe`, `suspected` (evidence
    /// against the release keeps it from growing), `set aside` ([`OnClassFault::Class`](crate::OnClassFault)), or `through`.
    pub state: String,
    /// The e-value of safety of the present stage.
    pub evidence: f64,
    /// What it must reach.
    pub needed: f64,
    /// Requests behind it.
    pub requests: u64,
    /// It went on at least once without evidence from its own traffic.
    pub borrowed: bool,
}

/// The stop statistic against its limit, and where the errors come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// The e-value against the release; a stop needs [`needed`](Self::needed).
    pub value: f64,
    /// `1/alpha`.
    pub needed: f64,
    /// The strongest evidence in words.
    pub strongest: String,
    /// All that is known, for whoever wants to check.
    pub detail: String,
    /// The class that explains most of a stop; `None` where all strata together say more than any class.
    pub scope: Option<String>,
    /// Errors on new instances by class of fault: own, infrastructure, business.
    pub faults: Vec<FaultView>,
    /// The score in 0..=100; 50 knows nothing.
    pub score: f64,
    /// Classes that were promoted on borrowed evidence, and why.
    pub borrowed: Vec<String>,
}

/// Errors of one class of fault in the change so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FaultView {
    /// A word of [`FaultClass`](unattended_health::FaultClass), e.g. `own`; classes that nobody measured are left out.
    pub class: String,
    /// On new instances: bad events and requests.
    pub canary_bad: u64,
    /// See above.
    pub canary_total: u64,
    /// On the control cohort: bad events and requests.
    pub control_bad: u64,
    /// See above.
    pub control_total: u64,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Next {
    /// In one sentence. While it is frozen, paused, being given up, or waits for an answer: that, before anything else.
    pub what: String,
    /// When, if that is known; `None` while it hangs on somebody's word.
    pub at_ms: Option<u64>,
    /// The part of the budget for false stops that is still unspent, 0..=1.
    pub budget_left: f64,
    /// When the slowest class may be through at the least, whatever the rules of lanes say: [`Handle::outlook`](crate::Handle::outlook)
    /// asks them, too. `None` where nothing goes on before somebody says so: while it is frozen, paused, being given up or taken back, while
    /// it waits for an answer, and while the permit lets no effect be sent.
    pub eta_ms: Option<u64>,
    /// Who or what holds up the most targets; of a change that is frozen or paused, who said so.
    pub blocked_by: Option<String>,
}

/// One batch of the plan and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BatchView {
    /// From 0.
    pub index: u16,
    /// Planned targets.
    pub size: u64,
    /// Planned targets up to and with this batch.
    pub cumulative: u64,
    /// When its first target was started.
    pub began_ms: Option<u64>,
    /// When its last target was finished.
    pub ended_ms: Option<u64>,
    /// What it is compared with: `matched`, `partial` or `none`.
    pub control: String,
}

/// One point of the exposure curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExposurePoint {
    /// When.
    pub at_ms: u64,
    /// Targets on the new version.
    pub exposed: u64,
    /// Attempts under way.
    pub in_flight: u64,
    /// Applications with a target on the new version.
    #[serde(default)]
    pub lanes_begun: u64,
    /// Applications that had nothing more to do; none while the change goes back.
    #[serde(default)]
    pub lanes_through: u64,
}

/// How one application went its own way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LaneView {
    /// The application.
    pub lane: String,
    /// Its living targets.
    pub targets: u64,
    /// Of these, on the new version.
    pub exposed: u64,
    /// When it had nothing more to do, to the minute; `None` while it has, and where the change goes back.
    pub through_ms: Option<u64>,
    /// Its targets on the new version over time, at most some dozens of points: each number holds until the next.
    pub course: Vec<LanePoint>,
}

/// One point of a lane's course.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LanePoint {
    /// When.
    pub at_ms: u64,
    /// Targets of the application on the new version from then on.
    pub exposed: u64,
}

/// One point of the evidence curves, natural logarithms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EvidencePoint {
    /// When.
    pub at_ms: u64,
    /// The stop statistic.
    pub ln_stop: f64,
    /// The safety evidence of the class that has least.
    pub ln_safety: f64,
}

/// One lane held by one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HoldView {
    /// The application.
    pub lane: String,
    /// The window, rule or freeze.
    pub by: String,
    /// Why, in the owner's words.
    pub reason: String,
    /// Whose it is.
    pub owner: String,
    /// From when.
    pub from_ms: u64,
    /// Until when; for a hold that is over, its real end.
    pub until_ms: Option<u64>,
}

/// How many lanes one window held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeldBy {
    /// The window, rule or freeze.
    pub by: String,
    /// Whose it is.
    pub owner: String,
    /// Lanes that it held at any time; of a change with very many holds those that are remembered.
    pub lanes: u64,
    /// Of these, those that it holds now.
    pub open: u64,
}

/// One decision, or many alike at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DecisionView {
    /// When.
    pub at_ms: u64,
    /// A stable code, `area.what`.
    pub code: String,
    /// The text rendered from the code and its parameters.
    pub text: String,
    /// What would have changed it.
    pub otherwise: Option<String>,
    /// How many like it.
    pub count: u64,
}

/// Classes that were set aside together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AsideView {
    /// Their names, as `stack=go or zone=a`.
    pub classes: String,
    /// When.
    pub at_ms: u64,
    /// Their targets that ran the new version then, or were on their way to it.
    pub exposed: u64,
    /// What they were stopped for.
    pub why: String,
}

/// A target that is out of traffic by the change's doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IsolationView {
    /// Which.
    pub target: String,
    /// `bad node`, `traffic is cut`, or `restarts`.
    pub why: String,
    /// When it is back by itself; `None` while its order is under way.
    pub until_ms: Option<u64>,
}

/// What the attempts cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReceiptView {
    /// Attempts that ended.
    pub attempts: u64,
    /// Of these, brought the wanted version.
    pub done: u64,
    /// Of these, went back by themselves.
    pub went_back: u64,
    /// By mode: `cold`, `warm`, `hot` or `config`, with its count.
    pub modes: Vec<(String, u64)>,
    /// Quantiles of the duration of an attempt, in milliseconds: (q, ms).
    pub duration_ms: Vec<(f64, u64)>,
    /// Quantiles of the time in which a target served nothing new, in milliseconds: (q, ms).
    pub outage_ms: Vec<(f64, u64)>,
    /// Connections or requests cut by a deadline: of a drain, or of a hand-over.
    pub cut: u64,
    /// What became of the connections of hand-overs.
    pub moves: MovesView,
}

/// What became of the connections of all hand-overs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MovesView {
    /// Adopted by the other instance. One that moved there and back counts twice.
    pub moved: u64,
    /// Not movable; ended by themselves when they were asked to.
    pub declined: u64,
    /// Ended because their owner died.
    pub lost: u64,
    /// Bytes of unread input and state that moved along.
    pub bytes: u64,
    /// Of half the connections of a target at most so long, in microseconds; of the target where that was longest.
    pub pause_p50_us: u32,
    /// Of all but one in a hundred of a target likewise.
    pub pause_p99_us: u32,
    /// The longest that any connection stood still while it moved.
    pub pause_max_us: u32,
}

impl MovesView {
    pub(crate) fn add(&mut self, moves: &Moves) {
        self.moved += u64::from(moves.moved);
        self.declined += u64::from(moves.declined);
        self.lost += u64::from(moves.lost);
        self.bytes += moves.bytes;
        // Quantiles do not add up; the worst target's are a bound that holds for each.
        self.pause_p50_us = self.pause_p50_us.max(moves.pauses.p50_us);
        self.pause_p99_us = self.pause_p99_us.max(moves.pauses.p99_us);
        self.pause_max_us = self.pause_max_us.max(moves.pauses.max_us);
    }
}
