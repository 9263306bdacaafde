use serde::{Deserialize, Serialize};

/// When a change will be through, who is late, and why: [`Handle::outlook`](crate::Handle::outlook).
///
/// It walks every lane forward from where it stands: its slices one after the other, each when its classes may have shown what they
/// must at the earliest, when the rules next leave room for it, and with its rests. Attempts take what the settings
/// [estimate](crate::Settings::attempt_estimate_ms), and evidence of safety what it takes at the traffic that each class has had so far; a
/// class whose traffic is too thin goes on by its self-tests. Failures and people come on top.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outlook {
    /// The moment from which it is seen, in Unix milliseconds.
    pub at_unix_ms: i64,
    /// By when it should be through, where somebody said so.
    pub deadline_unix_ms: Option<i64>,
    /// When the last lane is through; `None` where some lane never is, and while [`waits_for`](Self::waits_for) says for whom it waits: lanes are then taken to go on at once.
    pub eta_unix_ms: Option<i64>,
    /// What nothing goes on without: the open question or, while the change is frozen or paused, that somebody lets it go on.
    pub waits_for: Option<String>,
    /// How many lanes end after the deadline, or never. Without a deadline, those that never do.
    pub late: u64,
    /// What costs them most, that of most targets first.
    pub late_by: Vec<LateBy>,
    /// The latest of them, those that never end first; at most a hundred.
    pub late_lanes: Vec<LateLane>,
    /// How many targets may be on their way at once, by the belief that the next attempt fails: success makes it more, a failure less, and
    /// never less than three. `None` where a change began with decisions of before there was a pace.
    #[serde(default)]
    pub most_in_flight: Option<u64>,
    /// What the traffic of those exposed now can show. `None` until enough was seen of them.
    #[serde(default)]
    pub traffic: Option<LiveTraffic>,
    /// What is planned first, then what larger steps would bring and cost.
    pub paces: Vec<Pace>,
}

/// Traffic as it is seen since the fleet has come to its present stage, and what it can show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LiveTraffic {
    /// Requests per second and exposed target.
    pub requests_per_s: f64,
    /// Own errors per request of those who still run the old version.
    pub error_rate: f64,
    /// Errors so many times as frequent on those exposed are found within one bake, nine times of ten. `None`: not even a thousand times.
    pub smallest_ratio: Option<f64>,
    /// So long it takes until a good release has shown its safety on those exposed, in milliseconds.
    pub safe_after_ms: u64,
}

/// One thing that costs lanes most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LateBy {
    /// What: a rule, a class whose evidence is waited for, or `its own size`.
    pub blocked_by: String,
    /// Who can do something about it; empty for evidence, and for lanes of many owners.
    pub owner: String,
    /// Lanes.
    pub lanes: u64,
    /// Targets of theirs that are still to be upgraded.
    pub targets: u64,
}

/// A lane that is late.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LateLane {
    /// Its application.
    pub lane: String,
    /// When it is through; `None`: never, as far as anybody can see.
    pub eta_unix_ms: Option<i64>,
    /// Targets that are still to be upgraded.
    pub left: u64,
    /// What costs it most: a rule, a class whose evidence is waited for, or `its own size`, at the pace of its caps.
    pub blocked_by: String,
    /// Who can do something about that: the owner of the rule, or of the application.
    pub owner: String,
    /// How long that costs, in milliseconds; `None`: there is no end to it.
    pub costs_ms: Option<u64>,
}

/// One way to take the remaining steps of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pace {
    /// Planned steps that are taken as one.
    pub at_once: u32,
    /// Steps that are left then.
    pub steps: u32,
    /// How long they take with every window open, at their least rests, in milliseconds.
    pub time_ms: u64,
    /// Targets that a fault of which nobody knows yet is expected to have reached when it shows, where one in two hundred exposed
    /// shows it in a bake: see [`expected_exposure`](unattended_batching::expected_exposure).
    pub exposed: f64,
}
