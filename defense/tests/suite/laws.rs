//! Laws over random packs: the earliest start against trying every minute, and that more rules are never laxer.

use proptest::prelude::*;
use unattended_defense::{Direction, Guard, Need, NextFeasible, Request, Scope, Verdict, app};

const MINUTE: i64 = 60_000;
/// Monday, 2026-11-02T00:00Z.
const MONDAY: i64 = 1_793_577_600_000;

fn pack(name: &str, scope: &str, rules: &str) -> (String, String) {
    (
        format!("{name}.yaml"),
        format!("version: 1\npack: {name}\nowner: team-{name}\nscope: {scope}\n{rules}"),
    )
}

fn window(id: &str, kind: &str, weekly: &str, more: &str) -> String {
    format!("- {{id: {id}, kind: {kind}, weekly: {{{weekly}}}, zone: UTC, reason: because of {id}{more}}}\n")
}

fn windows(rules: &[String]) -> String {
    format!("windows:\n{}", rules.concat())
}

fn gold() -> Scope {
    app("a").label("business", "pay").label("tier", "gold")
}

fn need(batch: i64, rollback: i64) -> Need {
    let ms = |ms: i64| u64::try_from(ms).expect("not negative");
    Need {
        batch_ms: ms(batch),
        rollback_ms: ms(rollback),
    }
}

/// A weekly window in minutes of the week, so that the slow answer is plain arithmetic.
#[derive(Debug, Clone)]
struct Plain {
    change: bool,
    day: i64,
    minute: i64,
    length: i64,
    granted: bool,
    tier: Option<&'static str>,
}

const WEEK: i64 = 7 * 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Plain {
    fn yaml(&self, id: usize) -> String {
        let day = DAYS[usize::try_from(self.day).expect("0 to 6")];
        let select = self
            .tier
            .map_or(String::new(), |tier| format!(", select: {{tier: {tier}}}"));
        window(
            &format!("w{id}"),
            if self.change { "change" } else { "protected" },
            &format!(
                "days: {day}, from: \"{:02}:{:02}\", for: {}m",
                self.minute / 60,
                self.minute % 60,
                self.length
            ),
            &format!(
                "{select}, rollback: {}",
                if self.granted { "allowed" } else { "forbidden" }
            ),
        )
    }

    fn applies(&self) -> bool {
        self.tier.is_none_or(|tier| tier == "gold")
    }

    /// Whether it covers a minute counted from a Monday.
    fn covers(&self, minute: i64) -> bool {
        (minute - self.day * 1440 - self.minute).rem_euclid(WEEK) < self.length
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    (
        any::<bool>(),
        0_i64..7,
        0_i64..1440,
        1_i64..4000,
        any::<bool>(),
        prop_oneof![Just(None), Just(Some("gold")), Just(Some("silver"))],
    )
        .prop_map(|(change, day, minute, length, granted, tier)| Plain {
            change,
            day,
            minute,
            length,
            granted,
            tier,
        })
}

fn load(packs: &[Vec<Plain>]) -> Option<Guard> {
    let texts = packs.iter().enumerate().map(|(i, rules)| {
        let rules: Vec<_> = rules.iter().enumerate().map(|(i, rule)| rule.yaml(i)).collect();
        pack(&format!("p{i}"), "{business: pay}", &windows(&rules))
    });
    // A pack that is never open is refused, and of no interest here.
    Guard::from_packs(texts).ok()
}

/// Whether a minute is closed to a forward batch, and whether to the rollback after it.
fn closed(packs: &[Vec<Plain>], minute: i64) -> (bool, bool) {
    let mut batch = false;
    let mut rollback = false;
    for rules in packs {
        let (hours, closed): (Vec<_>, Vec<_>) = rules.iter().filter(|r| r.applies()).partition(|r| r.change);
        for rule in closed.iter().filter(|r| r.covers(minute)) {
            batch = true;
            rollback |= !rule.granted;
        }
        if !hours.is_empty() && !hours.iter().any(|r| r.covers(minute)) {
            batch = true;
            rollback |= hours.iter().any(|r| !r.granted);
        }
    }
    (batch, rollback)
}

fn seeded(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(seeded(300))]

    /// The earliest start, against trying minute after minute; and a decision allows exactly when it is now.
    #[test]
    fn next_feasible_is_the_earliest(
        packs in prop::collection::vec(prop::collection::vec(plain(), 1..4), 1..4),
        start in 0..WEEK, batch in 0_i64..600, rollback in 0_i64..600,
    ) {
        let Some(guard) = load(&packs) else { return Ok(()) };
        // Fortnight as far as a weekly pattern can need, plus the length itself.
        let table: Vec<(bool, bool)> = (0..4 * WEEK).map(|minute| closed(&packs, minute)).collect();
        let fits = |at: i64| {
            let row = |minute: i64| table[usize::try_from(minute).expect("in range")];
            (at..at + batch.max(1)).all(|minute| !row(minute).0)
                && (at + batch..at + batch + rollback).all(|minute| !row(minute).1)
        };
        let slow = (start..start + WEEK + 1440).find(|at| fits(*at));
        let now = MONDAY + start * MINUTE;
        let needed = need(batch * MINUTE, rollback * MINUTE);
        let found = match guard.next_feasible(&gold(), now, needed) {
            NextFeasible::At(ms) => Some((ms - MONDAY) / MINUTE),
            NextFeasible::NeverWithin(..) => None,
        };
        prop_assert_eq!(found, slow);
        let decision = guard.decide(&Request::pre("c").scope(gold()).need(needed), now);
        prop_assert_eq!(decision.verdict == Verdict::Allow, slow == Some(start));
        prop_assert_eq!(decision.next_feasible.map(|ms| (ms - MONDAY) / MINUTE), slow);
        // Each finding by itself ends no later than the whole.
        for finding in &decision.findings {
            prop_assert!(slow.is_none() || finding.until.is_some_and(|until| until <= MONDAY + slow.unwrap_or(0) * MINUTE));
        }
        prop_assert_eq!(guard.why_not_now(&gold(), now).is_empty(), !closed(&packs, start).0);
        // The rollback of a change, asked for by itself.
        let back = Request::pre("c").scope(gold()).direction(Direction::Rollback);
        prop_assert_eq!(guard.decide(&back, now).verdict == Verdict::Allow, !closed(&packs, start).1);
        // The picture shows the same as the table.
        let spans = guard.spans(&gold(), MONDAY, MONDAY + WEEK * MINUTE);
        for minute in (0..WEEK).step_by(7) {
            let ms = MONDAY + minute * MINUTE;
            let drawn = spans.iter().any(|span| span.from <= ms && ms < span.until);
            prop_assert_eq!(drawn, closed(&packs, minute).0, "minute {}", minute);
        }
    }

    /// One more pack never makes a decision laxer, whatever is known about the scope; nor does their order matter.
    #[test]
    fn one_more_pack_is_never_laxer(
        packs in prop::collection::vec(prop::collection::vec(plain(), 1..3), 2..5),
        at in 0..WEEK, batch in 0_i64..600, known in 0..3, rollback in any::<bool>(),
    ) {
        let scope = match known {
            0 => gold(),
            1 => app("a").label("business", "pay"),
            _ => gold().label("tier", "silver"),
        };
        let kind = if rollback { Direction::Rollback } else { Direction::Forward };
        let request = Request::pre("c").scope(scope).direction(kind).need(need(batch * MINUTE, 0));
        let now = MONDAY + at * MINUTE;
        let (Some(more), Some(fewer)) = (load(&packs), load(&packs[1..])) else { return Ok(()) };
        let with = more.decide(&request, now);
        let without = fewer.decide(&request, now);
        prop_assert!(with.verdict >= without.verdict, "{:?} {:?}", with, without);
        prop_assert!(with.packs == without.packs + 1);
        let mut turned = packs;
        turned.reverse();
        let turned = load(&turned).expect("the same packs");
        prop_assert_eq!(turned.decide(&request, now).verdict, with.verdict);
    }
}
