//! What holds between packs: the charter with grants and tiers, open time, piled-up changes, reloading, tests of packs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use unattended_defense::{
    Code, Guard, Live, Need, NextFeasible, PackErrors, Phase, Request, STARVED_MS, Scope, UnknownReason, Verdict,
    Waiting, app,
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Monday, 2026-11-02T00:00Z.
const MONDAY: i64 = 1_793_577_600_000;

const CHARTER: &str = "version: 1
charter: house
owner: platform
tiers: {label: tier, all: [gold, silver], critical: [gold]}
grants:
  - {owner: pay, scope: {business: [payments, cards]}}
  - {owner: pay, scope: {app: gateway}}
  - {owner: platform, scope: all}
";

fn pack(name: &str, owner: &str, scope: &str, rest: &str) -> (String, String) {
    (
        format!("{name}.yaml"),
        format!("version: 1\npack: {name}\nowner: {owner}\nscope: {scope}\n{rest}"),
    )
}

fn charter() -> (String, String) {
    ("charter.yaml".to_owned(), CHARTER.to_owned())
}

fn load(packs: &[(String, String)]) -> Result<Guard, PackErrors> {
    Guard::from_packs(packs.iter().cloned())
}

fn night(id: &str, hours: u32) -> String {
    format!(
        "windows:\n- {{id: {id}, kind: protected, weekly: {{days: daily, from: \"20:00\", for: {hours}h}}, zone: UTC, reason: night}}\n"
    )
}

#[test]
fn a_pack_speaks_only_for_what_its_owner_was_granted() {
    for scope in [
        "{business: payments}",
        "{business: [cards, payments]}",
        "{business: cards, tier: gold}",
        "{app: gateway}",
    ] {
        load(&[charter(), pack("p", "pay", scope, &night("n", 2))]).expect("granted");
    }
    for scope in [
        "all",
        "{business: loans}",
        "{business: [payments, loans]}",
        "{tier: gold}",
        "{app: other}",
    ] {
        let errors = load(&[charter(), pack("p", "pay", scope, &night("n", 2))]).expect_err("not granted");
        assert_eq!((errors.len(), errors[0].line, errors[0].column), (1, 4, 8), "{errors}");
        assert!(errors[0].what.contains("`pay` may not speak for"), "{errors}");
        assert!(
            errors[0]
                .fix
                .contains("`{business: [cards, payments]}` or `{app: gateway}`"),
            "{errors}"
        );
        // Without a charter everybody is taken at their word.
        load(&[pack("p", "pay", scope, &night("n", 2))]).expect("nobody forbids it");
    }
    let errors = load(&[charter(), pack("p", "stranger", "{business: payments}", "")]).expect_err("a stranger");
    assert!(
        errors[0].what.contains("`stranger` may not speak for anything"),
        "{errors}"
    );
    // So a tenant holds itself, and never others.
    let guard = load(&[charter(), pack("p", "pay", "{business: payments}", &night("n", 2))]).expect("granted");
    let ask = |business: &str| {
        let scope = app("a").label("business", business).label("tier", "silver");
        guard
            .decide(&Request::pre("c").scope(scope), MONDAY + 21 * HOUR)
            .verdict
    };
    assert_eq!(
        ask("payments"),
        Verdict::Hold {
            until: Some(MONDAY + 22 * HOUR)
        }
    );
    assert_eq!(ask("cards"), Verdict::Allow);
}

#[test]
fn a_critical_tier_without_rules_of_its_own_is_not_allowed() {
    let everything = pack("house", "platform", "all", &night("n", 2));
    let own = pack("p", "pay", "{business: payments}", &night("n", 2));
    let ask = |packs: &[(String, String)], scope: Scope| {
        load(packs)
            .expect("sound")
            .decide(&Request::pre("c").scope(scope), MONDAY)
    };
    let gold = || app("a").label("business", "payments").label("tier", "gold");
    // A pack for everything is no rule set of the application's own.
    let decision = ask(&[charter(), everything.clone()], gold());
    assert_eq!((decision.verdict, decision.next_feasible), (Verdict::NeedsPerson, None));
    assert_eq!(decision.findings[0].code, Code::PackMissing);
    assert_eq!(decision.findings[0].owner, "platform");
    let nothing = load(&[charter()]).expect_err("a charter is no rule set").to_string();
    assert!(nothing.contains("no rules are not permission"), "{nothing}");
    assert_eq!(
        ask(&[charter(), everything.clone(), own.clone()], gold()).verdict,
        Verdict::Allow
    );
    // A pack that says nothing is no rule set, and neither is one whose rules are on trial or for others.
    for rules in [
        "",
        "rules: [{id: r, kind: person, shadow: true, reason: r}]\n",
        "rules: [{id: r, kind: person, select: {tier: silver}, reason: r}]\n",
        "windows:\n- {id: w, kind: protected, weekly: {days: daily, from: \"20:00\", for: 1h}, zone: UTC, select: {app: b}, reason: r}\n",
    ] {
        let decision = ask(&[charter(), pack("p", "pay", "{business: payments}", rules)], gold());
        assert_eq!(decision.codes(), ["verdict.needs_person", "pack.missing"], "{rules}");
    }
    // Nor is one whose rules are asked only after the step that they should have stopped.
    for late in ["kind: incidents, phase: post", "kind: complete"] {
        let rules = format!("rules: [{{id: r, {late}, reason: r}}]\n");
        let packs = [charter(), pack("p", "pay", "{business: payments}", &rules)];
        let decision = ask(&packs, gold());
        assert_eq!(decision.codes(), ["verdict.needs_person", "pack.missing"], "{late}");
        let mut after = Request::pre("c").scope(gold());
        after.phase = Phase::Post;
        let after = load(&packs).expect("sound").decide(&after, MONDAY);
        assert!(!after.codes().contains(&"pack.missing"), "{late}");
    }
    let incidents = "rules: [{id: r, kind: age, max: 1d, since: started, reason: r}]\n";
    let ruled = pack("p", "pay", "{business: payments}", incidents);
    assert_eq!(ask(&[charter(), ruled], gold()).verdict, Verdict::Allow);
    // One that only may speak for it does not count, and neither does one for somebody else.
    let unsure = app("a").label("tier", "gold");
    assert_eq!(ask(&[charter(), own.clone()], unsure).verdict, Verdict::NeedsPerson);
    let cards = app("a").label("business", "cards").label("tier", "gold");
    assert_eq!(ask(&[charter(), own], cards).verdict, Verdict::NeedsPerson);
    // Others need none; whose tier nobody knows may be critical.
    let of = |tier: &str| ask(&[charter(), everything.clone()], app("a").label("tier", tier)).verdict;
    assert_eq!(
        (of("silver"), of("gold"), of("")),
        (Verdict::Allow, Verdict::NeedsPerson, Verdict::Allow)
    );
    // Nor is a tier that the charter does not name taken for a harmless one.
    let misspelt = ask(&[charter(), everything.clone()], app("a").label("tier", "Gold"));
    assert_eq!(misspelt.verdict, Verdict::NeedsPerson);
    assert_eq!(misspelt.findings[0].unknown, Some(UnknownReason::Unreadable));
    // Nor where a pack speaks for the scope: its rules for gold would not find the one that is misspelt.
    let held = pack(
        "q",
        "pay",
        "{business: payments}",
        "rules:\n- {id: r, kind: person, select: {tier: gold}, reason: r, unknown: deny}\n",
    );
    let of = |tier: &str| {
        ask(
            &[charter(), held.clone()],
            app("a").label("business", "payments").label("tier", tier),
        )
    };
    assert_eq!(of("silver").verdict, Verdict::Allow);
    assert_eq!(of("").verdict, Verdict::Allow);
    assert_eq!(of("glod").codes(), ["verdict.needs_person", "fact.unreadable"]);
    assert!(
        of("glod").why().contains("did you mean `gold`?"),
        "{}",
        of("glod").why()
    );
    // A charter that lists no tiers knows none to be strange, one without critical ones knows all the same.
    let listing = |tiers: &str| {
        let text = CHARTER.replacen("all: [gold, silver], critical: [gold]", tiers, 1);
        let packs = [("charter.yaml".to_owned(), text), everything.clone()];
        ask(&packs, app("a").label("tier", "glod")).verdict
    };
    assert_eq!(listing("all: []"), Verdict::Allow);
    assert_eq!(listing("all: [gold]"), Verdict::NeedsPerson);
    let unknown = ask(&[charter(), everything.clone()], app("a"));
    assert_eq!(unknown.verdict, Verdict::NeedsPerson);
    assert_eq!(unknown.findings[0].unknown, Some(UnknownReason::MissingLabel));
}

#[test]
fn a_pack_for_some_of_a_critical_scope_does_not_speak_for_the_rest() {
    let of = |packs: &[(String, String)], scope: &Scope| {
        let guard = load(packs).expect("sound");
        guard.decide(&Request::pre("c").scope(scope.clone()), MONDAY).verdict
    };
    let payments = || pack("p", "pay", "{business: payments}", &night("n", 2));
    let cards = || pack("q", "pay", "{business: cards}", &night("n", 2));
    let both = app("a")
        .label("tier", "gold")
        .label("business", "payments")
        .label("business", "cards");
    assert_eq!(of(&[charter(), payments()], &both), Verdict::NeedsPerson);
    assert_eq!(of(&[charter(), payments(), cards()], &both), Verdict::Allow);
    // Nor do the rules of one pack for some of its scope.
    let some = "rules: [{id: r, kind: age, max: 1d, since: started, select: {business: cards}, reason: r}]\n";
    let wide = |rules: &str| pack("p", "pay", "{business: [payments, cards]}", rules);
    assert_eq!(of(&[charter(), wide(some)], &both), Verdict::NeedsPerson);
    assert_eq!(of(&[charter(), wide(&night("n", 2))], &both), Verdict::Allow);
    let other = both.label("business", "loans");
    assert_eq!(of(&[charter(), payments(), cards()], &other), Verdict::NeedsPerson);
}

#[test]
fn charters_have_faults_too() {
    let fault = |good: &str, bad: &str| {
        let errors = Guard::from_yaml("charter.yaml", CHARTER.replacen(good, bad, 1)).expect_err("a fault");
        assert_eq!(errors.len(), 1, "{errors}");
        (errors[0].line, errors[0].what.clone())
    };
    let (line, what) = fault("critical: [gold]", "critical: [platinum]");
    assert!(line == 4 && what.contains("`platinum` is not among `all`"), "{what}");
    let (line, what) = fault("{owner: pay, scope: {app: gateway}}", "{owner: pay}");
    assert!(line == 7 && what.contains("a grant lacks `scope`"), "{what}");
    let (line, what) = fault("grants:", "grant:");
    assert!(
        line == 5 && what.contains("`grant` is not a field of a charter"),
        "{what}"
    );
    let second = ("other.yaml".to_owned(), CHARTER.to_owned());
    let errors = load(&[charter(), second]).expect_err("two charters");
    assert!(
        errors[0].what.contains("there is a charter already, in charter.yaml"),
        "{errors}"
    );
    // What Unknown becomes is said for tiers that exist.
    let rule = "rules:\n- {id: r, kind: person, reason: r, unknown: {lead: deny}}\n";
    let errors = load(&[charter(), pack("p", "platform", "all", rule)]).expect_err("no such tier");
    assert!(errors[0].what.contains("charter.yaml knows no tier `lead`"), "{errors}");
    assert_eq!(errors[0].fix, "use one of: gold, silver");
    // Nor is there a selection of one that does not exist: the window would never close anything.
    let misspelt = [
        "windows:\n- {id: w, kind: protected, weekly: {days: daily, from: \"20:00\", for: 1h}, zone: UTC, select: {tier: glod}, reason: r}\n",
        "rules:\n- {id: r, kind: person, reason: r, unknown: {glod: deny, otherwise: needs_person}}\n",
    ];
    for rest in misspelt {
        let errors = load(&[charter(), pack("p", "platform", "all", rest)]).expect_err("misspelt");
        assert_eq!((errors.len(), errors[0].line), (1, 6), "{errors}");
        assert_eq!(errors[0].fix, "did you mean `gold`?");
    }
    // Nor is there a condition on one: it would never be met.
    let compared = |condition: &str| {
        let rest = format!("rules:\n- {{id: r, kind: condition, if: {condition}, then: deny, reason: r}}\n");
        load(&[charter(), pack("p", "platform", "all", &rest)])
    };
    for condition in [
        "{label: tier, is: glod}",
        "{label: tier, is_not: glod}",
        "{any: [{label: app, is: a}, {not: {label: tier, in: [gold, glod]}}]}",
        "{all: [{label: tier, not_in: [glod, \"\"]}]}",
    ] {
        let errors = compared(condition).expect_err(condition);
        assert_eq!((errors.len(), errors[0].line), (1, 6), "{errors}");
        assert_eq!(errors[0].fix, "did you mean `gold`?");
    }
    for condition in [
        "{label: tier, in: [gold, silver]}",
        "{label: tier, is: \"\"}",
        "{label: tier, starts_with: go}",
        "{label: class, is: glod}",
    ] {
        compared(condition).expect(condition);
    }
    // One that looks like no slip may come to be.
    load(&[charter(), pack("p", "platform", "{tier: [gold, bronze]}", "")]).expect("another tier");
    // The scope of a pack, too; a label of another name is none of the charter's business.
    load(&[charter(), pack("p", "platform", "{tier: [gold, sliver]}", "")]).expect_err("misspelt");
    let renamed = (
        "charter.yaml".to_owned(),
        CHARTER.replacen("label: tier", "label: class", 1),
    );
    load(&[renamed, pack("p", "platform", "{tier: anything}", "")]).expect("another label");
}

#[test]
fn without_a_charter_a_tier_is_one_that_some_pack_selects_or_no_slip_of_it() {
    let selects = pack(
        "q",
        "o",
        "{tier: [gold, tier-1, g1]}",
        "rules:\n- {id: r, kind: person, reason: r}\n",
    );
    let unknown = |tier: &str| {
        let rest = format!(
            "rules:\n- {{id: r, kind: person, reason: r, unknown: {{{tier}: deny, otherwise: needs_person}}}}\n"
        );
        load(&[selects.clone(), pack("p", "o", "all", &rest)])
    };
    for slip in ["glod", "Gold", "gould", "tire-1", "teir-1"] {
        let errors = unknown(slip).expect_err(slip);
        let error = &errors[0];
        assert_eq!(
            (errors.len(), error.file.as_str(), error.line, error.column),
            (1, "p.yaml", 6, 46),
            "{errors}"
        );
        assert!(
            error.what.contains(&format!("no pack selects the tier `{slip}`")),
            "{error}"
        );
        assert!(error.fix.starts_with("did you mean `"), "{error}");
    }
    for sound in ["gold", "platinum", "tier-1", "tier-2", "g1", "g2"] {
        unknown(sound).expect(sound);
    }
}

#[test]
fn a_pack_that_is_left_too_little_time_says_who_takes_it() {
    let asking = |least: &str| {
        pack(
            "p",
            "pay",
            "{business: payments}",
            &format!("least_open: {least}\n{}", night("own", 4)),
        )
    };
    let house = pack("house", "platform", "all", &night("night", 14));
    // 14 times 24 hours; the house closes 14 of each, and four of these are the pack's own.
    load(&[asking("140h"), house.clone()]).expect("just enough");
    let errors = load(&[asking("140h1m"), house.clone()]).expect_err("one minute too little");
    let error = &errors[0];
    assert_eq!(
        (error.file.as_str(), error.line, error.column),
        ("p.yaml", 5, 13),
        "{errors}"
    );
    assert!(
        error.what.contains("asks for 140h1m in 14 days and is left 140h"),
        "{error}"
    );
    assert!(
        error
            .what
            .contains("closed by house/night (owner platform) 196h, p/own (owner pay) 56h"),
        "{error}"
    );
    load(&[asking("280h")]).expect("alone it has its way");
    // A part of the scope may have less than the whole.
    let gold = "windows:\n- {id: g, kind: protected, weekly: {days: daily, from: \"06:00\", for: 12h}, zone: UTC, reason: r, select: {tier: gold}}\n";
    let errors = load(&[asking("140h"), pack("tiers", "x", "all", gold)]).expect_err("gold has less");
    assert!(
        errors[0]
            .what
            .contains("`{business: payments, tier: gold}` asks for 140h in 14 days and is left 112h"),
        "{errors}"
    );
    // Holidays and freezes are exceptions.
    let freeze = "freezes:\n- {id: f, from: 2026-01-01, until: 2026-12-31, zone: UTC, owner: o, reason: r}\n";
    load(&[asking("280h"), pack("f", "x", "all", freeze)]).expect("an exception");
    for wrong in ["0h", "15d", "much"] {
        let errors = load(&[asking(wrong)]).expect_err("no part of 14 days");
        assert!(errors[0].what.contains("not a part of 14 days"), "{errors}");
    }
}

#[test]
fn open_time_is_what_nobody_closes() {
    let guard = load(&[
        pack("p", "o", "all", &night("a", 4)),
        pack("q", "o", "all", &night("b", 6)),
    ])
    .expect("sound");
    let found = guard.open_time(&app("a"), MONDAY, MONDAY + 2 * DAY);
    assert_eq!((found.open_ms, found.longest_ms), (36 * HOUR, 18 * HOUR));
    let by: Vec<_> = found
        .closed_by
        .iter()
        .map(|c| (c.id.as_str(), c.closed_ms / HOUR))
        .collect();
    // Of the window that begins on the Sunday before, two hours are left.
    assert_eq!(by, [("b", 12), ("a", 8)]);
    assert_eq!(guard.open_time(&app("a"), MONDAY + DAY, MONDAY).open_ms, 0);
}

#[test]
fn what_piles_up_is_sorted_by_how_pressing_it_is() {
    let freeze = "freezes:\n- {id: f, from: 2026-11-01, until: 2026-11-10, zone: UTC, owner: o, reason: r}\n";
    let endless =
        "windows:\n- {id: w, kind: change, weekly: {days: mon, from: \"10:00\", for: 1h}, zone: UTC, reason: r}\n";
    let guard = load(&[
        pack("p", "o", "{app: frozen}", freeze),
        pack("q", "o", "{app: narrow}", endless),
    ])
    .expect("sound");
    let waiting = |id: &str, name: &str, age: i64, deadline: Option<i64>| Waiting {
        change_id: id.to_owned(),
        scope: app(name),
        since_ms: MONDAY - age,
        need: Need {
            batch_ms: 2 * 3_600_000,
            rollback_ms: 0,
        },
        deadline_ms: deadline.map(|after| MONDAY + after),
    };
    let queues = guard.backlog(
        &[
            waiting("b", "frozen", 2 * DAY, Some(10 * DAY)),
            waiting("a", "frozen", 7 * DAY, None),
            waiting("c", "open", DAY, None),
            waiting("d", "narrow", HOUR, Some(DAY)),
            waiting("e", "late", HOUR, Some(HOUR)),
        ],
        MONDAY,
    );
    let rows: Vec<_> = queues
        .iter()
        .map(|q| {
            (
                q.changes.join("+"),
                q.risk_ms / HOUR,
                q.slack_ms.map(|ms| ms / HOUR),
                q.starving,
            )
        })
        .collect();
    let row = |changes: &str, risk, slack, starving| (changes.to_owned(), risk, slack, starving);
    assert_eq!(
        rows,
        [
            row("e", 1, Some(-1), false),
            row("a+b", 9 * 24, Some(46), true),
            row("c", 24, None, false),
            row("d", 1, None, true),
        ]
    );
    assert_eq!(queues[1].next, NextFeasible::At(MONDAY + 8 * DAY));
    assert!(
        matches!(queues[3].next, NextFeasible::NeverWithin(..)),
        "two hours do not fit into one"
    );
    assert_eq!(STARVED_MS, 14 * DAY);
}

fn directory(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root).expect("a directory for the test");
    root
}

#[test]
fn a_reload_is_whole_or_not_at_all_also_under_load() {
    let root = directory("live");
    let put = |name: &str, text: &str| {
        // As careful owners do: written beside, then moved into its place.
        let beside = root.join(".new");
        std::fs::write(&beside, text).expect("written");
        std::fs::rename(&beside, root.join(name)).expect("moved");
    };
    let with = |hours: u32| pack("p", "o", "all", &night("n", hours)).1;
    put("p.yaml", &with(2));
    let live = Live::load([&root]).expect("sound");
    let first = live.guard().digest().to_owned();
    put("p.yaml", &with(99));
    let refused = live.reload().expect_err("99 hours are too many");
    assert_eq!(
        (refused.in_force.as_str(), live.guard().digest()),
        (first.as_str(), first.as_str())
    );
    assert!(
        refused.to_string().contains(&format!("those of digest {first} stay")),
        "{refused}"
    );
    assert!(refused.to_string().contains("p.yaml:6:"), "{refused}");
    put("p.yaml", &with(3));
    let held = live.guard();
    assert!(live.reload().expect("sound again"));
    assert_eq!(held.digest(), first, "a question keeps the rules it began with");
    assert_ne!(live.guard().digest(), first);
    assert!(!live.reload().expect("nothing new"));
    // Asked from two threads while a third one writes, now sound, now not: every answer is that of one of the two sets.
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || {
            let mut asked = 0_u32;
            while !done.load(Ordering::Relaxed) || asked == 0 {
                let request = Request::pre("c").scope(app("a"));
                let decision = live.guard().decide(&request, MONDAY + 20 * HOUR);
                let ends = [3, 5].map(|hours| Verdict::Hold {
                    until: Some(MONDAY + (20 + hours) * HOUR),
                });
                assert!(ends.contains(&decision.verdict), "{decision:?}");
                asked += 1;
            }
        };
        scope.spawn(ask);
        scope.spawn(ask);
        for round in 0..60 {
            put("p.yaml", &with([5, 99, 3][round % 3]));
            assert_eq!(live.reload().is_err(), round % 3 == 1);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn packs_bring_their_tests_along() {
    let tests = "tests:
- name: nobody touches it in the evening
  at: 2026-11-02T21:00:00Z
  request: {change: {id: c}, scope: {app: a}}
  expect: {verdict: hold, until: 2026-11-02T22:00:00Z, codes: [window.protected], next_feasible: 2026-11-02T22:00:00Z}
- name: it is open at noon
  at: 2026-11-02T12:00:00Z
  request: {change: {id: c}, scope: {app: a}}
  expect: {verdict: hold, codes: [freeze.active]}
";
    let sound = pack("p", "o", "all", &format!("{}{tests}", night("n", 2)));
    // Another pack would hold it all day; it is not asked.
    let freeze = "freezes:\n- {id: f, from: 2026-11-01, until: 2026-11-10, zone: UTC, owner: o, reason: r}\n";
    let guard = load(&[sound.clone(), pack("q", "o", "all", freeze)]).expect("sound");
    let runs = guard.test();
    assert_eq!(
        runs.iter().map(|run| (run.line, run.passed())).collect::<Vec<_>>(),
        [(8, true), (12, false)]
    );
    let failures = &runs[1].failures;
    assert_eq!(failures[0], "expected hold, and it is allow");
    assert!(
        failures[1].starts_with("expected `freeze.active`, and there are:"),
        "{failures:?}"
    );
    for (good, bad, line, what) in [
        (
            "expect: {verdict: hold, u",
            "expect: {verdict: held, u",
            11,
            "`held` is not known here",
        ),
        ("scope: {app: a}}", "scoop: {app: a}}", 10, "`scoop`"),
        ("2026-11-02T21:00:00Z", "tonight", 9, "instant"),
    ] {
        let text = sound.1.replacen(good, bad, 1);
        let errors = Guard::from_yaml("p.yaml", text).expect_err("a fault");
        assert_eq!((errors.len(), errors[0].line), (1, line), "{errors}");
        assert!(errors[0].to_string().contains(what), "{errors}");
    }
}

#[test]
fn a_pack_may_be_json() {
    let json = r#"{
	"version": 1, "pack": "p", "owner": "o", "scope": {"app": ["a", "b"]},
	"windows": [{"id": "n", "kind": "protected", "weekly": {"days": "daily", "from": "20:00", "for": "2h"},
		"zone": "Asia/Nowhere", "reason": "night"}]
}"#;
    let errors = Guard::from_packs([("p.json", json)]).expect_err("no such zone");
    assert_eq!((errors.len(), errors[0].line, errors[0].column), (1, 4, 11), "{errors}");
    let guard = Guard::from_packs([("p.json", json.replace("Nowhere", "Tokyo"))]).expect("sound");
    assert_eq!(guard.keys().collect::<Vec<_>>(), ["app"]);
}
