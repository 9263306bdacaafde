//! The law that lets a house trust packs it did not read: one more rule never makes any verdict laxer. A hundred thousand
//! questions, each asked of some rules and of one rule more.

use unattended_defense::{Direction, Guard, Known, Need, Other, Phase, Request, Scope, Verdict, app};

/// Monday, 2026-11-02T00:00Z.
const MONDAY: i64 = 1_793_577_600_000;
/// 2026-11-20T12:00Z: when the documented request is asked.
const FULL: i64 = 1_795_176_000_000;
const MINUTE: i64 = 60_000;

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        usize::try_from(word % u64::try_from(bound).expect("small")).expect("below a usize")
    }

    fn of<'p, T>(&mut self, pool: &'p [T]) -> &'p T {
        &pool[self.below(pool.len())]
    }
}

/// One rule of every kind there is, in several shapes. `@` is where the selection goes.
const RULES: [&str; 36] = [
    "windows: [{id: r, kind: protected, weekly: {days: daily, from: \"20:00\", for: 10h}, zone: Europe/Berlin, reason: r@}]",
    "windows: [{id: r, kind: protected, weekly: {days: [mon, sun], from: \"02:30\", for: 3h}, zone: Europe/Berlin, reason: r, rollback: allowed@}]",
    "windows: [{id: r, kind: change, weekly: {days: [mon, tue], from: \"08:00\", for: 12h}, zone: UTC, reason: r@}]",
    "windows: [{id: r, kind: change, weekly: {days: daily, from: \"22:00\", for: 4h}, zone: Asia/Shanghai, reason: r, rollback: allowed@}]",
    "windows: [{id: r, kind: protected, cron: {at: \"0 */6 * * *\", for: 2h}, zone: America/Sao_Paulo, reason: r@}]",
    "windows: [{id: r, kind: change, cron: {at: \"30 9 * * mon-fri\", for: 6h}, zone: UTC, reason: r@}]",
    "windows: [{id: r, kind: protected, yearly: {on: \"11-03\"}, zone: Australia/Lord_Howe, reason: r@}]",
    "windows: [{id: r, kind: change, dated: [{from: 2026-11-02T06:00, until: 2026-11-05}], zone: UTC, reason: r@}]",
    "windows: [{id: r, kind: protected, holidays: {calendar: h.ics}, zone: UTC, reason: r@}]",
    "freezes: [{id: r, from: 2026-11-03, until: 2026-11-04T12:00, zone: UTC, owner: o, reason: r@}]",
    "freezes: [{id: r, from: 2026-11-02T10:00, until: 2026-11-02T11:00, zone: UTC, owner: o, reason: r, rollback: allowed, unknown: {gold: deny}@}]",
    "rules: [{id: r, kind: person, reason: r@}]",
    "rules: [{id: r, kind: person, reason: r, unknown: hold@}]",
    "rules: [{id: r, kind: person, reason: r, unknown: {gold: deny}@}]",
    "facts: {risk: {type: number, max_age: 1h}}\nrules: [{id: r, kind: condition, if: {fact: risk, above: 0.5}, then: deny, reason: r@}]",
    "facts: {risk: number}\nrules: [{id: r, kind: condition, if: {fact: risk, at_most: 0.5}, then: {allow_limited: 3}, reason: r@}]",
    "facts: {green: bool}\nrules: [{id: r, kind: condition, if: {not: {fact: green, is: true}}, then: needs_person, reason: r, unknown: deny@}]",
    "rules: [{id: r, kind: condition, if: {label: zone, is: a}, then: {allow_limited: 7}, reason: r@}]",
    "rules: [{id: r, kind: condition, if: {any: [{label: tier, in: [gold]}, {fact: counts.batch, above: 10}]}, then: hold, reason: r@}]",
    "rules: [{id: r, kind: condition, if: {fact: change.direction, is: forward}, then: {allow_limited: 1}, reason: r@}]",
    "rules: [{id: r, kind: condition, if: {fact: change.emergency, is: false}, then: {allow_limited: 0}, reason: r@}]",
    "rules: [{id: r, kind: condition, if: {fact: need.batch_minutes, above: 30}, then: needs_person, reason: r@}]",
    "rules: [{id: r, kind: condition, if: {fact: phase, is: post}, then: hold, reason: r@}]",
    "rules: [{id: r, kind: condition, if: {fact: actor.kind, is: program}, then: needs_person, reason: r, unknown: hold@}]",
    "rules: [{id: r, kind: conflict, hops: 1, mixed_hops: 2, reason: r@}]",
    "rules: [{id: r, kind: limit, of: targets, max: 25, by: business, reason: r@}]",
    "rules: [{id: r, kind: limit, of: batches, max: 1, per: 7d, over: needs_person, reason: r@}]",
    "rules: [{id: r, kind: limit, of: rollbacks, max: 1, per: 24h, over: deny, reason: r, phase: pre@}]",
    "rules: [{id: r, kind: soak, at_least: 24h, covers: [zone], reason: r@}]",
    "rules: [{id: r, kind: soak, at_least: 7d, reason: r, unknown: hold@}]",
    "rules: [{id: r, kind: versions, allow: [\"1.9.*\"], skew: 0, compatible: true, reason: r@}]",
    "rules: [{id: r, kind: incidents, severity: 2, rollback: allowed, reason: r@}]",
    "rules: [{id: r, kind: approvals, level: 2, count: 2, reason: r@}]",
    "rules: [{id: r, kind: age, max: 1d, over: hold, reason: r@}]",
    "rules: [{id: r, kind: complete, share: 99, reason: r@}]",
    "rules: []",
];

const SCOPES: [&str; 5] = [
    "all",
    "{business: pay}",
    "{app: a}",
    "{tier: gold}",
    "{business: [pay, loans], tier: [gold, silver]}",
];
const SELECTS: [&str; 5] = [
    "",
    "",
    ", select: {tier: gold}",
    ", select: {zone: [a, b]}",
    ", select: {app: [a, b]}",
];

fn pack(name: usize, random: &mut Random) -> (String, String) {
    let (scope, mut select) = (*random.of(&SCOPES), *random.of(&SELECTS));
    // A selection beyond the scope would be refused.
    if scope == "{app: a}" && select.contains("app:") {
        select = "";
    }
    let rule = random.of(&RULES).replace('@', select);
    (
        format!("p{name}.yaml"),
        format!("version: 1\npack: p{name}\nowner: o\nscope: {scope}\n{rule}\n"),
    )
}

fn scope(random: &mut Random) -> Scope {
    let mut scope = if random.below(8) == 0 {
        Scope::new()
    } else {
        app(*random.of(&["a", "b"]))
    };
    for (key, values) in [
        ("business", ["pay", "loans", ""]),
        ("tier", ["gold", "silver", ""]),
        ("zone", ["a", "b", "c"]),
    ] {
        // Absent, one value, or two.
        for _ in 0..random.below(3) {
            scope = scope.label(key, *random.of(&values));
        }
    }
    scope
}

/// The documented request with every field, some of them taken away, asked about its own day or about another week.
fn question(full: &Request, random: &mut Random) -> (Request, i64) {
    let ms = |most: usize, random: &mut Random| i64::try_from(random.below(most)).expect("small") * MINUTE;
    let now = match random.below(2) {
        0 => FULL + ms(30, random),
        _ => MONDAY + 15 * ms(7 * 96, random),
    };
    let mut request = full.clone();
    request.change.emergency = random.below(2) == 0;
    if random.below(2) == 0 {
        request.change.direction = Direction::Rollback;
    }
    if random.below(4) == 0 {
        request.phase = Phase::Post;
    }
    let facts = &mut request.facts;
    if random.below(3) > 0 {
        let seen = now - ms(120, random) + 20 * MINUTE;
        facts.values.insert(
            "risk".to_owned(),
            Known::at(seen, (*random.of(&[0.1, 0.5, 0.9, f64::NAN])).into()),
        );
    }
    if random.below(2) == 0 {
        let green = random.below(2) == 0;
        facts.values.insert("green".to_owned(), Known::at(now, green.into()));
    }
    let mut lost = || random.below(4) == 0;
    if lost() {
        facts.incidents = None;
    }
    if lost() {
        facts.approvals = None;
    }
    if lost() {
        facts.stages = None;
    }
    if lost() {
        facts.reality = None;
    }
    if lost() {
        facts.neighbours = None;
    }
    if lost() {
        facts.calls = None;
    }
    if lost() {
        facts.ledger = None;
    }
    if lost() {
        request.change.versions = None;
    }
    if lost() {
        request.counts.batch = None;
    }
    if lost() {
        request.others = None;
    } else if lost() {
        request.others = Some(vec![Other::new("other", scope(random), MONDAY)]);
    }
    let request = request.scope(scope(random)).need(Need {
        batch_ms: u64::try_from(random.below(5) * 40).expect("small") * 60_000,
        rollback_ms: u64::try_from(random.below(3) * 60).expect("small") * 60_000,
    });
    (request, now)
}

#[test]
fn one_more_rule_never_makes_a_verdict_laxer() {
    let calendar = (
        "h.ics".to_owned(),
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261103\nEND:VEVENT\nEND:VCALENDAR\n".to_owned(),
    );
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/request.yaml");
    let full = Request::load(path).expect("the documented request");
    let mut random = Random(13);
    let mut asked = 0_u32;
    let mut seen = [0_u32; 5];
    let mut stricter = 0_u32;
    while asked < 100_000 {
        let mut packs: Vec<_> = (0..=random.below(4)).map(|name| pack(name, &mut random)).collect();
        packs.push(calendar.clone());
        let fewer = Guard::from_packs(packs.clone()).expect("sound packs");
        packs.push(pack(9, &mut random));
        let more = Guard::from_packs(packs.clone()).expect("sound packs");
        for _ in 0..250 {
            let (request, now) = question(&full, &mut random);
            let (without, with) = (fewer.decide(&request, now), more.decide(&request, now));
            assert!(
                with.verdict >= without.verdict,
                "{:?} became {:?} at {now} with {:?}\n{request:?}",
                without.verdict,
                with.verdict,
                packs.last()
            );
            // Nor does a start that was not feasible become so sooner.
            if let (Some(later), Some(earlier)) = (with.next_feasible, without.next_feasible) {
                assert!(
                    later >= earlier,
                    "{later} before {earlier} with {:?}\n{request:?}",
                    packs.last()
                );
            }
            assert!(
                with.next_feasible.is_none() || without.next_feasible.is_some(),
                "{:?}",
                packs.last()
            );
            stricter += u32::from(with.verdict > without.verdict);
            seen[match with.verdict {
                Verdict::Allow => 0,
                Verdict::AllowLimited(_) => 1,
                Verdict::Unknown(_) => unreachable!("each window and rule says what that becomes"),
                Verdict::NeedsPerson => 2,
                Verdict::Hold { .. } => 3,
                Verdict::Deny => 4,
            }] += 1;
            asked += 1;
        }
    }
    // The law is not kept by never saying anything else.
    assert!(seen.iter().all(|count| *count > 500), "{seen:?}");
    assert!(stricter > 10_000, "{stricter}");
}
