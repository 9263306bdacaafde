//! What the sources say: all are asked at once, each turn.

use futures::future::{join_all, join3};
use unattended_upgrade::{Clock, Journal};

use super::super::{
    Artefact, ChangeEnd, ChangeKey, Commit, FLEETS, INCIDENTS, IncidentNews, Input, LineId, News, NoAnswer,
    ReleaseFacts, Train,
};
use super::Run;

/// The names of the sources in cursors, beside [`INCIDENTS`] and [`FLEETS`].
const CI: &str = "ci";
const ARTEFACTS: &str = "artefacts";

impl<J: Journal, C: Clock> Run<J, C> {
    /// Asks all sources at once, so that one that hangs keeps nothing from the others. One that has no answer has none: it is asked
    /// again next time.
    pub(super) async fn read(&self) -> Vec<Input> {
        let mut news = vec![Input::Tick(self.parts.clock.wall())];
        let asked = self.shared.machine.lock().as_ref().map_or_else(Vec::new, asked);
        let answers = join_all(asked.iter().map(|asked| self.ask(asked))).await;
        for (asked, ((tried, built, seen), ends, facts)) in asked.iter().zip(answers) {
            let line = || asked.line.clone();
            let heard = [
                (CI, tried.is_ok()),
                (ARTEFACTS, built.is_ok()),
                (INCIDENTS, seen.is_ok()),
                (
                    FLEETS,
                    ends.iter().all(Result::is_ok) && facts.iter().all(Result::is_ok),
                ),
            ];
            news.extend(
                heard
                    .into_iter()
                    .filter_map(|(source, answers)| self.heard(&asked.line, source, answers)),
            );
            asked.told(&mut news, CI, asked.ci, tried, |(commit, green)| Input::Ci {
                line: line(),
                commit,
                green,
            });
            asked.told(&mut news, ARTEFACTS, asked.artefacts, built, |artefact| Input::Built {
                line: line(),
                artefact,
            });
            asked.told(&mut news, INCIDENTS, asked.incidents, seen, |item| {
                let (line, id, at_unix_ms) = (line(), item.id, item.at_unix_ms);
                if item.open {
                    Input::Incident { line, id, at_unix_ms }
                } else {
                    Input::Restored { line, id, at_unix_ms }
                }
            });
            news.extend(asked.running.iter().zip(ends).filter_map(|(change, end)| {
                let (change, end) = (change.clone(), end.ok()??);
                Some(Input::Ended { change, end })
            }));
            news.extend(asked.soaking.iter().zip(facts).filter_map(|(version, facts)| {
                let (line, version, facts) = (line(), version.clone(), facts.ok()??);
                Some(Input::Facts { line, version, facts })
            }));
        }
        news
    }

    async fn ask(&self, asked: &Asked) -> Answers {
        let (parts, line) = (&self.parts, &asked.line);
        let sources = join3(
            self.within(parts.ci.tried(line, asked.ci)),
            self.within(parts.artefacts.built(line, asked.artefacts)),
            self.within(parts.fleets.incidents(line, asked.incidents)),
        );
        let ends = asked.running.iter().map(|change| self.within(parts.fleets.end(change)));
        let facts = asked
            .soaking
            .iter()
            .map(|version| self.within(parts.fleets.facts(line, version)));
        join3(sources, join_all(ends), join_all(facts)).await
    }

    /// That a source has stopped to answer, or answers again.
    fn heard(&self, line: &LineId, source: &str, answers: bool) -> Option<Input> {
        let known = self
            .shared
            .machine
            .lock()
            .as_ref()
            .is_some_and(|train| train.answers(line, source));
        (known != answers).then(|| Input::Source {
            line: line.clone(),
            source: source.to_owned(),
            answers,
        })
    }
}

/// What is asked of a line's sources: from where on, which changes, and which releases.
struct Asked {
    line: LineId,
    ci: u64,
    artefacts: u64,
    incidents: u64,
    running: Vec<ChangeKey>,
    soaking: Vec<String>,
}

type Answer<T> = Result<T, NoAnswer>;
type Answers = (
    (
        Answer<News<(Commit, bool)>>,
        Answer<News<Artefact>>,
        Answer<News<IncidentNews>>,
    ),
    Vec<Answer<Option<ChangeEnd>>>,
    Vec<Answer<Option<ReleaseFacts>>>,
);

fn asked(train: &Train) -> Vec<Asked> {
    let of_line = |line: &LineId| {
        let running = train.running().filter(|order| order.line == *line);
        let soaking = train.soaking().filter(|(of, _)| *of == line);
        Asked {
            line: line.clone(),
            ci: train.cursor(CI, line),
            artefacts: train.cursor(ARTEFACTS, line),
            incidents: train.cursor(INCIDENTS, line),
            running: running.map(|order| order.change.clone()).collect(),
            soaking: soaking.map(|(_, version)| version.to_owned()).collect(),
        }
    };
    train.line_ids().map(of_line).collect()
}

impl Asked {
    /// What a source has told, and how far it was read.
    fn told<T>(
        &self,
        news: &mut Vec<Input>,
        source: &str,
        cursor: u64,
        told: Answer<News<T>>,
        input: impl FnMut(T) -> Input,
    ) {
        let Ok(told) = told else { return };
        news.extend(told.items.into_iter().map(input));
        news.extend((told.cursor > cursor).then(|| Input::Cursor {
            source: source.to_owned(),
            line: self.line.clone(),
            cursor: told.cursor,
        }));
    }
}
