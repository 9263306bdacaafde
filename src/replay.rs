use serde::Serialize;
use unattended_defense::Guard;
use unattended_upgrade::{Describer, Journal, Position, Record, Stream, read_journal};

use crate::input::{Decided, Header, Input, Told};
use crate::machine::Machine;
use crate::{Outcome, RunError, Summary};

/// What came of playing a journal again.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Replay {
    /// By which [`DECISIONS`](crate::DECISIONS) the change began, and was played.
    pub decided_by: u16,
    /// Records that were read.
    pub records: u64,
    /// Decisions that were made again.
    pub decisions: u64,
    /// Starts among them.
    pub starts: u64,
    /// A chained SHA-256 over what was decided, when, and who was started, in hexadecimal.
    pub digest: String,
    /// The same as the journal has it.
    pub journal_digest: String,
    /// Where this program first decides otherwise than the one that wrote the journal.
    pub first_difference: Option<Difference>,
    /// What other rules would have answered otherwise, in the order in which that would have begun.
    pub what_if: Vec<WhatIf>,
    /// How the change ended; `None` where the journal breaks off before.
    pub outcome: Option<Outcome>,
    /// Where it stood at the end of the journal.
    pub summary: Summary,
}

/// The first decision that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The position of the record that has the journal's decisions.
    pub seq: Option<Position>,
    /// When, in milliseconds since the change began.
    pub at_ms: u64,
    /// What the journal has.
    pub journal: String,
    /// What this program decides.
    pub now: String,
}

/// A span in which other rules would have answered otherwise for a lane that wanted to go on. It ends where other rules of either
/// side take over, and the next one begins: `then` and `with_these` are true of all of it. What would have followed from that
/// nobody knows: the other lanes, and this one afterwards, are taken as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WhatIf {
    /// The application.
    pub lane: String,
    /// It is about the way back.
    pub back: bool,
    /// From when, in milliseconds since the change began.
    pub from_ms: u64,
    /// Until when; `None` where the journal ends before.
    pub until_ms: Option<u64>,
    /// What the rules in force said.
    pub then: String,
    /// What these rules say.
    pub with_these: String,
    /// Targets that were started meanwhile, and would not have been.
    pub started: u64,
}

/// Plays a journal again: the same inputs into the same machine, without platform, metrics, clock or people. Every decision is
/// compared with what the journal says was decided. `what_if` is asked beside the rules of the change wherever those are asked.
///
/// # Errors
/// [`RunError::Journal`] where the journal is of something else, is damaged, or cannot be played by this version;
/// [`RunError::LaterDecisions`] where its change goes by decisions that this build does not know;
/// [`RunError::Append`] where it cannot be read; [`RunError::Rules`] where `what_if` speaks of what the fleet does not have.
pub async fn replay<J: Journal + ?Sized>(journal: &J, what_if: Option<Guard>) -> Result<Replay, RunError> {
    let mut player = Player {
        what_if,
        ..Player::default()
    };
    read_journal(journal, |seq, record| player.play(seq, record)).await?;
    let nothing =
        || RunError::Journal("it has no change in it: it has not begun, or belongs to another program".to_owned());
    let machine = player.machine.ok_or_else(nothing)?;
    Ok(Replay {
        decided_by: machine.setup().header.decisions,
        records: player.records,
        decisions: player.decisions,
        starts: player.starts,
        digest: hex(player.digest),
        journal_digest: hex(player.journal_digest),
        first_difference: player.difference,
        what_if: machine.what_if(),
        outcome: machine.ended(),
        summary: machine.summary(),
    })
}

#[derive(Default)]
struct Player {
    what_if: Option<Guard>,
    describer: Describer,
    /// The beginning, until what the change was made from is read.
    begun: Option<(Header, Vec<unattended_health::History>)>,
    machine: Option<Machine>,
    records: u64,
    decisions: u64,
    starts: u64,
    digest: [u8; 32],
    journal_digest: [u8; 32],
    difference: Option<Difference>,
}

impl Player {
    fn play(&mut self, seq: Option<Position>, record: &Record<'_>) -> Result<(), RunError> {
        self.records += 1;
        if record.stream == Stream::UPGRADE {
            let receipt = self.describer.receipt(record);
            if let (Some(receipt), Some(machine)) = (
                receipt.map_err(|error| RunError::Journal(error.to_string()))?,
                &mut self.machine,
            ) {
                machine.receipt(&receipt);
            }
            return Ok(());
        }
        if record.stream != Stream::AUTOPILOT {
            return Ok(());
        }
        let input = Input::decode(record).map_err(RunError::Journal)?;
        match (&mut self.machine, input) {
            (None, Input::Begin(header, history)) => {
                header.check_decisions()?;
                self.begun = Some((header, history));
            }
            (None, Input::Made(blueprint)) => {
                let (header, history) = self.begun.take().ok_or_else(not_at_the_beginning)?;
                let setup = blueprint.setup(header).map_err(RunError::Journal)?;
                if let Some(guard) = &self.what_if {
                    guard.check_keys(setup.change.fleet.keys())?;
                }
                let mut machine = Machine::new(setup, &history)?;
                if let Some(guard) = self.what_if.take() {
                    machine.ask_also(guard);
                }
                self.machine = Some(machine);
            }
            (None, _) => return Err(not_at_the_beginning()),
            (Some(machine), Input::Decided(decided)) => {
                let now = machine.decided_again(&decided);
                let began_ms = machine.setup().header.began_ms;
                self.compare(seq, &decided, now.as_ref(), began_ms);
            }
            (Some(machine), input) => machine.take(&input)?,
        }
        Ok(())
    }

    fn compare(&mut self, seq: Option<Position>, then: &Decided, now: Option<&Decided>, began_ms: u64) {
        self.journal_digest = then.digest;
        if let Some(now) = now {
            self.digest = now.digest;
            self.decisions += now.told.len() as u64;
            self.starts += u64::from(now.starts);
        }
        let same = now.is_some_and(|now| now == then);
        if same || self.difference.is_some() {
            return;
        }
        let nothing: &[Told] = &[];
        let told = now.map_or(nothing, |now| &now.told);
        let longest = told.len().max(then.told.len());
        let at = (0..longest).find(|&at| told.get(at) != then.told.get(at));
        let words = |told: Option<&Told>| {
            told.map_or_else(|| "nothing".to_owned(), |told| format!("{}: {}", told.code, told.text))
        };
        let (journal, new, at_ms) = match at {
            Some(at) => {
                let (journal, new) = (then.told.get(at), told.get(at));
                (words(journal), words(new), journal.or(new).map(|told| told.at_ms))
            }
            None if now.map_or(0, |now| now.starts) != then.starts => (
                format!("{} starts", then.starts),
                format!("{} starts", now.map_or(0, |now| now.starts)),
                None,
            ),
            None => (
                format!("{} starts", then.starts),
                "as many starts, of other targets".to_owned(),
                None,
            ),
        };
        self.difference = Some(Difference {
            seq,
            at_ms: at_ms.unwrap_or(then.at_ms).saturating_sub(began_ms),
            journal,
            now: new,
        });
    }
}

fn not_at_the_beginning() -> RunError {
    RunError::Journal("it does not say what its change was made from: it was written by an earlier version".to_owned())
}

fn hex(digest: [u8; 32]) -> String {
    use std::fmt::Write;
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
