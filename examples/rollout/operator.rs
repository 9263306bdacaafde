//! Those who answer questions.

use std::io::{BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended::upgrade::{AttemptId, Clock, EffectKey, Generation, Platform, TargetId};
use unattended::{Actor, Handle, Notice, NoticeStage, Notifier, Pulse, Question, QuestionKind};
use unattended_simulated::Simulated;

use crate::options::Operator;
use crate::post::Post;

/// How long the simulated operator takes.
const ANSWER_MS: u64 = 10 * 60_000;
/// How often it looks whether somebody asked.
const LOOK_MS: u64 = 60_000;

/// Carries questions to whoever answers them here.
pub(crate) struct Desk {
    operator: Operator,
    handle: OnceLock<(Handle, Arc<Simulated>)>,
    /// Steps taken by hand.
    by_hand: AtomicU32,
    /// The questions that wait for the simulated operator, and since when.
    asked: Mutex<Vec<(u64, u64)>>,
    /// The question that was told last where nobody can answer; they begin with 1.
    told: AtomicU64,
    post: Option<Post>,
}

impl Desk {
    pub(crate) fn new(operator: Operator, post: Option<Post>) -> Self {
        Self {
            operator,
            handle: OnceLock::new(),
            by_hand: AtomicU32::new(0),
            told: AtomicU64::new(0),
            asked: Mutex::new(Vec::new()),
            post,
        }
    }

    pub(crate) fn connect(&self, handle: &Handle, world: &Arc<Simulated>) {
        // A second handle to the same run would be as good; the first stays.
        let _ = self.handle.set((handle.clone(), Arc::clone(world)));
    }

    /// Answers this question alone: another that has come up meanwhile is told on its own.
    fn answer(&self, question: u64, actor: Actor, text: &str) {
        if let Some((handle, _)) = self.handle.get()
            && let Err(error) = handle.answering(question).approve(actor, text)
        {
            eprintln!("the answer was not taken: {error}");
        }
    }

    /// The simulated operator at work, for as long as the run lasts.
    pub(crate) async fn work<C: Clock>(&self, clock: &C) {
        loop {
            clock.sleep_until(clock.now() + LOOK_MS).await;
            let is_due = |asked: &mut (u64, u64)| clock.now() >= asked.1 + ANSWER_MS;
            let due: Vec<(u64, u64)> = self.asked.lock().extract_if(.., is_due).collect();
            for (question, _) in due {
                self.answer(question, Actor::person("operator", "simulated"), "yes");
            }
            if self.operator == Operator::Simulated {
                self.take_steps(&Actor::person("operator", "simulated")).await;
            }
        }
    }

    /// Takes every step that is offered: with a word where that is enough, otherwise with the own hands, past the autopilot.
    async fn take_steps(&self, actor: &Actor) {
        let Some((handle, world)) = self.handle.get() else {
            return;
        };
        for offer in handle.offers() {
            if offer.by_hand {
                let key = EffectKey {
                    attempt: AttemptId(u64::from(u32::MAX) + u64::from(self.by_hand.fetch_add(1, Ordering::Relaxed))),
                    generation: Generation(1),
                    step: 0,
                    ordinal: 0,
                };
                let target = TargetId::from(offer.target.as_str());
                world.replace(&target, &offer.version, &key).await;
            }
            if let Err(error) = handle.step(actor.clone(), offer.target, "as the plan has it") {
                eprintln!("the step was not taken: {error}");
                return;
            }
        }
    }

    async fn prompt(&self, asked: &Question) {
        let (question, otherwise) = (&asked.text, &asked.otherwise);
        if !std::io::stdin().is_terminal() {
            // A reminder of it would say the same.
            if self.told.swap(asked.id, Ordering::Relaxed) == asked.id {
                return;
            }
            eprintln!("{question}\n(standard input is no terminal, so nobody can answer: {otherwise})");
            return;
        }
        eprint!("{question}\nwithout an answer: {otherwise}\n[y = yes; anything else = not now] ");
        let _ = std::io::stderr().flush();
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line).is_ok() && line.trim().eq_ignore_ascii_case("y") {
            let you = Actor::person("you", "terminal");
            if asked.kind == QuestionKind::Steps {
                self.take_steps(&you).await;
            } else {
                self.answer(asked.id, you, "yes");
            }
        }
    }
}

#[async_trait]
impl Notifier for Desk {
    async fn notify(&self, notice: &Notice) {
        if let Some(post) = &self.post {
            post.notify(notice);
        }
        let Some(question) = &notice.question else { return };
        // What is said again is asked once, and what is over needs no answer.
        self.asked.lock().retain(|(asked, _)| *asked != question.id);
        if notice.stage == NoticeStage::Resolved {
            return;
        }
        match self.operator {
            // Steps are taken one by one, not by an answer.
            Operator::Simulated if question.kind == QuestionKind::Steps => {}
            Operator::Simulated => self.asked.lock().push((question.id, question.asked_ms)),
            Operator::Prompt => self.prompt(question).await,
            Operator::None => {}
        }
    }

    async fn pulse(&self, pulse: &Pulse) {
        if let Some(post) = &self.post {
            post.pulse(pulse);
        }
    }
}
