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
    // It is asked about again where they suffer twice as much more than before.
    let asked = (ended.summary.decisions.iter()).filter(|decision| decision.code == "person.asked");
    let factor = |text: &str| -> f64 {
        let words = text.split(" times as many").next().unwrap();
        words.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let factors: Vec<f64> = asked.map(|decision| factor(&decision.text)).collect();
    assert_eq!(factors.len() as u64, ended.summary.human_actions);
    assert!(
        factors.windows(2).all(|pair| pair[1] - 1.0 > 1.9 * (pair[0] - 1.0)),
        "{factors:?}"
    );
    assert_eq!(ended.outcome, Outcome::Completed);
}
