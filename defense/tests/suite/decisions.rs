//! Decisions: each code, what a rollback may do, what unknown labels do, room, conflicts, laws over many packs.

use unattended_defense::{
    Code, Direction, Facts, Guard, HORIZON_MS, Need, NextFeasible, Other, Request, Scope, UnknownReason, Verdict,
    WindowKind, app,
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
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

fn guard(packs: &[(String, String)]) -> Guard {
    Guard::from_packs(packs.iter().cloned()).expect("sound packs")
}

fn windows(rules: &[String]) -> String {
    format!("windows:\n{}", rules.concat())
}

/// Protected on Mondays from 10:00 to 12:00 for gold, with or without a grant of rollbacks.
fn monday(rollback: &str) -> Guard {
    let rule = window(
        "w",
        "protected",
        "days: mon, from: \"10:00\", for: 2h",
        &format!(", select: {{tier: gold}}, rollback: {rollback}"),
    );
    guard(&[pack("p", "{business: pay}", &windows(&[rule]))])
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

const fn hold(until: i64) -> Verdict {
    Verdict::Hold { until: Some(until) }
}

#[test]
fn a_window_holds_from_its_first_to_its_last_millisecond() {
    let guard = monday("forbidden");
    let ask = |at: i64| guard.decide(&Request::pre("c").scope(gold()), at);
    assert_eq!(ask(MONDAY + 10 * HOUR - 1).verdict, Verdict::Allow);
    let end = MONDAY + 12 * HOUR;
    for at in [MONDAY + 10 * HOUR, end - 1] {
        let decision = ask(at);
        assert_eq!(decision.verdict, hold(end));
        assert_eq!(decision.next_feasible, Some(end));
        let finding = &decision.findings[0];
        assert_eq!(
            (finding.code.clone(), finding.rule.as_str(), finding.until),
            (Code::WindowProtected, "p/w", Some(end))
        );
        assert_eq!(
            (finding.owner.as_str(), finding.reason.as_str()),
            ("team-p", "because of w")
        );
        assert_eq!(finding.params["from_ms"], (MONDAY + 10 * HOUR).to_string());
        assert_eq!(finding.version.len(), 64);
        assert_eq!(
            decision.why(),
            "held until 2026-11-02 12:00 UTC\n\
             - inside protected window p/w (owner team-p: because of w), until 2026-11-02 12:00 UTC; wait, or ask team-p\n\
             next feasible start: 2026-11-02 12:00 UTC"
        );
    }
    let open = ask(end);
    assert_eq!(
        (open.verdict, open.next_feasible, open.packs),
        (Verdict::Allow, Some(end), 1)
    );
    assert!(open.findings.is_empty());
    assert_eq!(ask(end + 7 * DAY - HOUR).verdict, hold(end + 7 * DAY));
}

#[test]
fn what_is_not_known_is_never_a_pass() {
    let guard = monday("forbidden");
    let inside = MONDAY + 11 * HOUR;
    let ask = |scope: Scope, at: i64| guard.decide(&Request::pre("c").scope(scope), at);
    let missing = Verdict::NeedsPerson;
    // Nobody said which tier.
    let decision = ask(app("a").label("business", "pay"), inside);
    assert_eq!(decision.verdict, missing);
    assert_eq!(
        (
            decision.findings[0].code.clone(),
            decision.findings[0].params["label"].as_str()
        ),
        (Code::LabelMissing, "tier")
    );
    assert!(decision.why().contains("the label `tier` of the scope is unknown"));
    assert_eq!(
        decision.next_feasible,
        Some(MONDAY + 12 * HOUR),
        "when the answer no longer matters"
    );
    // Nobody said anything at all.
    assert_eq!(ask(Scope::new(), inside).verdict, missing);
    // Where the rule is not in force the label does not matter.
    assert_eq!(ask(Scope::new(), inside - DAY).verdict, Verdict::Allow);
    // Said to be another, or to have none.
    for tier in ["silver", ""] {
        assert_eq!(
            ask(app("a").label("business", "pay").label("tier", tier), inside).verdict,
            Verdict::Allow
        );
    }
    // One label that differs is enough, whatever the others may be.
    assert_eq!(ask(app("a").label("tier", "silver"), inside).verdict, Verdict::Allow);
    assert_eq!(ask(app("a").label("business", "loans"), inside).packs, 0);
    // Facts fill in, and a second opinion does not talk a rule away.
    let facts = |tier: &str| Facts::new().label("tier", tier);
    let with = |scope: Scope, tier: &str| {
        guard
            .decide(&Request::pre("c").scope(scope).facts(facts(tier)), inside)
            .verdict
    };
    let end = hold(MONDAY + 12 * HOUR);
    assert_eq!(with(app("a").label("business", "pay"), "gold"), end);
    assert_eq!(with(app("a").label("business", "pay"), "silver"), Verdict::Allow);
    assert_eq!(with(gold(), "silver"), end);
    assert_eq!(
        with(app("a").label("business", "pay").label("tier", "silver"), "gold"),
        end
    );
}

#[test]
fn no_time_outside_the_calendar_is_a_pass() {
    for guard in [Guard::empty(), monday("allowed")] {
        for now in [i64::MIN, -1, 7_258_118_400_000, i64::MAX] {
            let decision = guard.decide(&Request::pre("c").scope(gold()), now);
            assert_eq!(decision.verdict, Verdict::Unknown(UnknownReason::TimeOutOfRange));
            assert_eq!((decision.next_feasible, decision.codes()[1]), (None, "time.range"));
            assert_eq!(guard.why_not_now(&gold(), now).len(), 1);
            assert!(
                matches!(guard.next_feasible(&gold(), now, Need::default()), NextFeasible::NeverWithin(HORIZON_MS, b) if b.len() == 1)
            );
        }
        for now in [0, 7_258_118_399_999] {
            assert_ne!(
                guard.decide(&Request::pre("c").scope(gold()), now).codes(),
                ["verdict.unknown", "time.range"]
            );
        }
        let all = guard.spans(&gold(), i64::MIN, 14 * DAY);
        assert!(all.iter().all(|span| span.from >= 0));
    }
}

#[test]
fn an_empty_guard_says_that_nobody_speaks() {
    let decision = Guard::empty().decide(&Request::pre("c").scope(gold()), MONDAY);
    assert_eq!((decision.verdict, decision.packs), (Verdict::Allow, 0));
    assert_eq!(decision.why(), "allowed: no pack speaks for this scope");
    assert!(Guard::empty().is_empty());
    assert!(!monday("allowed").is_empty());
}

#[test]
fn a_batch_needs_room_for_itself_and_for_its_rollback() {
    let start = MONDAY + 10 * HOUR;
    let end = start + 2 * HOUR;
    for (rollback, latest) in [("forbidden", start - 50 * MINUTE), ("allowed", start - 30 * MINUTE)] {
        let guard = monday(rollback);
        let needed = need(30 * MINUTE, 20 * MINUTE);
        let ask = |at: i64| guard.decide(&Request::pre("c").scope(gold()).need(needed), at);
        assert_eq!(ask(latest).verdict, Verdict::Allow, "{rollback}");
        let late = ask(latest + 1);
        assert_eq!(late.verdict, hold(end), "{rollback}");
        assert_eq!(late.codes(), ["verdict.hold", "window.protected_room"]);
        assert!(
            late.why().contains("would run into protected window p/w"),
            "{}",
            late.why()
        );
        assert_eq!(guard.next_feasible(&gold(), latest, needed), NextFeasible::At(latest));
        assert_eq!(guard.next_feasible(&gold(), latest + 1, needed), NextFeasible::At(end));
        // Nothing closes the scope yet: why_not_now is about the instant.
        assert!(guard.why_not_now(&gold(), latest + 1).is_empty());
    }
}

#[test]
fn a_rollback_runs_where_it_is_granted_and_waits_where_it_is_not() {
    let inside = MONDAY + 11 * HOUR;
    let ask = |guard: &Guard| {
        guard
            .decide(&Request::pre("c").scope(gold()).direction(Direction::Rollback), inside)
            .verdict
    };
    assert_eq!(ask(&monday("allowed")), Verdict::Allow);
    assert_eq!(ask(&monday("forbidden")), hold(MONDAY + 12 * HOUR));
    // Without a word about rollbacks they are not granted.
    let silent = window("w", "protected", "days: mon, from: \"10:00\", for: 2h", "");
    assert_eq!(
        ask(&guard(&[pack("p", "all", &windows(&[silent]))])),
        hold(MONDAY + 12 * HOUR)
    );
    // Outside change windows: one of them without a grant is enough to hold.
    let hours = |id: &str, rollback: &str| {
        window(
            id,
            "change",
            "days: tue, from: \"10:00\", for: 2h",
            &format!(", rollback: {rollback}"),
        )
    };
    let both = |b: &str| guard(&[pack("p", "all", &windows(&[hours("a", "allowed"), hours("b", b)]))]);
    assert_eq!(ask(&both("allowed")), Verdict::Allow);
    assert_eq!(ask(&both("forbidden")), hold(MONDAY + DAY + 10 * HOUR));
    // A rollback needs its whole length, the sum of its need.
    let short = Request::pre("c")
        .scope(gold())
        .direction(Direction::Rollback)
        .need(need(HOUR, 2 * HOUR));
    let forbidden = monday("forbidden");
    assert_eq!(forbidden.decide(&short, MONDAY + 7 * HOUR).verdict, Verdict::Allow);
    assert_eq!(
        forbidden.decide(&short, MONDAY + 7 * HOUR + 1).verdict,
        hold(MONDAY + 12 * HOUR)
    );
}

#[test]
fn change_windows_of_a_pack_add_up_and_those_of_two_packs_must_both_be_open() {
    let hours =
        |id: &str, day: &str, from: &str| window(id, "change", &format!("days: {day}, from: \"{from}\", for: 4h"), "");
    let one = pack(
        "one",
        "all",
        &windows(&[hours("early", "[mon, tue]", "08:00"), hours("late", "mon", "12:00")]),
    );
    let two = pack("two", "all", &windows(&[hours("noon", "mon", "11:00")]));
    let only = guard(std::slice::from_ref(&one));
    let four = need(4 * HOUR, 2 * HOUR);
    // Two windows that meet are one: six hours from 10:00 to 16:00.
    let ask = |guard: &Guard, at: i64| guard.decide(&Request::pre("c").scope(gold()).need(four), at);
    assert_eq!(ask(&only, MONDAY + 10 * HOUR).verdict, Verdict::Allow);
    let late = ask(&only, MONDAY + 10 * HOUR + 1);
    assert_eq!(late.codes(), ["verdict.hold", "window.change_room"]);
    // Tuesday's four hours are too few, so it is Monday next week.
    assert_eq!(late.next_feasible, Some(MONDAY + 7 * DAY + 8 * HOUR));
    let outside = ask(&only, MONDAY + 16 * HOUR);
    assert_eq!(outside.codes(), ["verdict.hold", "window.change"]);
    assert_eq!(outside.findings[0].params["from_ms"], (MONDAY + 16 * HOUR).to_string());
    // Both packs: 11:00 to 15:00 on Mondays, too short for six hours for ever.
    let both = guard(&[one, two]);
    assert_eq!(
        both.next_feasible(&gold(), MONDAY, need(3 * HOUR, HOUR)),
        NextFeasible::At(MONDAY + 11 * HOUR)
    );
    let NextFeasible::NeverWithin(HORIZON_MS, blockers) = both.next_feasible(&gold(), MONDAY, four) else {
        panic!("six hours do not fit into four")
    };
    assert_eq!(
        blockers.iter().map(|b| (b.pack.as_str(), b.kind)).collect::<Vec<_>>(),
        [("one", WindowKind::Change), ("two", WindowKind::Change)]
    );
    assert_eq!(ask(&both, MONDAY).verdict, Verdict::Hold { until: None });
    assert_eq!(ask(&both, MONDAY).next_feasible, None);
}

#[test]
fn a_scope_that_mixes_values_meets_every_window_and_is_opened_by_none_of_a_part() {
    let mixed = app("a").label("tier", "gold").label("tier", "silver");
    let of = |kind: &str, select: &str| {
        guard(&[pack(
            "p",
            "all",
            &windows(&[window(
                "w",
                kind,
                "days: mon, from: \"10:00\", for: 2h",
                &format!(", select: {{tier: {select}}}"),
            )]),
        )])
    };
    let ask = |guard: &Guard, at: i64| guard.decide(&Request::pre("c").scope(mixed.clone()), at);
    let inside = MONDAY + 11 * HOUR;
    assert_eq!(ask(&of("protected", "gold"), inside).verdict, hold(MONDAY + 12 * HOUR));
    assert_eq!(ask(&of("change", "[gold, silver]"), inside).verdict, Verdict::Allow);
    let partly = of("change", "gold");
    for at in [inside, inside + DAY] {
        let decision = ask(&partly, at);
        assert_eq!(decision.verdict, Verdict::NeedsPerson);
        assert_eq!(decision.findings[0].unknown, Some(UnknownReason::MixedLabels));
        assert_eq!(decision.findings[0].code, Code::LabelMixed);
    }
    // A change window that may or may not select the scope opens nothing either.
    let unsure = partly.decide(&Request::pre("c").scope(app("a")), inside);
    assert_eq!(unsure.verdict, Verdict::NeedsPerson);
    assert_eq!(unsure.findings[0].unknown, Some(UnknownReason::MissingLabel));
}

#[test]
fn a_window_says_what_not_knowing_becomes() {
    let of = |kind: &str, id: &str, unknown: &str| {
        let more = format!(", select: {{zone: z}}{unknown}");
        window(id, kind, "days: mon, from: \"10:00\", for: 2h", &more)
    };
    let ask = |rules: &[String], scope: Scope| {
        let guard = guard(&[pack("p", "{business: pay}", &windows(rules))]);
        guard
            .decide(&Request::pre("c").scope(scope), MONDAY + 11 * HOUR)
            .verdict
    };
    let silver = || app("a").label("business", "pay").label("tier", "silver");
    let untold = || app("a").label("business", "pay");
    let endless = Verdict::Hold { until: None };
    for kind in ["protected", "change"] {
        assert_eq!(ask(&[of(kind, "w", "")], gold()), Verdict::NeedsPerson, "{kind}");
        let denies = [of(kind, "w", ", unknown: {gold: deny, otherwise: hold}")];
        assert_eq!(ask(&denies, gold()), Verdict::Deny, "{kind}");
        assert_eq!(ask(&denies, silver()), endless, "{kind}");
        assert_eq!(ask(&denies, untold()), Verdict::Deny, "{kind}: it may be gold");
        // Known not to apply, or to apply: nothing is unknown.
        let elsewhere = ask(&denies, gold().label("zone", "y"));
        assert!(!matches!(elsewhere, Verdict::Deny), "{kind}: {elsewhere:?}");
    }
    // Of several change windows that may apply the strictest word counts.
    let two = [of("change", "v", ""), of("change", "w", ", unknown: deny")];
    assert_eq!(ask(&two, gold()), Verdict::Deny);
}

#[test]
fn a_rule_speaks_once_and_only_for_what_it_selects() {
    let rule = |select: &str| {
        let more = format!(", select: {{business: {select}}}");
        let rule = window("w", "protected", "days: mon, from: \"10:00\", for: 2h", &more);
        guard(&[pack("p", "{business: [loans, pay]}", &windows(&[rule]))])
    };
    let ask = |guard: &Guard, business: [&str; 2]| {
        let scope = app("a").label("business", business[0]).label("business", business[1]);
        guard.decide(&Request::pre("c").scope(scope), MONDAY + 11 * HOUR)
    };
    // Two values of the scope lead to the same rule.
    assert_eq!(ask(&rule("[loans, pay]"), ["loans", "pay"]).findings.len(), 1);
    // The pack speaks for both, the window for one of them.
    assert_eq!(ask(&rule("pay"), ["pay", "pay"]).findings.len(), 1);
    let loans = ask(&rule("pay"), ["loans", "loans"]);
    assert_eq!((loans.verdict, loans.packs), (Verdict::Allow, 1));
    assert_eq!(ask(&rule("pay"), ["cards", "cards"]).packs, 0);
    // A pack never holds what lies outside its scope, even where the selection of a window would fit.
    let stranger = app("a").label("business", "loans").label("tier", "gold");
    let decision = monday("forbidden").decide(&Request::pre("c").scope(stranger), MONDAY + 11 * HOUR);
    assert_eq!((decision.verdict, decision.packs), (Verdict::Allow, 0));
}

#[test]
fn a_freeze_names_its_owner_and_outlasts_shorter_windows() {
    let freeze = "freezes:\n- {id: f, from: 2026-11-02T10:00, until: 2026-11-05, zone: UTC, owner: cto, reason: \"11.11\", rollback: allowed}\n";
    let rule = window("w", "protected", "days: mon, from: \"09:00\", for: 2h", "");
    let guard = guard(&[pack("z", "all", freeze), pack("b", "all", &windows(&[rule]))]);
    let now = MONDAY + 10 * HOUR;
    let decision = guard.decide(&Request::pre("c").scope(gold()), now);
    assert_eq!(decision.verdict, hold(MONDAY + 3 * DAY));
    assert_eq!(
        decision.codes(),
        ["verdict.hold", "freeze.active", "window.protected"],
        "the longest first"
    );
    let blockers = guard.why_not_now(&gold(), now);
    let named: Vec<_> = blockers
        .iter()
        .map(|b| (b.pack.as_str(), b.id.as_str(), b.owner.as_str(), b.from, b.until))
        .collect();
    assert_eq!(
        named,
        [
            ("z", "f", "cto", MONDAY + 10 * HOUR, Some(MONDAY + 3 * DAY)),
            ("b", "w", "team-b", MONDAY + 9 * HOUR, Some(MONDAY + 11 * HOUR))
        ]
    );
    // The freeze grants rollbacks, the window does not.
    let rollback = guard.decide(&Request::post("c").scope(gold()).direction(Direction::Rollback), now);
    assert_eq!(rollback.codes(), ["verdict.hold", "window.protected"]);
    let spans = guard.spans(&gold(), now, MONDAY + 8 * DAY);
    let drawn: Vec<_> = spans
        .iter()
        .map(|s| (s.id.as_str(), (s.from - MONDAY) / HOUR, (s.until - MONDAY) / HOUR))
        .collect();
    assert_eq!(drawn, [("w", 10, 11), ("f", 10, 72), ("w", 7 * 24 + 9, 7 * 24 + 11)]);
    let three_hours = Request::pre("c").scope(gold()).need(need(3 * HOUR, 0));
    assert_eq!(
        guard.decide(&three_hours, MONDAY + 7 * HOUR + 1).codes(),
        ["verdict.hold", "freeze.room", "window.protected_room"]
    );
}

#[test]
fn of_two_overlapping_changes_exactly_one_waits() {
    let guard = Guard::empty();
    let scopes = [
        app("a"),
        app("b"),
        Scope::new(),
        app("a").label("zone", "1"),
        app("a").label("zone", "2"),
        app("a").label("app", "b"),
        Scope::new().label("zone", "1"),
    ];
    // Written down by hand: which of the scopes above may share a target.
    let apart = |i: usize, j: usize| matches!((i.min(j), i.max(j)), (0, 1) | (1, 3 | 4) | (3, 4) | (4, 6));
    let kinds = [Direction::Forward, Direction::Rollback];
    for (i, first) in scopes.iter().enumerate() {
        for (j, second) in scopes.iter().enumerate() {
            for kind_1 in kinds {
                for kind_2 in kinds {
                    for started in [5, 6, 7] {
                        let flight = [
                            Other::new("x", first.clone(), 6).direction(kind_1),
                            Other::new("y", second.clone(), started).direction(kind_2),
                        ];
                        // Everybody is given the same list.
                        let waits = |own: &Other| {
                            let request = Request::pre(own.change_id.clone())
                                .scope(own.scope.clone())
                                .direction(own.direction);
                            let decision = guard.decide(&request.others(&flight), MONDAY);
                            assert!(
                                decision.verdict == Verdict::Allow || decision.verdict == Verdict::Hold { until: None }
                            );
                            decision.verdict != Verdict::Allow
                        };
                        let (x, y) = (waits(&flight[0]), waits(&flight[1]));
                        if apart(i, j) {
                            assert!(!x && !y, "{i} {j}");
                            continue;
                        }
                        let x_first = match (kind_1, kind_2) {
                            (Direction::Rollback, Direction::Forward) => true,
                            (Direction::Forward, Direction::Rollback) => false,
                            _ => 6 <= started,
                        };
                        assert_eq!((x, y), (!x_first, x_first), "{i} {j} {kind_1:?} {kind_2:?} {started}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_conflict_names_the_other_change_and_a_newcomer_goes_last() {
    let guard = monday("forbidden");
    let other = Other::new("mesh-1", gold(), MONDAY + DAY).direction(Direction::Forward);
    let request = Request::pre("mesh-2")
        .scope(gold())
        .others(std::slice::from_ref(&other));
    // Even where the other's clock runs ahead of ours.
    let decision = guard.decide(&request, MONDAY);
    assert_eq!(
        (decision.verdict, decision.next_feasible),
        (Verdict::Hold { until: None }, None)
    );
    assert_eq!(decision.findings[0].code, Code::ConflictScope);
    assert_eq!(decision.findings[0].params["change"], "mesh-1");
    assert!(
        decision
            .why()
            .contains("change mesh-1 (forward) overlaps and goes first, having started at 2026-11-03 00:00 UTC")
    );
    assert_eq!(
        guard.decide(&request.clone().started(MONDAY), MONDAY).verdict,
        Verdict::Allow
    );
    // Facts can tell two changes apart.
    let elsewhere = Request::pre("mesh-2")
        .scope(app("a"))
        .facts([("tier", "silver")].into_iter().collect());
    assert_eq!(
        guard.decide(&elsewhere.others(&[other]), MONDAY).verdict,
        Verdict::Allow
    );
}

#[test]
fn the_digest_changes_with_every_input_and_with_nothing_else() {
    let base = || Request::pre("c").scope(gold());
    let other = |id: &str| Other::new(id, app("z"), 1).direction(Direction::Forward);
    let guard_a = monday("forbidden");
    let digest = |request: &Request| guard_a.decide(request, MONDAY).digest;
    let all = [
        digest(&base()),
        digest(&Request::post("c").scope(gold())),
        digest(&Request::pre("d").scope(gold())),
        digest(&base().scope(app("a"))),
        digest(&base().facts(Facts::new().label("x", "y"))),
        digest(&base().need(need(1, 0))),
        digest(&base().need(need(0, 1))),
        digest(&base().direction(Direction::Rollback)),
        digest(&base().started(5)),
        digest(&base().others(&[other("o")])),
        digest(&base().others(&[other("o"), other("q")])),
        guard_a.decide(&base(), MONDAY + 1).digest,
        monday("allowed").decide(&base(), MONDAY).digest,
        Guard::empty().decide(&base(), MONDAY).digest,
    ];
    for (i, a) in all.iter().enumerate() {
        assert_eq!(a.len(), 64);
        assert!(all[..i].iter().all(|b| a != b), "{i}");
    }
    assert_eq!(digest(&base()), monday("forbidden").decide(&base(), MONDAY).digest);
    assert_eq!(
        digest(&base().others(&[other("o"), other("q")])),
        digest(&base().others(&[other("q"), other("o")]))
    );
    assert_eq!(
        digest(&base().scope(app("a").label("tier", "gold").label("business", "pay"))),
        digest(&base()),
        "the order of labels"
    );
    assert_eq!(guard_a.digest(), monday("forbidden").digest());
    assert_ne!(guard_a.digest(), monday("allowed").digest());
    // Computed by Python's hashlib from what the documentation of `Decision::digest` states.
    assert_eq!(
        Guard::empty().decide(&base(), MONDAY).digest,
        "31adab5fce36b70c3520b9e0a22b20eb91c983ad7328436bf57ffda72aaa521a"
    );
}

#[test]
fn a_decision_survives_json() {
    let decision = monday("forbidden").decide(&Request::pre("c").scope(gold()), MONDAY + 11 * HOUR);
    let json = serde_json::to_string(&decision).expect("plain data");
    assert!(json.contains("\"code\":\"window.protected\""), "{json}");
    assert_eq!(
        serde_json::from_str::<unattended_defense::Decision>(&json).expect("readable"),
        decision
    );
    // The text of a code is the one it is written with.
    for finding in &decision.findings {
        assert_eq!(
            serde_json::to_value(finding.code.clone()).expect("plain data"),
            finding.code.as_str()
        );
    }
}

#[test]
fn a_rule_that_asks_for_a_person_asks_for_all_it_may_select() {
    let rules = "rules:\n- {id: r, kind: person, select: {tier: gold}, reason: too big, unknown: {lead: hold, otherwise: needs_person}}\n";
    let guard = guard(&[pack("p", "{business: pay}", rules)]);
    let ask = |scope: Scope| guard.decide(&Request::pre("c").scope(scope), MONDAY);
    let gold = ask(gold());
    assert_eq!(
        (gold.verdict, gold.next_feasible),
        (Verdict::NeedsPerson, None),
        "no time makes it good"
    );
    assert_eq!(gold.codes(), ["verdict.needs_person", "rule.person"]);
    assert!(
        gold.why().contains("p/r (owner team-p: too big) asks for a person"),
        "{}",
        gold.why()
    );
    assert_eq!(
        ask(app("a").label("business", "pay").label("tier", "lead")).verdict,
        Verdict::Allow
    );
    // Which tier is not known, so it may be any, also the one where not knowing holds.
    let unsure = ask(app("a").label("business", "pay"));
    assert_eq!(unsure.verdict, Verdict::Hold { until: None });
    assert_eq!(unsure.findings[0].code, Code::LabelMissing);
    let other = ask(app("a").label("tier", "silver"));
    assert_eq!(other.verdict, Verdict::Allow);
}
