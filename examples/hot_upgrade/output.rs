//! What is printed.

use std::sync::atomic::Ordering;

use serde::Serialize;
use unattended::Outcome;

use crate::client::Shared;
use crate::options::{Options, Way};
use crate::round::Round;

/// The version of the shape of the JSON object.
const SCHEMA: u32 = 1;

/// The last line of standard output with `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    schema: u32,
    mode: Way,
    envoy: bool,
    fleet: u32,
    rounds: u32,
    seed: u64,
    outcome: Outcome,
    /// By rounds, where they differ.
    outcomes: Vec<Outcome>,
    requests: u64,
    /// Requests that a living process could have served and did not.
    failed: u64,
    /// Requests that went down with a process that was killed.
    failed_with_owner: u64,
    /// Connections that a living process could have served and did not.
    lost: u64,
    lost_with_owner: u64,
    moved: u64,
    declined: u64,
    cut: u64,
    /// Connections that the server asked to end, seen by clients.
    ended: u64,
    /// Connections that clients led elsewhere, since their target wanted no traffic.
    left: u64,
    bytes_wrong: u64,
    /// How much longer than an ordinary one the longest answer took that a long-lived connection was waiting for while it
    /// moved, by clients. Where none move, as `waited_ms`.
    pause_ms: Pauses,
    /// The same, in the same time, of connections that stayed where they were: what the machine makes of it.
    control_ms: Pauses,
    /// The same of the longest answer of each long-lived connection in a whole round.
    waited_ms: Pauses,
    /// How long connections stood still while they moved, by the processes.
    stood_still_ms: Pauses,
    kills: u64,
    stops: u64,
    /// Applications that were restarted, though only the sidecar had to be.
    application_restarts: u64,
    seconds: f64,
    explanation: String,
}

#[derive(Debug, Serialize)]
struct Pauses {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Pauses {
    fn new([p50, p99, max]: [f64; 3]) -> Self {
        let rounded = |ms: f64| (ms * 1_000.0).round() / 1_000.0;
        Self {
            p50: rounded(p50),
            p99: rounded(p99),
            max: rounded(max),
        }
    }
}

impl Answer {
    pub(crate) fn new(options: &Options, shared: &Shared, rounds: &[Round], seconds: f64) -> Self {
        let tally = &shared.tally;
        let outcomes: Vec<Outcome> = rounds.iter().map(|round| round.outcome).collect();
        let worst = outcomes.iter().copied().max_by_key(|outcome| severity(*outcome));
        let sum = |count: fn(&Round) -> u64| rounds.iter().map(count).sum();
        let outcome = worst.unwrap_or(Outcome::Waiting);
        let (failed, failed_with_owner) = tally.failed_counts();
        let (lost, lost_with_owner) = tally.lost_counts();
        let ([moved, stayed], waited) = (tally.pauses_ms(), tally.longest_ms());
        let moves = tally.saw_moves();
        let told = rounds.iter().find(|round| round.outcome == outcome);
        Self {
            schema: SCHEMA,
            mode: options.mode,
            envoy: options.envoy,
            fleet: options.fleet,
            rounds: options.rounds,
            seed: options.seed,
            outcome,
            outcomes,
            requests: tally.requests.load(Ordering::Relaxed) + failed + failed_with_owner,
            failed,
            failed_with_owner,
            lost,
            lost_with_owner,
            moved: sum(|round| round.moves.moved),
            declined: sum(|round| round.moves.declined),
            cut: sum(|round| round.cut),
            ended: tally.ended.load(Ordering::Relaxed),
            left: tally.left.load(Ordering::Relaxed),
            bytes_wrong: tally.bytes_wrong.load(Ordering::Relaxed),
            pause_ms: Pauses::new(if moves { moved } else { waited }),
            control_ms: Pauses::new(stayed),
            waited_ms: Pauses::new(waited),
            stood_still_ms: Pauses::new(tally.stood_ms()),
            kills: sum(|round| round.kills),
            stops: sum(|round| round.stops),
            application_restarts: sum(|round| round.application_restarts),
            seconds: (seconds * 10.0).round() / 10.0,
            explanation: told.map(|round| round.explanation.clone()).unwrap_or_default(),
        }
    }

    /// Something that no way of upgrading but a cold one may do has happened.
    pub(crate) fn is_unexpected(&self) -> bool {
        self.bytes_wrong > 0 || self.lost > 0 && self.mode != Way::Cold
    }

    pub(crate) const fn exit_code(&self) -> u8 {
        self.outcome.exit_code()
    }

    pub(crate) fn print(&self, json: bool) -> Result<(), serde_json::Error> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!("{} in {} s: {}", self.outcome.as_str(), self.seconds, self.explanation);
        println!("  requests      {:>9}", self.requests);
        println!(
            "  failed        {:>9}   and {} with a killed process",
            self.failed, self.failed_with_owner
        );
        println!(
            "  lost          {:>9}   and {} with a killed process",
            self.lost, self.lost_with_owner
        );
        println!("  wrong bytes   {:>9}", self.bytes_wrong);
        println!(
            "  moved         {:>9}   declined {}, cut {}, led elsewhere {}",
            self.moved, self.declined, self.cut, self.left
        );
        for (what, Pauses { p50, p99, max }) in [
            ("waited longer", &self.pause_ms),
            ("  who stayed ", &self.control_ms),
            ("  in all     ", &self.waited_ms),
            ("stood still  ", &self.stood_still_ms),
        ] {
            println!("  {what} {p50:>9.1} ms at the median, {p99:.1} at 99 %, {max:.1} at most");
        }
        Ok(())
    }
}

/// The later, the worse.
pub(crate) const fn severity(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Completed => 0,
        Outcome::CompletedWithDebt => 1,
        Outcome::RolledBack => 2,
        Outcome::Aborted => 3,
        Outcome::RolledBackPartially => 4,
        _ => 5,
    }
}
