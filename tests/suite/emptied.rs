//! Classes of which nobody runs the new version any more: nothing of them is asked about, and nothing of what was counts.
#![expect(clippy::unwrap_used, reason = "a failure of a helper is a failed test")]

use unattended::upgrade::Clock;
use unattended::{Outcome, QuestionKind};

use crate::support::{Act, Case, Ended, HOUR_MS, MINUTE_MS, NEW, OLD};

/// When the first order to this version was sent.
fn first(ended: &Ended, version: &str) -> u64 {
    let is_it = |act: Act, of: Option<&str>| act == Act::Replace && of == Some(version);
    let mut all = ended.effects.iter();
    all.find(|effect| is_it(effect.act, effect.version.as_deref()))
        .map(|effect| effect.at_ms)
        .unwrap()
}

#[test]
fn a_class_whose_only_target_has_gone_back_asks_for_nothing_and_waits_for_the_next() {
    let mut case = Case::calm(4, 20);
    case.settings.rehearse_way_back = true;
    case.settings.attempt_estimate_ms = 20_000;
    let back_ms = first(&case.run(), OLD);
    // A freeze of everything begins while the first is on its way back, and lasts longer than classes wait for evidence.
    let minute = back_ms / MINUTE_MS + 1;
    let frozen = minute..minute + 96 * 60;
    assert!(frozen.start < 60, "{frozen:?}");
    case.rules = format!(
        "version: 1\npack: year-end\nowner: ops\nscope: all\nfreezes:\n  \
         - {{id: books, from: \"2026-11-23T08:{:02}\", until: \"2026-11-27T08:{:02}\", zone: UTC, owner: ops, reason: books, rollback: allowed}}\n",
        frozen.start, frozen.start
    );
    let stage = case.stage();
    let (handle, clock) = (stage.handle.clone(), stage.sim.clock());
    let ended = stage.run_beside(async move {
        while clock.now() < frozen.end * MINUTE_MS {
            clock.sleep_until(clock.now() + HOUR_MS).await;
            let asked: Vec<QuestionKind> = handle.questions().into_iter().map(|question| question.kind).collect();
            assert_eq!(asked, [], "after {} h", clock.now() / HOUR_MS);
        }
        std::future::pending::<()>().await;
    });
    assert_eq!(ended.outcome, Outcome::Completed);
    ended.all_on_new();
    let there = ended
        .effects
        .iter()
        .filter(|effect| effect.version.as_deref() == Some(NEW));
    let before = there.filter(|effect| effect.disturbs() && effect.at_ms < (minute + 96 * 60) * MINUTE_MS);
    assert_eq!(before.count(), 1);
    assert!(ended.codes().contains(&"rehearsal.passed"));
}
