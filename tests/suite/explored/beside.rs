//! Whoever speaks to a run, answers it, and takes its steps.

use super::*;

/// Whoever is at work beside a run.
pub(super) struct Beside<'d> {
    pub(super) drawn: &'d Drawn,
    pub(super) sim: Arc<Simulated>,
    pub(super) words: VecDeque<(u64, Word)>,
    pub(super) look_ms: u64,
    pub(super) by_hand: u64,
    pub(super) said: Vec<(u64, String)>,
    pub(super) asked: BTreeMap<u64, (QuestionKind, u64)>,
}

impl Beside<'_> {
    pub(super) async fn work(&mut self, handle: &Handle, clock: &SimClock, until_ms: u64) {
        loop {
            let word_ms = self.words.front().map_or(u64::MAX, |(at_ms, _)| *at_ms);
            let next_ms = word_ms.min(self.look_ms).min(until_ms);
            if next_ms > clock.now() {
                clock.sleep_until(next_ms).await;
            }
            if clock.now() >= until_ms {
                return;
            }
            if clock.now() >= word_ms {
                let (_, word) = self.words.pop_front().unwrap();
                self.say(handle, clock.now(), word);
            }
            if clock.now() >= self.look_ms {
                self.look(handle, clock).await;
                self.look_ms = clock.now() + self.drawn.person_ms.unwrap_or(6 * HOUR_MS);
            }
        }
    }

    fn say(&mut self, handle: &Handle, now_ms: u64, word: Word) {
        let stop = handle
            .questions()
            .iter()
            .any(|open| matches!(open.kind, QuestionKind::RollBack | QuestionKind::SetClassAside));
        let text = format!("{word:?}");
        let unix = self.drawn.case.start_wall_ms + i64::try_from(40 * DAY_MS).unwrap();
        let heard = match word {
            Word::Pause => handle.pause(person(), "a look"),
            Word::Freeze => handle.freeze(person(), "a look"),
            Word::Resume if stop && self.drawn.case.release != "good" => handle.roll_back(person(), "it is bad"),
            Word::Resume => handle.resume(person(), "go on"),
            Word::Skip(app) => handle.skip(person(), app, "not now"),
            Word::Pin(target) => handle.pin(person(), target, "leave it"),
            Word::Abort => handle.abort(person(), "never mind"),
            Word::RollBack => handle.roll_back(person(), "it is slow"),
            Word::Demote(level) => handle.demote(person(), level, "careful"),
            Word::Grant(level) => handle.grant(Grant::new(level, person(), unix).unwrap(), "it is fine"),
        };
        self.said.push((
            now_ms,
            format!("{text}{}", if heard.is_err() { " refused" } else { "" }),
        ));
    }

    async fn look(&mut self, handle: &Handle, clock: &SimClock) {
        for question in handle.questions() {
            self.asked.insert(question.id, (question.kind, question.asked_ms));
            if self.drawn.person_ms.is_none() {
                continue;
            }
            let one = handle.answering(question.id);
            let good = matches!(self.drawn.case.release, "good" | "same" | "one-way");
            let heard = match question.kind {
                QuestionKind::Steps => continue,
                QuestionKind::RollBack if good => one.resume(person(), "it is good"),
                _ => one.approve(person(), "yes"),
            };
            self.said.push((
                clock.now(),
                format!("{:?} {}", question.kind, if heard.is_err() { "refused" } else { "yes" }),
            ));
        }
        if self.drawn.person_ms.is_none() {
            return;
        }
        for offer in handle.offers() {
            // What was offered a while ago may not be by now.
            if !handle.offers().contains(&offer) {
                continue;
            }
            if offer.by_hand {
                self.by_hand += 1;
                let key = EffectKey {
                    attempt: AttemptId(1_000_000 + self.by_hand),
                    generation: Generation(1),
                    step: 0,
                    ordinal: 0,
                };
                self.sim
                    .replace(&TargetId::from(offer.target.as_str()), &offer.version, &key)
                    .await;
            }
            self.said.push((clock.now(), format!("step {}", offer.target)));
            let _ = handle.step(person(), offer.target, "next");
        }
    }
}
