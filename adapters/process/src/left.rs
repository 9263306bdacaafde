//! Instances that have left and serve on what could not move: no slot is theirs any more, and they end by themselves, or at
//! their time.
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ending::Stop;
use crate::keeper::{Inner, Keeper};
use crate::process::Process;
use crate::state::{APPLICATION, Run, State};

/// What is durable of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Left {
    /// The slot that it had: its sockets are named so.
    pub(crate) slot: usize,
    pub(crate) run: Run,
    /// Until then it may go on, on the clock of its boot.
    pub(crate) until_ms: u64,
}

/// One that runs.
#[derive(Debug)]
pub(crate) struct Leaving {
    instance: u64,
    pub(crate) process: Arc<Process>,
    stop: Option<Stop>,
}

impl Leaving {
    /// Those of a state that still run.
    pub(crate) fn find_all(state: &State) -> std::io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for Left { run, .. } in &state.left {
            if let Some(process) = Process::find(run.pid, run.started)? {
                all.push(Self {
                    instance: run.instance,
                    process: Arc::new(process),
                    stop: None,
                });
            }
        }
        Ok(all)
    }
}

impl Keeper {
    /// Gives the slot of one that has left, and still serves somebody, to whoever is next.
    pub(crate) async fn let_go(&self, inner: &mut Inner, slot: usize, now: u64) {
        let leftover_ms = self.template.program.leftover_ms();
        let Some(live) = inner.lives[slot].as_ref().filter(|_| slot != APPLICATION) else {
            return;
        };
        let told = live.told.as_ref();
        let serves_on = told.is_some_and(|told| told.retired && told.connections.unwrap_or(0) > 0);
        if leftover_ms == 0 || !serves_on || live.is_ending() || !inner.is_done_with(slot, live) {
            return;
        }
        let leaving = Leaving {
            instance: live.run.instance,
            process: Arc::clone(&live.process),
            stop: None,
        };
        let mut state = inner.state.clone();
        state.left.push(Left {
            slot,
            run: live.run.clone(),
            until_ms: now.saturating_add(leftover_ms),
        });
        state.seats[slot].run = None;
        let _ = self.write(inner, state).await;
        // What could not be written is tried again in the next pass.
        if inner
            .state
            .left
            .iter()
            .any(|left| left.run.instance == leaving.instance)
        {
            inner.lives[slot] = None;
            inner.left.push(leaving);
        }
    }

    /// Ends those whose time has come, and buries those that have ended.
    pub(crate) async fn end_left(&self, inner: &mut Inner, now: u64, due_ms: &mut u64) {
        if inner.state.left.is_empty() {
            return;
        }
        inner.left.retain(|leaving| {
            let ended = leaving.process.has_ended();
            if ended {
                leaving.process.reap();
            }
            !ended
        });
        let over = inner.state.gone || inner.state.halted;
        let mut state = inner.state.clone();
        state.left.retain(|Left { slot, run, until_ms }| {
            let Some(leaving) = inner.left.iter_mut().find(|leaving| leaving.instance == run.instance) else {
                self.template.program.ended(&self.place(*slot, run));
                return false;
            };
            if over || now >= *until_ms {
                self.press(*slot, run, &leaving.process, &mut leaving.stop, now, due_ms);
            } else {
                *due_ms = (*due_ms).min(*until_ms);
            }
            true
        });
        if state.left.len() < inner.state.left.len() {
            // What cannot be written now is found dead once more in the next pass.
            let _ = self.write(inner, state).await;
        }
    }
}
