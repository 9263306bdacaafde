//! Checks in virtual time: what is slow, silent, broken or stopped never passes, and a clear no waits for nobody.
//!
//! Each case of `must_not_pass` is a fault of another system, named beside it: somewhere "I could not tell" was counted as
//! "all well".

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use parking_lot::Mutex;
use unattended_defense::{
    Answer, Ask, Becomes, Check, CheckError, CheckedGuard, Code, Decision, Guard, Outcome, Request, Terms, Timer,
    UnknownReason, Verdict, app,
};

const NOW: i64 = 1_795_176_000_000;
const HOLD: Verdict = Verdict::Hold { until: None };

/// A clock that jumps to the next timer when nothing else can move.
#[derive(Debug, Clone, Default)]
struct World(Arc<(AtomicU64, Mutex<Timers>)>);

/// When, and who is waiting.
type Timers = Vec<(u64, Waker)>;

impl World {
    fn now(&self) -> u64 {
        self.0.0.load(Ordering::SeqCst)
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
                return done;
            }
            let mut timers = self.0.1.lock();
            timers.sort_by_key(|(at, _)| *at);
            assert!(!timers.is_empty(), "it waits for nothing");
            let (at, waker) = timers.remove(0);
            self.0.0.store(at.max(self.now()), Ordering::SeqCst);
            drop(timers);
            waker.wake();
        }
    }
}

#[async_trait]
impl Timer for World {
    async fn sleep(&self, ms: u64) {
        let until = self.now() + ms;
        poll_fn(|context| {
            if self.now() >= until {
                return Poll::Ready(());
            }
            self.0.1.lock().push((until, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// What a check of the tests does.
#[derive(Debug, Clone)]
enum Act {
    Pass,
    After(u64, Box<Self>),
    Never,
    Sees(u64),
    Deny,
    Fails,
    SaysSomethingElse,
    Panics,
}

#[derive(Debug)]
struct Acting {
    world: World,
    act: Act,
    dropped: Arc<AtomicBool>,
}

struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Check for Acting {
    #[expect(clippy::panic, reason = "a panic is what is tested")]
    async fn judge(&self, _: &Ask<'_>) -> Result<Outcome, CheckError> {
        let _dropped = Dropped(Arc::clone(&self.dropped));
        let mut act = &self.act;
        while let Act::After(ms, then) = act {
            self.world.sleep(*ms).await;
            act = then;
        }
        match act {
            Act::Pass => Ok(Outcome::clear(1)),
            Act::Sees(n) => Ok(Outcome::clear(*n)),
            Act::Deny => Ok(Outcome::against(
                1,
                vec![Answer::deny(Code::Own("own.no".into())).with("text", "no")],
            )),
            Act::Fails => Err(CheckError::Failed("connection refused".into())),
            Act::SaysSomethingElse => Err(CheckError::NotUnderstood("PASSED?".into())),
            Act::Panics => panic!("index out of bounds"),
            Act::Never | Act::After(..) => pending().await,
        }
    }
}

/// Asks checks with a budget of a second each and three seconds together; answers with the time it took.
fn ask(guard: &Guard, request: &Request, acts: &[Act]) -> (Decision, u64, Vec<bool>) {
    let world = World::default();
    let mut dropped = Vec::new();
    let mut checked: CheckedGuard = guard.clone().with_checks(3_000);
    for (n, act) in acts.iter().enumerate() {
        let flag = Arc::new(AtomicBool::new(false));
        dropped.push(Arc::clone(&flag));
        let check = Acting {
            world: world.clone(),
            act: act.clone(),
            dropped: flag,
        };
        let terms = Terms::new(format!("c{n}"), "1", "me", "because").unknown_for("gold", Becomes::Deny);
        checked = checked.check(terms, 1_000, check);
    }
    let decision = world.run(checked.decide(request, NOW, &world));
    let dropped = dropped.iter().map(|flag| flag.load(Ordering::SeqCst)).collect();
    (decision, world.now(), dropped)
}

fn request() -> Request {
    Request::pre("c").scope(app("a").label("tier", "silver"))
}

fn unknown(act: Act) -> Option<UnknownReason> {
    let (decision, _, _) = ask(&Guard::empty(), &request(), &[Act::Pass, act]);
    assert!(!decision.verdict.may_start(), "{decision:?}");
    assert_eq!(decision.verdict, Verdict::NeedsPerson);
    assert_eq!(decision.next_feasible, None);
    decision.findings[0].unknown
}

mod must_not_pass {
    use super::*;

    /// AlterShield (a): a synchronous check over its time is recorded as passed.
    #[test]
    fn altershield_a_a_check_over_its_time() {
        let late = Act::After(1_001, Box::new(Act::Pass));
        assert_eq!(unknown(late), Some(UnknownReason::TimedOut));
        let in_time = Act::After(999, Box::new(Act::Pass));
        assert_eq!(ask(&Guard::empty(), &request(), &[in_time]).0.verdict, Verdict::Allow);
    }

    /// AlterShield (b): whatever the checker does not recognise ends as passed.
    #[test]
    fn altershield_b_an_answer_nobody_recognises() {
        assert_eq!(unknown(Act::SaysSomethingElse), Some(UnknownReason::Unreadable));
        for word in ["passed", "PASS", "allowed", "none", "", "gray"] {
            let json = format!(r#"{{"verdict": "{word}"}}"#);
            assert!(serde_json::from_str::<Verdict>(&json).is_err(), "{word}");
        }
    }

    /// AlterShield (c): a rule on trial is counted and not awaited, so one sends every decision to the default, passed.
    #[test]
    fn altershield_c_one_rule_on_trial_among_others() {
        let rule = |id: &str, more: &str| format!("- {{id: {id}, kind: person, reason: x{more}}}\n");
        let text = |rules: &str| format!("version: 1\npack: p\nowner: o\nscope: all\nrules:\n{rules}");
        let on_trial = rule("trial", ", shadow: true");
        let with = Guard::from_yaml("p.yaml", text(&format!("{on_trial}{}", rule("real", "")))).expect("valid");
        let decision = with.decide(&request(), NOW);
        assert_eq!(
            (decision.verdict, decision.findings.len(), decision.shadow.len()),
            (Verdict::NeedsPerson, 1, 1)
        );
        // A check on trial does not count either, not even by its failure.
        let world = World::default();
        let check = Acting {
            world: world.clone(),
            act: Act::Never,
            dropped: Arc::default(),
        };
        let checked = with
            .with_checks(5)
            .check(Terms::new("t", "1", "me", "x").shadow(), 5, check);
        let decision = world.run(checked.decide(&request(), NOW, &world));
        assert_eq!(
            (decision.verdict, decision.findings.len(), decision.shadow.len()),
            (Verdict::NeedsPerson, 1, 2)
        );
    }

    /// AlterShield (d): a long check goes on in the background, where nobody waits for it.
    #[test]
    fn altershield_d_a_check_that_goes_on_for_ever() {
        assert_eq!(unknown(Act::Never), Some(UnknownReason::TimedOut));
        let (_, took, dropped) = ask(&Guard::empty(), &request(), &[Act::Never, Act::Never]);
        assert_eq!((took, dropped), (1_000, vec![true, true]));
    }

    /// AlterShield (e): a plug-in starts its queries and reads the map before they have filled it.
    #[test]
    fn altershield_e_a_check_that_has_seen_nothing() {
        assert_eq!(unknown(Act::Sees(0)), Some(UnknownReason::NoEvidence));
    }

    /// AlterShield (f): an exception means pass.
    #[test]
    fn altershield_f_an_error_and_a_panic() {
        assert_eq!(unknown(Act::Fails), Some(UnknownReason::Failed));
        assert_eq!(unknown(Act::Panics), Some(UnknownReason::Panicked));
        assert_eq!(
            unknown(Act::After(5, Box::new(Act::Panics))),
            Some(UnknownReason::Panicked)
        );
    }

    /// Argo Rollouts #4479: successful, although every measurement failed or errored.
    #[test]
    fn argo_4479_every_measurement_failed() {
        let (decision, _, _) = ask(
            &Guard::empty(),
            &request(),
            &[Act::Fails, Act::Panics, Act::Never, Act::Sees(0)],
        );
        assert_eq!((decision.verdict, decision.findings.len()), (Verdict::NeedsPerson, 4));
    }

    /// Argo Rollouts #1329: what was terminated before its first measurement counts as success.
    #[test]
    fn argo_1329_stopped_before_it_measured() {
        // Stopped by itself, with nothing to show; and stopped from outside, by the end of its time.
        assert_eq!(unknown(Act::Sees(0)), Some(UnknownReason::NoEvidence));
        assert_eq!(
            unknown(Act::After(2_000, Box::new(Act::Sees(7)))),
            Some(UnknownReason::TimedOut)
        );
    }

    /// Keptn #3920: the gate tries again, gives up, and the deployment happens anyway.
    #[test]
    fn keptn_3920_however_often_it_is_asked() {
        for phase in [request(), Request::post("c").scope(app("a").label("tier", "silver"))] {
            for _ in 0..50 {
                assert!(!ask(&Guard::empty(), &phase, &[Act::Fails]).0.verdict.may_start());
            }
        }
    }

    /// Kayenta: the label Error is in no denominator, so a group of errors beside one pass scores 100.
    #[test]
    fn kayenta_errors_are_not_left_out_of_the_count() {
        let mut acts = vec![Act::Pass; 9];
        acts.push(Act::Fails);
        assert!(!ask(&Guard::empty(), &request(), &acts).0.verdict.may_start());
    }

    fn staged(rule: &str, facts: &str) -> Decision {
        let pack = format!("version: 1\npack: p\nowner: o\nscope: all\nrules: [{{id: r, reason: x, {rule}}}]\n");
        let request = format!(
            "phase: post\nchange: {{id: c, started: 1, versions: {{from: \"1\", to: \"2\"}}}}\nfacts: {{{facts}}}\n"
        );
        Guard::from_yaml("p.yaml", pack)
            .expect("valid")
            .decide(&Request::from_text("r.yaml", &request).expect("valid"), NOW)
    }

    /// KubeFleet #610: an empty stage. It must not stand for evidence, nor be waited for where there is some.
    #[test]
    fn kubefleet_610_a_stage_without_targets() {
        let stages = |more: &str| {
            format!("stages: {{at: {NOW}, value: [{{name: empty, targets: 0, done: 0, since: 1}}{more}]}}")
        };
        let rule = "kind: soak, at_least: 24h";
        let alone = staged(rule, &stages(""));
        assert!(!alone.verdict.may_start());
        assert_eq!(alone.findings[0].unknown, Some(UnknownReason::NoEvidence));
        let young = format!(", {{name: real, targets: 5, done: 5, since: {}}}", NOW - 1);
        assert!(!staged(rule, &stages(&young)).verdict.may_start());
        let old = ", {name: real, targets: 5, done: 5, since: 1}";
        assert_eq!(staged(rule, &stages(old)).verdict, Verdict::Allow);
        // Nothing of nothing is not everything either.
        let reality = format!("reality: {{at: {NOW}, value: {{expected: 0, running: []}}}}");
        assert!(!staged("kind: complete", &reality).verdict.may_start());
    }

    /// KubeFleet #638: a cluster no stage lists. It must neither be passed over nor block without a word.
    #[test]
    fn kubefleet_638_a_target_in_no_stage() {
        let reality = format!(
            "reality: {{at: {NOW}, value: {{expected: 1, running: [{{count: 1, version: \"2\", ready: true}}], \
             unlisted: [cluster-9]}}}}"
        );
        let decision = staged("kind: complete", &reality);
        assert_eq!(
            (decision.verdict, decision.codes()[1]),
            (Verdict::NeedsPerson, "complete.unlisted")
        );
        assert!(decision.why().contains("cluster-9"), "{}", decision.why());
    }
}

#[test]
fn checks_run_at_once_and_a_clear_no_waits_for_nobody() {
    let slow = Act::After(900, Box::new(Act::Pass));
    let (decision, took, _) = ask(&Guard::empty(), &request(), &vec![slow.clone(); 20]);
    assert_eq!((decision.verdict, took), (Verdict::Allow, 900));
    let soon = Act::After(7, Box::new(Act::Deny));
    let (decision, took, dropped) = ask(&Guard::empty(), &request(), &[Act::Never, slow, soon, Act::Never]);
    assert_eq!((decision.verdict, took), (Verdict::Deny, 7));
    assert_eq!(decision.codes(), ["verdict.deny", "own.no"]);
    // Those that were still asking are not any more.
    assert_eq!(dropped, [true; 4]);
}

#[test]
fn after_a_step_a_checks_no_holds_and_is_clear_enough() {
    let post = Request::post("c").scope(app("a").label("tier", "silver"));
    let (decision, took, _) = ask(&Guard::empty(), &post, &[Act::Never, Act::Deny]);
    assert_eq!((decision.verdict, took), (HOLD, 0));
}

#[test]
fn a_no_of_the_rules_asks_no_check() {
    let pack =
        "version: 1\npack: p\nowner: o\nscope: all\nrules: [{id: r, kind: versions, reason: x, unknown: deny}]\n";
    let guard = Guard::from_yaml("p.yaml", pack).expect("valid");
    let (decision, took, dropped) = ask(&guard, &request(), &[Act::Never]);
    assert_eq!((decision.verdict, took, dropped), (Verdict::Deny, 0, vec![false]));
}

#[test]
fn the_tier_says_what_an_unknown_becomes_and_a_label_nobody_named_is_one() {
    let gold = Request::pre("c").scope(app("a").label("tier", "gold"));
    assert_eq!(ask(&Guard::empty(), &gold, &[Act::Fails]).0.verdict, Verdict::Deny);
    let world = World::default();
    let check = |act| Acting {
        world: world.clone(),
        act,
        dropped: Arc::default(),
    };
    let only =
        |zone: &str| Terms::new("z", "1", "me", "x").select(&unattended_defense::Scope::new().label("zone", zone));
    let decide = |request: &Request, act| {
        let checked = Guard::empty().with_checks(9).check(only("a"), 9, check(act));
        world.run(checked.decide(request, NOW, &world))
    };
    let zone = |zone: &str| Request::pre("c").scope(app("a").label("zone", zone));
    assert_eq!(decide(&zone("b"), Act::Deny).verdict, Verdict::Allow);
    assert_eq!(decide(&zone("a"), Act::Deny).verdict, Verdict::Deny);
    let unnamed = decide(&request(), Act::Deny);
    assert_eq!(
        (unnamed.verdict, unnamed.findings[0].unknown),
        (Verdict::NeedsPerson, Some(UnknownReason::MissingLabel))
    );
    assert_eq!(decide(&request(), Act::Pass).verdict, Verdict::Allow);
}

#[test]
fn the_future_may_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let (world, request) = (World::default(), request());
    let checked = Guard::empty().with_checks(9);
    assert_eq!(
        world.run(is_send(checked.decide(&request, NOW, &world))).verdict,
        Verdict::Allow
    );
}

#[test]
fn joining_findings_again_gives_the_same_decision() {
    let guard = Guard::empty();
    let (decision, _, _) = ask(&guard, &request(), &[Act::Fails, Act::Deny]);
    let again = guard
        .decide(&request(), NOW)
        .join(decision.findings.clone(), decision.shadow.clone());
    assert_eq!(again, decision);
    // In any order, and twice over.
    let mut turned = decision.findings.clone();
    turned.reverse();
    assert_eq!(guard.decide(&request(), NOW).join(turned, Vec::new()), decision);
}
