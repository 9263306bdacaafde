//! Limits over all changes, at once and in a span.

use super::*;

#[test]
fn a_limit_at_once_counts_all_changes_of_a_business_and_leaves_the_rest() {
    let rule = "kind: limit, of: targets, max: 100, by: business";
    let asked = |counts: &str, others: &str| {
        format!("change: {{id: c}}\nscope: {{app: pay, business: b1}}\ncounts: {{{counts}}}\nothers: [{others}]\n")
    };
    let other = |id: &str, business: &str, n: u64| {
        format!("{{change_id: {id}, scope: {{app: {id}, business: {business}}}, started: 1, in_flight: {n}}}")
    };
    let sixty = other("x", "b1", 60);
    check(
        rule,
        &[
            (&asked("batch: 40, in_flight: 0", &sixty), &[], Verdict::Allow),
            (
                &asked("batch: 41, in_flight: 0", &sixty),
                &["limit.left"],
                Verdict::AllowLimited(40),
            ),
            (
                &asked("in_flight: 10", &sixty),
                &["limit.left"],
                Verdict::AllowLimited(30),
            ),
            (&asked("in_flight: 40", &sixty), &["limit.reached"], HOLD),
            // Another business has a budget of its own; whoever does not say counts for each.
            (
                &asked("batch: 100, in_flight: 0", &other("x", "b2", 60)),
                &[],
                Verdict::Allow,
            ),
            (
                &asked(
                    "in_flight: 0",
                    "{change_id: x, scope: {app: x}, started: 1, in_flight: 60}",
                ),
                &["limit.left"],
                Verdict::AllowLimited(40),
            ),
            (&asked("batch: 1", &sixty), &["fact.missing"], Verdict::NeedsPerson),
            (
                &asked("in_flight: 0", "{change_id: x, scope: {app: x}, started: 1}"),
                &["fact.missing"],
                Verdict::NeedsPerson,
            ),
            (
                "change: {id: c}\nscope: {business: b1}\ncounts: {in_flight: 0}",
                &["fact.missing"],
                Verdict::NeedsPerson,
            ),
            (
                "change: {id: c}\nscope: {app: a}\nothers: []",
                &["label.missing"],
                Verdict::NeedsPerson,
            ),
        ],
    );
    // An emergency has no place while others still move: it goes first where they have not begun.
    let hurry = |counts: &str, started: &str, other: &str| {
        format!(
            "change: {{id: c, emergency: true{started}}}\nscope: {{app: a}}\ncounts: {{{counts}}}\n\
             others: [{{change_id: x, scope: {{app: x}}, started: 1{other}}}]\n"
        )
    };
    let reached: &[&str] = &["limit.reached"];
    let moving = ", in_flight: 5";
    check(
        "kind: limit, of: changes, max: 1",
        &[
            (&hurry("", "", moving), reached, HOLD),
            (&hurry("", "", ""), reached, HOLD),
            (&hurry("", "", ", in_flight: 0"), &[], Verdict::Allow),
            (&hurry("", ", started: 2", moving), reached, HOLD),
            (&hurry("in_flight: 0", ", started: 2", moving), reached, HOLD),
            (&hurry("in_flight: 3", ", started: 2", moving), &[], Verdict::Allow),
            (&hurry("", ", started: 2", ""), &[], Verdict::Allow),
            (&hurry("", ", direction: rollback", moving), &[], Verdict::Allow),
        ],
    );
    // A change that is listed for each of its scopes is one.
    let part = "{change_id: x, scope: {app: x}, started: 1}";
    let two = format!(
        "change: {{id: c}}\nscope: {{app: a}}\nothers: [{part}, {}]\n",
        part.replace("app: x", "app: y")
    );
    check("kind: limit, of: changes, max: 2", &[(&two, &[], Verdict::Allow)]);
    // Of three changes with two places exactly the youngest waits.
    let list: Vec<String> = (0..3)
        .map(|n| format!("{{change_id: c{n}, scope: {{app: a{n}}}, started: {n}}}"))
        .collect();
    for n in 0..3 {
        let request = format!(
            "change: {{id: c{n}}}\nscope: {{app: a{n}}}\nothers: [{}]\n",
            list.join(", ")
        );
        let verdict = codes("kind: limit, of: changes, max: 2", &request).1;
        assert_eq!(verdict, if n < 2 { Verdict::Allow } else { HOLD }, "{n}");
    }
}

#[test]
fn a_limit_in_a_span_knows_when_something_is_left_again() {
    let asked = |since: i64, acts: &str| {
        format!(
            "change: {{id: c, direction: rollback}}\nscope: {{app: pay}}\n\
             facts: {{ledger: {{at: {NOW}, value: {{since: {since}, acts: [{acts}]}}}}}}\n"
        )
    };
    let act = |change: &str, at: i64, targets: u64, more: &str| {
        format!("{{change: {change}, scope: {{app: x}}, at: {at}, targets: {targets}{more}}}")
    };
    let old = NOW - 24 * HOUR;
    let targets = "kind: limit, of: targets, max: 100, per: 1h";
    let three = [
        act("a", NOW - 50 * MINUTE, 50, ""),
        act("b", NOW - 30 * MINUTE, 60, ""),
        act("d", NOW - HOUR, 99, ""),
    ]
    .join(", ");
    check(
        targets,
        &[
            (
                &asked(old, &three),
                &["limit.reached"],
                Verdict::Hold {
                    until: Some(NOW + 10 * MINUTE),
                },
            ),
            (
                &asked(old, &act("a", NOW, 60, "")),
                &["limit.left"],
                Verdict::AllowLimited(40),
            ),
            // A list that does not reach back far enough shows nothing.
            (&asked(NOW - 59 * MINUTE, ""), &["fact.missing"], Verdict::NeedsPerson),
            (
                &asked(old, &act("a", NOW + HOUR, 1, "")),
                &["fact.future"],
                Verdict::NeedsPerson,
            ),
            ("change: {id: c}", &["fact.missing"], Verdict::NeedsPerson),
        ],
    );
    let rollbacks = "kind: limit, of: rollbacks, max: 1, per: 24h, over: needs_person";
    let back = act("a", NOW - HOUR, 1, ", direction: rollback");
    let own = act("c", NOW - HOUR, 1, ", direction: rollback");
    check(
        rollbacks,
        &[
            (&asked(old, &act("a", NOW, 1, "")), &[], Verdict::Allow),
            (&asked(old, &back), &["limit.reached"], Verdict::NeedsPerson),
            // Further batches of the same rollback, and forward changes, are not bound.
            (&asked(old, &own), &[], Verdict::Allow),
            (
                &asked(old, &back).replace(", direction: rollback}\nscope", "}\nscope"),
                &[],
                Verdict::Allow,
            ),
        ],
    );
    let changes = "kind: limit, of: changes, max: 2, per: 24h";
    let twice = format!(
        "{}, {}",
        act("a", NOW - 3 * HOUR, 1, ""),
        act("a", NOW - 2 * HOUR, 1, "")
    );
    let two = format!("{twice}, {}", act("b", NOW - HOUR, 1, ""));
    check(
        changes,
        &[
            (&asked(old, &twice), &[], Verdict::Allow),
            (
                &asked(old, &two),
                &["limit.reached"],
                Verdict::Hold {
                    until: Some(NOW + 22 * HOUR),
                },
            ),
        ],
    );
    let batches = "kind: limit, of: batches, max: 3, per: 24h, over: deny";
    check(batches, &[(&asked(old, &two), &["limit.reached"], Verdict::Deny)]);
}
