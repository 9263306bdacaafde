//! Those who answer questions.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::OnceLock;

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::upgrade::Clock;
use unattended::{Actor, Handle, Notice, Notifier};

use crate::options::Operator;

/// How long the simulated operator takes.
const ANSWER_MS: u64 = 10 * 60_000;
/// How often it looks whether somebody asked.
const LOOK_MS: u64 = 60_000;

/// Carries questions to whoever answers them here.
#[derive(Debug)]
pub(crate) struct Desk {
    operator: Operator,
    handle: OnceLock<Handle>,
    asked_ms: Mutex<Option<u64>>,
}

impl Desk {
    pub(crate) fn new(operator: Operator) -> Self {
        Self {
            operator,
            handle: OnceLock::new(),
            asked_ms: Mutex::new(None),
        }
    }

    pub(crate) fn connect(&self, handle: &Handle) {
        // A second handle to the same run would be as good; the first stays.
        let _ = self.handle.set(handle.clone());
    }

    fn answer(&self, actor: Actor, text: &str) {
        if let Some(handle) = self.handle.get()
            && let Err(error) = handle.approve(actor, text)
        {
            eprintln!("the answer was not taken: {error}");
        }
    }

    /// The simulated operator at work, for as long as the run lasts.
    pub(crate) async fn work<C: Clock>(&self, clock: &C) {
        loop {
            clock.sleep_until(clock.now() + LOOK_MS).await;
            let due = self
                .asked_ms
                .lock()
                .is_some_and(|asked| clock.now() >= asked + ANSWER_MS);
            if due {
                *self.asked_ms.lock() = None;
                self.answer(Actor::person("operator", "simulated"), "yes");
            }
        }
    }

    fn prompt(&self, question: &str, otherwise: &str) {
        if !std::io::stdin().is_terminal() {
            eprintln!("{question}\n(standard input is no terminal, so nobody can answer: {otherwise})");
            return;
        }
        eprint!("{question}\nwithout an answer: {otherwise}\n[y = yes; anything else = not now] ");
        let _ = std::io::stderr().flush();
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line).is_ok() && line.trim().eq_ignore_ascii_case("y") {
            self.answer(Actor::person("you", "terminal"), "yes");
        }
    }
}

#[async_trait]
impl Notifier for Desk {
    async fn notify(&self, notice: &Notice) {
        let Some(question) = &notice.question else { return };
        match self.operator {
            Operator::Simulated => *self.asked_ms.lock() = Some(question.asked_ms),
            Operator::Prompt => self.prompt(&question.text, &question.otherwise),
            Operator::None => {}
        }
    }
}
