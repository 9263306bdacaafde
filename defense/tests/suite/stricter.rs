//! One more window, freeze or rule never makes a decision laxer: 100,000 cases over all kinds, tiers, phases and facts.

use unattended_defense::{Code, Guard, Request, Verdict};

const NOW: i64 = 1_795_176_000_000;
const HOUR: i64 = 3_600_000;

/// splitmix64: seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("below a usize")
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// The lists of a pack that an item may stand in.
const LISTS: [&str; 3] = ["windows", "freezes", "rules"];

/// A window, freeze or rule, and its list. No change window: a further one of a pack opens more, and the first is among the
/// laws over packs.
fn item(random: &mut Random, id: usize) -> (&'static str, String) {
    let (list, kind) = match random.below(10) {
        0 => ("windows", random.of(&[
            "kind: protected, weekly: {days: fri, from: \"11:00\", for: 2h}, zone: UTC",
            "kind: protected, cron: {at: \"0 * * * *\", for: 5m}, zone: UTC, rollback: allowed",
            "kind: protected, yearly: {on: \"11-20\"}, zone: UTC",
        ])),
        1 => ("freezes", "from: 2026-11-20, until: 2026-11-21, zone: UTC, owner: o"),
        _ => ("rules", random.of(&[
            "kind: person",
            "kind: condition, if: {fact: change.emergency, is: true}, then: deny",
            "kind: condition, if: {any: [{label: zone, is: a}, {fact: counts.batch, above: 5}]}, then: {allow_limited: 3}",
            "kind: condition, if: {not: {fact: risk, below: 0.5}}, then: hold",
            "kind: limit, of: targets, max: 50, by: business",
            "kind: limit, of: changes, max: 1",
            "kind: limit, of: batches, max: 2, per: 1h, over: deny",
            "kind: limit, of: rollbacks, max: 1, per: 24h, over: needs_person",
            "kind: limit, of: emergencies, max: 1, per: 24h, over: deny",
            "kind: soak, at_least: 1h, coverage: 90, covers: [zone]",
            "kind: versions, deny: [1.9.7], skew: 1",
            "kind: versions, allow: [\"2.*\"], mutable_tags: allowed, downgrade: needs_person",
            "kind: versions, mutable_tags: allowed, downgrade: allow, compatible: true",
            "kind: incidents, rollback: allowed",
            "kind: approvals, level: 2",
            "kind: age, max: 1d",
            "kind: age, max: 1h, since: started, over: deny",
            "kind: complete",
            "kind: conflict, hops: 1",
        ])),
    };
    let select = random.of(&[
        "",
        ", select: {tier: gold}",
        ", select: {zone: [a, b]}",
        ", select: {business: b1}",
    ]);
    let unknown = random.of(&["", ", unknown: deny", ", unknown: {gold: deny, otherwise: hold}"]);
    let when = match list {
        // A rule that is asked only where it says nothing is refused.
        "rules" if kind == "kind: complete" => random.of(&["", ", phase: post", ", step: order"]),
        "rules" => random.of(&["", ", phase: pre", ", phase: post", ", step: order"]),
        _ => "",
    };
    (
        list,
        format!("- {{id: r{id}, reason: x, {kind}{select}{unknown}{when}}}\n"),
    )
}

fn guard(items: &[(&str, String)]) -> Guard {
    let mut text = "version: 1\npack: p\nowner: o\nscope: all\nfacts: {risk: {type: number, max_age: 1h}}\n".to_owned();
    for list in LISTS {
        let of_list: Vec<&str> = items
            .iter()
            .filter(|(l, _)| *l == list)
            .map(|(_, item)| item.as_str())
            .collect();
        if !of_list.is_empty() {
            text += &format!("{list}:\n{}", of_list.concat());
        }
    }
    Guard::from_yaml("p.yaml", text).expect("valid")
}

fn request(random: &mut Random) -> Request {
    let old = NOW - 30 * HOUR;
    let ago = |random: &mut Random| NOW - [0, HOUR / 2, 2 * HOUR, 20 * HOUR][random.below(4)];
    let change = [
        random.of(&["", ", direction: rollback"]),
        random.of(&["", ", emergency: true"]),
        random.of(&["", ", author: {id: li, kind: person}"]),
        random.of(&[
            "",
            ", versions: {from: \"1.9.1\", to: \"1.9.7\"}",
            ", versions: {from: \"2.0\", to: \"1.9\"}",
        ]),
        random.of(&["", ", artefact: m"]),
        random.of(&["", ", started: 1"]),
        random.of(&["", ", kind: config"]),
    ]
    .concat();
    let made = ago(random);
    let mut text = format!("change: {{id: c, made: {made}{change}}}\n");
    text += random.of(&["", "phase: post\n"]);
    text += random.of(&["", "step: order\n"]);
    text += random.of(&[
        "scope: {app: pay}\n",
        "scope: {app: pay, tier: gold, zone: a, business: b1}\n",
        "scope: {app: pay, tier: [silver, gold], zone: [a, c], business: [b1, b2]}\n",
    ]);
    text += random.of(&["", "counts: {batch: 10, in_flight: 20}\n", "counts: {in_flight: 49}\n"]);
    text += random.of(&[
        "",
        "others: []\n",
        "others: [{change_id: x, scope: {app: ledger, business: b1}, started: 1, in_flight: 20}]\n",
        "others: [{change_id: x, scope: {app: pay}, started: 1, direction: rollback}]\n",
    ]);
    let mut facts = Vec::new();
    let at = ago(random);
    if random.below(2) == 0 {
        let since = ago(random);
        facts.push(format!(
            "stages: {{at: {at}, value: [{{name: s, targets: 10, done: {}, since: {since}, covers: {{zone: a}}}}]}}",
            random.of(&["0", "5", "9", "10", "10", "10", "11"])
        ));
    }
    if random.below(2) == 0 {
        facts.push(format!(
            "incidents: {{at: {at}, value: [{{id: i, scope: {{app: {}}}, severity: 2}}]}}",
            random.of(&["pay", "x"])
        ));
    }
    if random.below(2) == 0 {
        let by = random.of(&["li", "wu"]);
        facts.push(format!(
            "approvals: {{at: {at}, value: [{{by: {{id: {by}, kind: person}}, level: 2, at: {at}}}]}}"
        ));
    }
    if random.below(2) == 0 {
        let acts: Vec<String> = (0..random.below(4))
            .map(|n| {
                let direction = random.of(&["forward", "rollback"]);
                format!(
                    "{{change: x{n}, scope: {{app: a}}, targets: 9, at: {}, direction: {direction}}}",
                    ago(random)
                )
            })
            .collect();
        facts.push(format!(
            "ledger: {{at: {NOW}, value: {{since: {old}, acts: [{}]}}}}",
            acts.join(", ")
        ));
    }
    if random.below(2) == 0 {
        facts.push(format!("calls: {{at: {at}, value: [{{from: pay, to: ledger}}]}}"));
    }
    if random.below(2) == 0 {
        facts.push(format!(
            "reality: {{at: {at}, value: {{expected: 2, running: [{{count: {}, version: \"1.9.7\", ready: true}}]}}}}",
            random.below(3)
        ));
    }
    if random.below(2) == 0 {
        facts.push(format!(
            "values: {{risk: {{at: {at}, value: {}}}}}",
            random.of(&["0.2", "0.9", "high"])
        ));
    }
    if random.below(2) == 0 {
        let version = random.of(&["1.9", "1.7", "main"]);
        facts.push(format!(
            "neighbours: {{at: {at}, value: [{{app: ledger, version: \"{version}\"}}]}}"
        ));
    }
    text += &format!("facts: {{{}}}\n", facts.join(", "));
    Request::from_text("r.yaml", &text).expect(&text)
}

#[test]
fn one_more_rule_is_never_laxer_and_the_order_cannot_matter() {
    let mut random = Random(7);
    let requests: Vec<Request> = (0..500).map(|_| request(&mut random)).collect();
    let mut met = std::collections::BTreeSet::new();
    let mut stricter = 0;
    for _ in 0..200 {
        let mut items: Vec<_> = (0..=random.below(5)).map(|id| item(&mut random, id)).collect();
        let more = guard(&items);
        let turned = {
            let mut turned = items.clone();
            turned.reverse();
            guard(&turned)
        };
        items.swap_remove(random.below(items.len()));
        let fewer = guard(&items);
        for (n, request) in requests.iter().enumerate() {
            let with = more.decide(request, NOW);
            let without = fewer.decide(request, NOW);
            assert!(with.verdict >= without.verdict, "{with:?}\n{without:?}");
            if n % 16 == 0 {
                assert_eq!(turned.decide(request, NOW).verdict, with.verdict);
            }
            // Each finding has its share in the verdict, and nothing else has.
            let joined = with
                .findings
                .iter()
                .fold(Verdict::Allow, |all, finding| all.join(finding.verdict));
            assert_eq!(joined, with.verdict);
            assert!(
                with.findings
                    .iter()
                    .all(|finding| !matches!(finding.verdict, Verdict::Unknown(_) | Verdict::Allow))
            );
            stricter += usize::from(with.verdict > without.verdict);
            met.extend(with.findings.into_iter().map(|finding| finding.code));
        }
    }
    // The cases are worth something: every kind spoke, and mattered.
    for code in [
        "window.protected",
        "freeze.active",
        "rule.person",
        "condition.met",
        "condition.unknown",
        "limit.left",
        "limit.reached",
        "soak.short",
        "soak.class",
        "version.denied",
        "version.not_allowed",
        "version.skew",
        "version.mutable",
        "version.downgrade",
        "incident.open",
        "approval.missing",
        "age.exceeded",
        "complete.missing",
        "conflict.near",
        "conflict.scope",
        "label.missing",
        "fact.missing",
        "fact.stale",
    ] {
        assert!(met.contains(&Code::named(code)), "no case of {code}: {met:?}");
    }
    assert!(stricter > 10_000, "{stricter}");
}
