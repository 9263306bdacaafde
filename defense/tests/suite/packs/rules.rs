//! Rules in packs are checked as windows are.

use super::*;

/// The sound pack with one rule, of which a test breaks one part.
#[track_caller]
fn rule(good: &str, bad: &str, line: u64, column: u64, what: &str, fix: &str) {
    const RULE: &str = "rules:\n  - id: new-hands\n    kind: person\n    reason: nobody knows it\n    unknown: {gold: deny}\n    select: {tier: gold}\n";
    assert!(RULE.contains(good), "{good} is not in the rule");
    Guard::from_yaml("p.yaml", format!("{SOUND}{RULE}")).expect("sound");
    let found = errors(&format!("{SOUND}{}", RULE.replacen(good, bad, 1)));
    assert_eq!(found.len(), 1, "{found}");
    assert_eq!((found[0].line, found[0].column), (line, column), "{found}");
    assert!(found[0].what.contains(what) && found[0].fix.contains(fix), "{found}");
}

#[test]
fn rules_are_checked_as_windows_are() {
    rule(
        "person",
        "persona",
        21,
        11,
        "no rule of `kind: persona`",
        "did you mean `person`?",
    );
    rule("person", "protected", 21, 11, "no rule of", "`windows`");
    rule(
        "    reason",
        "    levels: 2\n    reason",
        22,
        5,
        "`kind: person`: `levels` is not a field",
        "remove it",
    );
    rule(
        "    reason: nobody knows it\n",
        "",
        20,
        5,
        "a rule lacks `reason`",
        "add `reason",
    );
    rule(
        "new-hands",
        "evening",
        20,
        9,
        "`evening` is taken already, in line 6",
        "of its own",
    );
    rule(
        "deny",
        "allow",
        23,
        21,
        "`unknown: allow` is not known",
        "needs_person, hold, deny",
    );
    rule(
        "{tier: gold}",
        "{business: loans}",
        24,
        24,
        "outside the scope",
        "widen",
    );
}

#[test]
fn the_example_passes_its_own_tests() {
    let guard = Guard::load(concat!(env!("CARGO_MANIFEST_DIR"), "/packs/example.yaml")).expect("the example is sound");
    let runs = guard.test();
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert!(run.passed(), "{run:#?}");
    }
}
