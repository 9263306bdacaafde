//! What all share suffers from a release: no comparison of versions shows it, and somebody is asked.

use unattended::Outcome;
use unattended::upgrade::Clock;

use crate::support::{Case, HOUR_MS, MINUTE_MS, person};

/// A fleet in which adoption grows from one in four hundred.
fn case(release: &'static str) -> Case {
    Case::calm(16, 100).release(release)
}

#[test]
fn a_shared_dependency_is_suspected_watched_and_asked_about() {
    let case = case("dependency=x40");
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            if handle.question().is_some() {
                let _ = handle.approve(person(), "it is slower for everybody");
            }
        }
    });
    let decisions = &ended.summary.decisions;
    let at = |code: &str| {
        decisions
            .iter()
            .find(|decision| decision.code == code)
            .map(|decision| decision.at_ms)
    };
    assert_eq!(ended.outcome, Outcome::RolledBack);
    ended.all_on_old();
    let (suspected, asked) = (at("interference.suspected").unwrap(), at("person.asked").unwrap());
    assert!(
        (2 * HOUR_MS..2 * HOUR_MS + 2 * MINUTE_MS).contains(&(asked - suspected)),
        "{suspected} {asked}"
    );
    // From then on nobody takes a step.
    let steps = ["lane.opened", "class.safe"];
    let later = decisions
        .iter()
        .filter(|decision| decision.at_ms > suspected && steps.contains(&decision.code.as_str()));
    assert_eq!(later.count(), 0);
    assert!(
        ended.summary.exposed_at_stop.unwrap() < 800,
        "{:?}",
        ended.summary.exposed_at_stop
    );
}

/// A word about what all share is none about any class: each shows that it is safe, as before.
#[test]
fn who_goes_on_over_it_lets_no_class_pass_unseen() {
    let stage = case("dependency=x40").stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        loop {
            clock.sleep_until(clock.now() + MINUTE_MS).await;
            if let Some(question) = handle.question() {
                let _ = handle.answering(question.id).resume(person(), "it is known");
            }
        }
    });
    let codes = ended.codes();
    assert!(codes.contains(&"person.asked"));
    assert!(!codes.contains(&"class.granted"), "{codes:?}");
    assert_eq!(ended.summary.human_actions, 1, "it is asked about once");
    assert_eq!(ended.outcome, Outcome::Completed);
}
