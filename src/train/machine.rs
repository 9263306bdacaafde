//! The machine: inputs in, commands out. No clock, no I/O.

use std::collections::BTreeMap;
use std::fmt;

use unattended_defense::Guard;

use super::cadence::instant;
use super::config::TrainConfig;
use super::line::{Build, Context, Line, MOST_COMMITS, Outbox, REMEMBERED, Release, Tried};
use super::model::numbers;
use super::{Artefact, ChangeKey, ChangeOrder, Command, Commit, Input, Lane, LineId, Order, Refusal, Stage};
use crate::{Actor, ActorKind, Severity, Telling};

/// The version of what the journal has of a train: its inputs, and what follows from them.
const FORMAT: u32 = 1;
/// How the train is named where it stops a line.
pub(super) const TRAIN: &str = "the train";
/// Sources of which it is remembered that they do not answer.
const MOST_SOURCES: usize = 64;
/// A clock may go back by so much without anybody being told.
const CLOCK_MS: i64 = 3_600_000;

/// The release train: a pure function of its inputs.
///
/// - Each [`Input`] goes to [`apply`](Self::apply), in any order and any number of times: what was known already changes
///   nothing, and what contradicts itself is a [`Refusal`] from which nothing is promoted.
/// - [`due`](Self::due) has the commands that follow and have not been reported as [`Done`](Input::Done). Carrying one out twice
///   does no harm, so whoever drives the machine carries out first and reports then.
/// - The same inputs give the same state: a journal of them, folded, is the recovery.
#[derive(Clone)]
pub struct Train {
    pub(super) owner: Actor,
    pub(super) telling: Telling,
    pub(super) calendar: Guard,
    pub(super) qualification: Guard,
    pub(super) began_ms: i64,
    pub(super) now_ms: i64,
    pub(super) lines: BTreeMap<LineId, Line>,
    pub(super) out: Outbox,
    /// How the clock has gone back, if it has.
    pub(super) clock: Option<String>,
    pub(super) cursors: BTreeMap<(String, LineId), u64>,
}

impl fmt::Debug for Train {
    /// All that inputs can change.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Train")
            .field("now_ms", &self.now_ms)
            .field("lines", &self.lines)
            .field("out", &self.out)
            .field("cursors", &self.cursors)
            .finish_non_exhaustive()
    }
}

impl Train {
    pub(super) fn of(config: TrainConfig, lines: BTreeMap<LineId, Line>) -> Self {
        Self {
            owner: config.owner,
            telling: config.telling,
            calendar: config.calendar,
            qualification: config.qualification,
            began_ms: config.began_unix_ms,
            now_ms: config.began_unix_ms,
            lines,
            out: Outbox::default(),
            clock: None,
            cursors: BTreeMap::new(),
        }
    }

    /// What must be the same where a journal is taken up.
    pub(super) fn identity(&self) -> String {
        let lines: Vec<String> = self.lines.values().map(|line| format!("{:?}", line.config)).collect();
        format!(
            "format {FORMAT}, owner {}, telling {:?}, calendar {}, qualification {}, began {}, lines {}",
            self.owner,
            self.telling,
            self.calendar.digest(),
            self.qualification.digest(),
            self.began_ms,
            lines.join("; ")
        )
    }

    /// The latest time it was told, in Unix milliseconds.
    pub const fn now_unix_ms(&self) -> i64 {
        self.now_ms
    }

    /// The names of its lines.
    pub fn line_ids(&self) -> impl Iterator<Item = &LineId> {
        self.lines.keys()
    }

    /// Commands that have not been carried out yet, in order, each with its number.
    pub fn due(&self) -> impl Iterator<Item = (u64, &Command)> {
        self.out.due.iter().map(|(number, command)| (*number, command))
    }

    /// Changes that were started and whose end is not known.
    pub fn running(&self) -> impl Iterator<Item = &ChangeOrder> {
        self.lines
            .values()
            .flat_map(|line| line.runs.values().map(|run| &run.order))
    }

    /// What has to be said again after a kill, since whoever carried it out is gone with the run before: every change that has
    /// begun and has not ended is taken up, or taken back.
    pub fn said_again(&self) -> Vec<Command> {
        let said = self.out.due.values();
        let said: Vec<&ChangeKey> = said
            .filter_map(|command| match command {
                Command::Start(order) => Some(&order.change),
                Command::TakeBack { change, .. } => Some(change),
                _ => None,
            })
            .collect();
        let runs = self.lines.values().flat_map(|line| line.runs.values());
        runs.filter(|run| !said.contains(&&run.order.change))
            .map(|run| {
                run.back.as_ref().map_or_else(
                    || Command::Start(run.order.clone()),
                    |back| back.command(&run.order.change),
                )
            })
            .collect()
    }

    /// Who answers for it.
    pub const fn owner(&self) -> &Actor {
        &self.owner
    }

    /// Whether a source of a line answers, as far as it was said.
    pub(super) fn answers(&self, line: &LineId, source: &str) -> bool {
        self.lines
            .get(line)
            .is_none_or(|line| !line.silent.contains_key(source))
    }

    /// By which name an alarm outside knows it: that of its lines.
    pub(super) fn name(&self) -> String {
        let lines: Vec<&str> = self.lines.keys().map(|line| line.0.as_str()).collect();
        lines.join("+")
    }

    /// How often a sign of life is to be given.
    pub(super) const fn pulse_ms(&self) -> u64 {
        self.telling.pulse_ms
    }

    /// How many matters are open.
    pub(super) fn open_matters(&self) -> u32 {
        self.lines
            .values()
            .map(|line| line.desk.len())
            .fold(0, u32::saturating_add)
    }

    /// Where it stands, in one word.
    pub(super) fn state(&self) -> &'static str {
        let any = |is: &dyn Fn(&Line) -> bool| self.lines.values().any(is);
        if any(&|line| line.stopped.is_some()) {
            "stopped"
        } else if any(&|line| line.question.is_some()) {
            "asking"
        } else {
            "running"
        }
    }

    /// The release of each line of which facts are wanted.
    pub fn soaking(&self) -> impl Iterator<Item = (&LineId, &str)> {
        self.lines.iter().flat_map(|(id, line)| {
            let soaking = line
                .releases
                .values()
                .filter(|release| matches!(release.stage, Stage::Soaking { .. }));
            soaking.map(move |release| (id, release.artefact.version.as_str()))
        })
    }

    /// How far a source was read.
    pub fn cursor(&self, source: &str, line: &LineId) -> u64 {
        self.cursors
            .get(&(source.to_owned(), line.clone()))
            .copied()
            .unwrap_or(0)
    }

    /// Takes an input.
    ///
    /// # Errors
    /// A [`Refusal`]: the input was not followed. People are told of it through [`due`](Self::due).
    pub fn apply(&mut self, input: &Input) -> Result<(), Refusal> {
        let refused = match input {
            Input::Tick(now_ms) => {
                self.pass(*now_ms);
                None
            }
            Input::Done(number) => {
                self.out.due.remove(number);
                return Ok(());
            }
            Input::Cursor { source, line, cursor } => {
                let known = self.cursors.entry((source.clone(), line.clone())).or_default();
                *known = (*known).max(*cursor);
                return Ok(());
            }
            Input::Ended { change, end } => self.ended(change, end).err(),
            Input::Ci { line, .. }
            | Input::Built { line, .. }
            | Input::Facts { line, .. }
            | Input::Incident { line, .. }
            | Input::Restored { line, .. }
            | Input::Source { line, .. }
            | Input::Order { line, .. } => {
                let line = line.clone();
                self.on(&line, |line, cx| line.take(input, cx))
                    .and_then(|done| done)
                    .err()
                    .map(|refusal| (line, refusal))
            }
        };
        let ids: Vec<LineId> = self.lines.keys().cloned().collect();
        for id in &ids {
            self.on(id, |line, cx| line.go_on(cx)).ok();
        }
        let Some((line, refusal)) = refused else { return Ok(()) };
        // News may come again; whoever orders something is answered each time.
        let again = !matches!(input, Input::Order { .. })
            && self.lines.get_mut(&line).is_some_and(|line| !line.refuses(&refusal));
        if again {
            return Err(refusal);
        }
        // What is said to a line that is not there is told by another.
        let told_by = ids.iter().find(|id| **id == line).or_else(|| ids.first());
        if let Some(id) = told_by {
            let tell = |_: &mut Line, cx: &mut Context<'_>| {
                cx.tell(&line, "train.refused", Severity::Warning, refusal.to_string());
            };
            self.on(id, tell).ok();
        }
        Err(refusal)
    }

    /// Time goes on. A clock that has gone back is not followed: everything stands until it has come so far again, and people know.
    fn pass(&mut self, now_ms: i64) {
        let back = now_ms < self.now_ms.saturating_sub(CLOCK_MS);
        self.clock = back.then(|| {
            let (now, before) = (instant(now_ms), instant(self.now_ms));
            format!("The clock says {now} and has said {before} before.")
        });
        self.now_ms = self.now_ms.max(now_ms);
    }

    fn ended(&mut self, change: &ChangeKey, end: &super::ChangeEnd) -> Result<(), (LineId, Refusal)> {
        let owns = |line: &&Line| {
            line.ended.get(change).is_some() || line.runs.values().any(|run| run.order.change == *change)
        };
        let Some(id) = self.lines.values().find(owns).map(|line| line.config.id.clone()) else {
            let first = self
                .lines
                .keys()
                .next()
                .cloned()
                .unwrap_or_else(|| LineId(String::new()));
            let what = format!("the end of change {change}");
            return Err((first, Refusal::NobodyAsked { what }));
        };
        let taken = self.on(&id, |line, cx| line.ended(change, end, cx));
        taken.and_then(|done| done).map_err(|refusal| (id, refusal))
    }

    fn on<T>(&mut self, id: &LineId, act: impl FnOnce(&mut Line, &mut Context<'_>) -> T) -> Result<T, Refusal> {
        let known = || {
            self.lines
                .keys()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        if !self.lines.contains_key(id) {
            return Err(Refusal::UnknownLine {
                line: id.to_string(),
                known: known(),
            });
        }
        let first = self.lines.keys().next() == Some(id);
        let mut cx = Context {
            now_ms: self.now_ms,
            owner: &self.owner,
            telling: &self.telling,
            clock_is_back: self.clock.is_some(),
            clock: self.clock.as_deref().filter(|_| first),
            calendar: &self.calendar,
            qualification: &self.qualification,
            out: &mut self.out,
        };
        match self.lines.get_mut(id) {
            Some(line) => Ok(act(line, &mut cx)),
            None => Err(Refusal::UnknownLine {
                line: id.to_string(),
                known: String::new(),
            }),
        }
    }
}

impl Line {
    fn take(&mut self, input: &Input, cx: &mut Context<'_>) -> Result<(), Refusal> {
        match input {
            Input::Ci { commit, green, .. } => self.tried(commit, *green, cx),
            Input::Built { artefact, .. } => self.built(artefact, cx),
            Input::Facts { version, facts, .. } => {
                let numbers = self.find(version).map(|(numbers, _)| numbers.clone());
                let release = numbers.and_then(|numbers| self.releases.get_mut(&numbers));
                let release = release.ok_or_else(|| Refusal::NobodyAsked {
                    what: format!("what was seen of {version}"),
                })?;
                // Late news of one that has moved on, and older news of one that is watched, say nothing new.
                let Stage::Soaking { since_unix_ms } = release.stage else {
                    return Ok(());
                };
                // Nor does what was seen before it soaked; and nothing was seen after now.
                let mut facts = facts.clone();
                facts.at_unix_ms = facts.at_unix_ms.min(cx.now_ms);
                let newer = release
                    .facts
                    .as_ref()
                    .is_none_or(|known| known.at_unix_ms < facts.at_unix_ms);
                if newer && facts.at_unix_ms >= since_unix_ms {
                    release.facts = Some(facts);
                }
                Ok(())
            }
            Input::Incident { id, at_unix_ms, .. } => {
                self.incidents.began(id, (*at_unix_ms).clamp(0, cx.now_ms.max(0)));
                Ok(())
            }
            Input::Restored { id, at_unix_ms, .. } => {
                self.incidents.ended(id, (*at_unix_ms).clamp(0, cx.now_ms.max(0)));
                Ok(())
            }
            Input::Order {
                order, actor, reason, ..
            } => {
                // To know of something is no deed.
                if actor.kind == ActorKind::Person && !matches!(order, Order::Acknowledge { .. }) {
                    self.hands += 1;
                }
                self.order(order, actor, reason, cx)
            }
            Input::Source { source, answers, .. } => {
                if *answers {
                    self.silent.remove(source);
                } else if self.silent.len() < MOST_SOURCES {
                    self.silent.entry(source.clone()).or_insert(cx.now_ms);
                }
                Ok(())
            }
            Input::Tick(_) | Input::Ended { .. } | Input::Done(_) | Input::Cursor { .. } => Ok(()),
        }
    }

    fn tried(&mut self, commit: &Commit, green: bool, cx: &mut Context<'_>) -> Result<(), Refusal> {
        if commit.number < self.commits.keys().next().copied().unwrap_or(0)
            && self.production.content.has(commit.number)
        {
            // Long in production, and forgotten.
            return Ok(());
        }
        let newest = self.commits.keys().next_back().copied().unwrap_or(0);
        let newest = newest.max(self.production.content.upto);
        if commit.number.saturating_sub(newest) > MOST_COMMITS as u64 {
            return Err(Refusal::CommitTooFar {
                commit: commit.id.clone(),
                number: commit.number,
                newest,
                most: MOST_COMMITS as u64,
            });
        }
        let Some(known) = self.commits.get_mut(&commit.number) else {
            let tried = Tried {
                id: commit.id.clone(),
                at_ms: commit.at_unix_ms,
                green,
                quarantined: false,
            };
            self.commits.insert(commit.number, tried);
            return Ok(());
        };
        // News may come again, contradictions too.
        if known.quarantined || known.id == commit.id && known.green == green {
            return Ok(());
        }
        known.quarantined = true;
        let named = known.id.clone();
        let refusal = if known.id == commit.id {
            Refusal::CiContradicts {
                commit: commit.id.clone(),
            }
        } else {
            Refusal::CommitMoved {
                number: commit.number,
                known: known.id.clone(),
                now: commit.id.clone(),
            }
        };
        let built = self
            .releases
            .iter()
            .filter(|(_, release)| release.artefact.head == commit.number);
        let built: Vec<Vec<u64>> = built.map(|(numbers, _)| numbers.clone()).collect();
        for numbers in built {
            self.bar(&numbers, &refusal.to_string(), cx);
        }
        let number = commit.number;
        let urgent = |build: &Build| build.lane == Lane::Hotfix && build.head == number;
        if self.builds.iter().any(urgent) {
            self.lose_hotfix(number, format!("of {named}"), refusal.to_string());
        }
        self.builds.retain(|build| build.head != number);
        self.mends.remove(&number);
        Err(refusal)
    }

    fn built(&mut self, artefact: &Artefact, cx: &mut Context<'_>) -> Result<(), Refusal> {
        let version = || artefact.version.clone();
        let Some(key) = numbers(&artefact.version) else {
            return Err(Refusal::NotAVersion { version: version() });
        };
        if let Some(known) = self.releases.get(&key) {
            if known.artefact == *artefact {
                return Ok(());
            }
            if known.artefact.version == artefact.version {
                if known.others.contains(artefact) {
                    return Ok(());
                }
                let refusal = Refusal::ArtefactChanged {
                    version: version(),
                    known: content(&known.artefact),
                    now: content(artefact),
                };
                if let Some(known) = self.releases.get_mut(&key)
                    && known.others.len() < REMEMBERED
                {
                    known.others.push(artefact.clone());
                }
                self.bar(&key, &refusal.to_string(), cx);
                self.stop(TRAIN, &refusal.to_string(), Severity::Critical, false, cx);
                return Err(refusal);
            }
        }
        let lane = if artefact.base.is_some() {
            Lane::Hotfix
        } else {
            Lane::Nightly
        };
        let asked = |build: &Build| {
            (build.lane, build.head, build.base()) == (lane, artefact.head, artefact.base)
                && build.other_picks().eq(artefact.picks.iter().copied())
        };
        let Some(at) = self.builds.iter().position(asked) else {
            let what = format!("an artefact {} of commit {}", artefact.version, artefact.head);
            return Err(Refusal::NobodyAsked { what });
        };
        let newest = self
            .releases
            .iter()
            .filter(|(_, release)| lane == Lane::Nightly && release.lane == lane)
            .map(|(numbers, release)| (numbers, &release.artefact.version))
            .chain([(&self.production.numbers, &self.production.version)])
            .max();
        if let Some((_, newest)) = newest.filter(|(numbers, _)| **numbers >= key) {
            return Err(Refusal::VersionBackwards {
                version: version(),
                newest: newest.clone(),
            });
        }
        if let Some(same) = self.releases.get(&key) {
            return Err(Refusal::VersionBackwards {
                version: version(),
                newest: same.artefact.version.clone(),
            });
        }
        let build = self.builds.remove(at);
        let release = Release {
            artefact: artefact.clone(),
            lane,
            content: build.content,
            stage: Stage::Built,
            built_ms: cx.now_ms,
            soaking_ms: None,
            qualified_ms: None,
            facts: None,
            tries: BTreeMap::new(),
            others: Vec::new(),
            hands: 0,
            left_ms: None,
            passed: Vec::new(),
        };
        self.releases.insert(key, release);
        Ok(())
    }
}

/// What a version is, for people.
fn content(artefact: &Artefact) -> String {
    let Artefact {
        version: _,
        digest,
        head,
        base,
        picks,
    } = artefact;
    let upon = base.map_or_else(String::new, |base| format!(" upon {base} with {picks:?}"));
    format!("digest {digest} of commit {head}{upon}")
}
