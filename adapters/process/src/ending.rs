//! Processes are asked to end, and killed when their grace is over.
use std::sync::Arc;

use rustix::process::Signal;

use crate::keeper::{Inner, Keeper};
use crate::process::Process;
use crate::state::{APPLICATION, Run};

/// When a process was told to end, and whether it was killed since.
pub(crate) type Stop = (u64, bool);

impl Keeper {
    /// Ends what is to end: asked, and killed after its grace.
    pub(crate) fn end(&self, inner: &mut Inner, seat: usize, now: u64, due_ms: &mut u64) {
        let orphan = self.is_orphan(inner, seat);
        let Some(mut live) = inner.lives[seat].take() else {
            return;
        };
        if live.stop.is_some() || inner.is_to_end(seat, &live) || orphan {
            self.press(seat, &live.run, &live.process, &mut live.stop, now, due_ms);
        }
        inner.lives[seat] = Some(live);
    }

    /// Asks a process to end, and kills it when its grace is over.
    pub(crate) fn press(
        &self,
        seat: usize,
        run: &Run,
        process: &Arc<Process>,
        stop: &mut Option<Stop>,
        now: u64,
        due_ms: &mut u64,
    ) {
        let (since, killed) = stop.get_or_insert_with(|| {
            self.ask_to_end(seat, run, process);
            (now, false)
        });
        let kill_at = *since + self.template.grace_ms;
        if now >= kill_at && !*killed {
            *killed = true;
            process.signal(Signal::KILL);
        } else if !*killed {
            *due_ms = (*due_ms).min(kill_at);
        }
    }

    /// Lets it finish what it has begun, then tells it to end. The request takes its time beside everything else.
    fn ask_to_end(&self, seat: usize, run: &Run, process: &Arc<Process>) {
        if seat == APPLICATION {
            process.signal(Signal::TERM);
            return;
        }
        let (place, process) = (self.place(seat, run), Arc::clone(process));
        let program = Arc::clone(&self.template.program);
        tokio::spawn(async move {
            let signal = program.drain(&place).await;
            process.signal(signal);
        });
    }
}
