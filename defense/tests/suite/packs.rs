//! Pack files: the example with every field, and every fault with its place and its fix.

use std::collections::{BTreeMap, BTreeSet};

use unattended_defense::{Guard, PackErrors, Scope};

mod rules;

/// One sound pack; tests break one line of it.
const SOUND: &str = r#"version: 1
pack: payments
owner: team-payments
scope: {business: payments}
windows:
  - id: evening
    kind: protected
    weekly: {days: [fri], from: "18:00", for: 14h}
    zone: Asia/Shanghai
    select: {tier: [gold]}
    reason: settlement
freezes:
  - id: singles
    from: 2026-11-10T00:00
    until: 2026-11-12T00:00
    zone: Asia/Shanghai
    owner: cto
    reason: "11.11"
"#;

fn errors(text: &str) -> PackErrors {
    Guard::from_yaml("p.yaml", text).expect_err("the pack has a fault")
}

/// Replaces `good` by `bad` in the sound pack: exactly one error at the place, with these words in it.
#[track_caller]
fn one(good: &str, bad: &str, line: u64, column: u64, what: &str, fix: &str) {
    assert!(SOUND.contains(good), "{good} is not in the pack");
    let errors = errors(&SOUND.replacen(good, bad, 1));
    assert_eq!(errors.len(), 1, "{errors}");
    let error = &errors[0];
    assert_eq!(
        (error.file.as_str(), error.line, error.column),
        ("p.yaml", line, column),
        "{error}"
    );
    assert!(error.what.contains(what), "{error}");
    assert!(error.fix.contains(fix), "{error}");
}

#[test]
fn the_sound_pack_loads() {
    let guard = Guard::from_yaml("p.yaml", SOUND).expect("sound");
    assert_eq!(guard.keys().collect::<Vec<_>>(), ["business", "tier"]);
}

#[test]
fn the_example_has_every_field_the_format_knows() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/packs/example.yaml");
    let text = std::fs::read_to_string(path).expect("the example");
    Guard::load(path).expect("the example is sound");
    // The list of fields as messages give it: add a bogus field to each mapping and read what is known.
    for (mapping, at) in [
        ("a pack", "owner: x"),
        ("a window", "  kind: x"),
        ("a freeze", "  until: x"),
        ("`kind: person`", ""),
        ("`weekly`", ""),
    ] {
        let broken = match mapping {
            "a pack" => "version: 1\nqqqqqqqq: 1\n".to_owned(),
            "a window" => "version: 1\nwindows: [{qqqqqqqq: 1}]\n".to_owned(),
            "a freeze" => "version: 1\nfreezes: [{qqqqqqqq: 1}]\n".to_owned(),
            "`kind: person`" => "version: 1\nrules: [{kind: person, qqqqqqqq: 1}]\n".to_owned(),
            _ => "version: 1\nwindows: [{weekly: {qqqqqqqq: 1}}]\n".to_owned(),
        };
        let found = errors(&broken);
        let error = found
            .iter()
            .find(|e| e.what.contains(mapping) && e.what.contains("qqqqqqqq"));
        let error = error.unwrap_or_else(|| panic!("{mapping} {at}: {found}"));
        let known = error.fix.rsplit(": ").next().expect("a list").split(", ");
        for field in known {
            assert!(
                field == "remove it" || text.contains(&format!("{field}:")),
                "the example lacks `{field}` of {mapping}"
            );
        }
    }
}

#[test]
fn unknown_fields_are_never_skipped() {
    one(
        "owner: team-payments\n",
        "owner: team-payments\nruling: []\n",
        4,
        1,
        "`ruling` is not a field of a pack",
        "remove it; this version knows",
    );
    one(
        "windows:",
        "windws:",
        5,
        1,
        "`windws` is not a field",
        "did you mean `windows`?",
    );
    one(
        "    kind: protected\n",
        "    kind: protected\n    monthly: 0 2 * * 5\n",
        8,
        5,
        "`monthly` is not a field of a window",
        "this version knows",
    );
    one(
        "for: 14h}",
        "for: 14h, every: 2}",
        8,
        52,
        "`every` is not a field of `weekly`",
        "days, from, for",
    );
    one(
        "    owner: cto\n",
        "    owner: cto\n    yearly: true\n",
        18,
        5,
        "`yearly` is not a field of a freeze",
        "remove it",
    );
    one(
        "zone: Asia/Shanghai\n    select",
        "zone: Asia/Shanghai\n    shadow: true\n    select",
        10,
        5,
        "`shadow` is not",
        "remove it",
    );
}

#[test]
fn missing_fields_are_named() {
    one(
        "owner: team-payments\n",
        "",
        1,
        1,
        "a pack lacks `owner`",
        "add `owner:",
    );
    one("version: 1\n", "", 1, 1, "a pack lacks `version`", "add `version: 1`");
    one(
        "scope: {business: payments}\n",
        "",
        1,
        1,
        "a pack lacks `scope`",
        "scope: all",
    );
    one("    owner: cto\n", "", 13, 5, "a freeze lacks `owner`", "add `owner:");
    one(
        "    reason: settlement\n",
        "",
        6,
        5,
        "a window lacks `reason`",
        "add `reason:",
    );
    one(", for: 14h", "", 8, 13, "`weekly` lacks `for`", "14h");
}

#[test]
fn other_versions_are_refused_before_anything_else() {
    one(
        "version: 1",
        "version: 2",
        1,
        10,
        "not version 1",
        "use a newer program",
    );
    one("version: 1", "version: \"1\"", 1, 10, "not version 1", "version: 1");
    assert_eq!(errors("version: 2\nsomething: else\n").len(), 1);
}

#[test]
fn zones_and_times() {
    one(
        "zone: Asia/Shanghai",
        "zone: Asia/Shangai",
        9,
        11,
        "`Asia/Shangai` does not exist",
        "did you mean `Asia/Shanghai`?",
    );
    one(
        "zone: Asia/Shanghai",
        "zone: UTC+8 of mine",
        9,
        11,
        "does not exist",
        "IANA name",
    );
    one("\"18:00\"", "\"24:00\"", 8, 33, "not a time of day", "23:59");
    one("\"18:00\"", "1800", 8, 33, "is a number", "quotes");
    one("for: 14h", "for: 0h", 8, 47, "is empty", "above zero");
    one("for: 14h", "for: 7d1m", 8, 47, "longer than a week", "at most 7d");
    one("for: 14h", "for: 14", 8, 47, "no unit", "90m");
    one("for: 14h", "for: soon", 8, 47, "not a length", "90m");
    one(
        "days: [fri]",
        "days: [fri, fry]",
        8,
        26,
        "`days: fry` is not known",
        "did you mean `fri`?",
    );
    one("days: [fri]", "days: [fri, fri]", 8, 26, "named twice", "once");
    one("days: [fri]", "days: []", 8, 20, "no day", "daily");
    one(
        "days: [fri]",
        "days: [daily]",
        8,
        21,
        "no day of a list",
        "`days: daily`, without brackets",
    );
    one(
        "until: 2026-11-12T00:00",
        "until: 2026-11-10T00:00",
        15,
        12,
        "ends before it begins, or at once",
        "later",
    );
    one(
        "until: 2026-11-12T00:00",
        "until: 2026-11-09",
        15,
        12,
        "ends before it begins",
        "later",
    );
    one(
        "until: 2026-11-12T00:00",
        "until: 2026-11-12T00:00Z",
        15,
        12,
        "not a date with a time",
        "without an offset",
    );
    one(
        "until: 2026-11-12T00:00",
        "until: 2026-02-30T00:00",
        15,
        12,
        "not a date",
        "2026-11-12T00:00",
    );
    one(
        "until: 2026-11-12T00:00",
        "until: 2300-01-01",
        15,
        12,
        "out of range",
        "2199",
    );
}

#[test]
fn a_freeze_across_a_fold_holds_until_the_second_pass() {
    // Both ends read 02:30, but the night repeats that hour: the span is one hour long, not empty.
    let night = SOUND
        .replace("from: 2026-11-10T00:00", "from: 2026-10-25T02:30")
        .replace("until: 2026-11-12T00:00", "until: 2026-10-25T02:30")
        .replace("Asia/Shanghai\n    owner", "Europe/Berlin\n    owner");
    let guard = Guard::from_yaml("p.yaml", night).expect("sound");
    let scope = Scope::app("a").label("business", "payments").label("tier", "none");
    let spans = guard.spans(&scope, 1_792_800_000_000, 1_793_000_000_000);
    assert_eq!(spans.iter().map(|s| s.until - s.from).collect::<Vec<_>>(), [3_600_000]);
}

#[test]
fn words_ids_and_selectors() {
    one(
        "kind: protected",
        "kind: protect",
        7,
        11,
        "`kind: protect` is not known",
        "protected",
    );
    one(
        "id: singles",
        "id: evening",
        13,
        9,
        "`evening` is taken already, in line 6",
        "id of its own",
    );
    one("id: evening", "id: fri evening", 6, 9, "not an id", "letters");
    one(
        "scope: {business: payments}",
        "scope: payments",
        4,
        8,
        "not a scope",
        "`all`",
    );
    one("scope: {business: payments}", "scope: {}", 4, 8, "is empty", "`all`");
    // Values are no patterns: what looks like one would select nothing, and a freeze of it freeze nothing.
    for pattern in ["pay*", "*", "!payments"] {
        let scope = format!("scope: {{business: \"{pattern}\"}}");
        one(
            "scope: {business: payments}",
            &scope,
            4,
            19,
            "looks like a pattern",
            "name each value",
        );
    }
    one(
        "scope: {business: payments}",
        "scope: {business: [\" payments\"]}",
        4,
        20,
        "spaces around",
        "remove",
    );
    one(
        "{tier: [gold]}",
        "{tier: []}",
        10,
        20,
        "selects nothing",
        "name a value",
    );
    one(
        "{tier: [gold]}",
        "{tier: 1.10}",
        10,
        20,
        "is a number",
        "put it in quotes, as written",
    );
    one("{tier: [gold]}", "{tier: true}", 10, 20, "is a boolean", "quotes");
    one(
        "{tier: [gold]}",
        "{business: [payments, loans]}",
        10,
        24,
        "`business: loans` lies outside",
        "widen `scope`",
    );
    one(
        "    reason: settlement\n",
        "    reason: settlement\n    rollback: maybe\n",
        12,
        15,
        "`rollback: maybe` is not known",
        "allowed, forbidden",
    );
    one(
        "    reason: settlement\n",
        "    reason: \"\"\n",
        11,
        13,
        "`reason` is empty",
        "write a text",
    );
}

#[test]
fn yaml_faults_have_places() {
    let found = errors("version: 1\npack: [unclosed\nowner: x\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].line >= 2, "{found}");
    let found = errors("version: 1\npack: a\npack: b\n");
    assert_eq!((found.len(), found[0].line), (1, 3), "{found}");
    for text in [
        "",
        "- 1\n",
        "hello",
        "version: 1\n---\nversion: 1\n",
        "\u{0}",
        "&a [*a]",
        "a: *b",
    ] {
        assert!(!errors(text).is_empty());
    }
}

#[test]
fn a_pack_that_is_closed_in_every_week_is_refused() {
    let all_week = "weekly: {days: [mon], from: \"00:00\", for: 7d}";
    one(
        "weekly: {days: [fri], from: \"18:00\", for: 14h}",
        all_week,
        6,
        9,
        "never leave its scope open",
        "shorten",
    );
    one(
        "weekly: {days: [fri], from: \"18:00\", for: 14h}",
        "weekly: {days: daily, from: \"18:00\", for: 24h}",
        6,
        9,
        "never leave its scope open",
        "shorten",
    );
    // The one open minute is enough; whether a batch fits is asked when there is one.
    let almost = SOUND.replace(
        "days: [fri], from: \"18:00\", for: 14h",
        "days: daily, from: \"18:00\", for: 23h59m",
    );
    Guard::from_yaml("p.yaml", almost).expect("there is a minute each day");
    // A change window that lies wholly inside a protected one.
    let change = "  - {id: hours, kind: change, weekly: {days: [fri], from: \"19:00\", for: 2h}, zone: Asia/Shanghai, select: {tier: gold}, reason: staffed}\nfreezes:";
    one(
        "freezes:",
        change,
        12,
        10,
        "never leave its scope open",
        "change window",
    );
    // For another tier it does not matter.
    let other = SOUND.replace("freezes:", &change.replace("tier: gold", "tier: silver"));
    Guard::from_yaml("p.yaml", other).expect("silver is open on Friday evening");
}

#[test]
fn all_faults_of_all_files_come_together_and_nothing_is_loaded() {
    let first = SOUND
        .replace("Asia/Shanghai", "Asia/Nowhere")
        .replace("kind: protected", "kind: x");
    let second = SOUND
        .replace("for: 14h", "for: 99d")
        .replace("pack: payments", "pack: two");
    let third = SOUND.replace("pack: payments", "pack: three");
    let found = Guard::from_packs([("b.yaml", second), ("a.yaml", first), ("c.yaml", third)]).expect_err("faults");
    let places: Vec<_> = found.iter().map(|e| (e.file.as_str(), e.line)).collect();
    assert_eq!(places, [("a.yaml", 7), ("a.yaml", 9), ("a.yaml", 16), ("b.yaml", 8)]);
    assert_eq!(found.to_string().lines().count(), 4);
    assert!(
        found
            .to_string()
            .starts_with("a.yaml:7:11: `kind: x` is not known; fix: "),
        "{found}"
    );
}

#[test]
fn two_packs_of_one_name_are_refused() {
    let found = Guard::from_packs([("a.yaml", SOUND), ("b.yaml", SOUND)]).expect_err("the name is taken");
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].file.as_str(), found[0].line, found[0].column),
        ("b.yaml", 2, 7)
    );
    assert!(found[0].what.contains("exists already, in a.yaml"), "{found}");
}

#[test]
fn selectors_on_labels_the_fleet_does_not_have_are_refused() {
    let guard = Guard::from_yaml("p.yaml", SOUND).expect("sound");
    guard.check_keys(&["business", "tier", "zone"]).expect("all known");
    let found = guard
        .check_keys(&["busines", "zone", "tier"])
        .expect_err("one is unknown");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].line, found[0].column), (4, 9));
    assert_eq!(found[0].fix, "did you mean `busines`?");
    assert_eq!(guard.check_keys::<&str>(&[]).expect_err("both").len(), 2);
    let by_app = SOUND.replace("{tier: [gold]}", "{app: pay}");
    Guard::from_yaml("p.yaml", by_app)
        .expect("sound")
        .check_keys(&["business"])
        .expect("`app` is always known");
}

#[test]
fn values_that_nobody_has_are_named_where_they_are_first_selected() {
    let odd = SOUND.replace("{tier: [gold]}", "{tier: [glod, lead]}");
    let guard = Guard::from_packs([
        ("b.yaml", odd),
        ("a.yaml", SOUND.replace("pack: payments", "pack: two")),
    ])
    .expect("sound");
    let payments = guard.strange_values(&BTreeMap::from([("business", BTreeSet::from(["games"]))]));
    // Keys of which nothing is known are the matter of another question.
    assert!(
        payments.iter().all(|found| found.what.contains("`business: ")),
        "{payments:?}"
    );
    assert_eq!(
        payments.iter().map(|found| found.file.as_str()).collect::<Vec<_>>(),
        ["a.yaml", "b.yaml"]
    );
    let found = guard.strange_values(&BTreeMap::from([("tier", BTreeSet::from(["gold", "silver"]))]));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].file, "b.yaml");
    assert!(
        found[0].what.contains("`tier: glod`, which no target of the fleet has"),
        "{found:?}"
    );
    assert_eq!(found[0].fix, "did you mean `gold`?");
    assert!(
        found[1].what.contains("`tier: lead`") && !found[1].fix.contains("did you mean"),
        "{found:?}"
    );
    assert!(
        found[0].line == found[1].line && found[0].column < found[1].column,
        "{found:?}"
    );
}

#[test]
fn a_directory_without_packs_or_with_misnamed_ones_is_refused() {
    let root = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("packs");
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root).expect("a directory for the test");
    let put = |name: &str| std::fs::write(root.join(name), SOUND).expect("written");
    let what = |found: PackErrors| found[0].what.clone();
    assert!(what(Guard::load(&root).expect_err("empty")).contains("no rules are not permission"));
    put("README.md");
    put(".hidden");
    assert!(what(Guard::load(&root).expect_err("still empty")).contains("no pack"));
    put("a.yaml");
    Guard::load(&root).expect("one pack");
    put("b.yaml.orig");
    assert!(what(Guard::load(&root).expect_err("misnamed")).contains("neither a pack"));
    assert!(what(Guard::load(root.join("none.yaml")).expect_err("not there")).contains("cannot read"));
}

#[test]
fn what_is_no_document_is_said_in_words_for_who_wrote_it() {
    for (text, line, column, what, fix) in [
        (
            "version: 1\npack: a\npack: b\n",
            3,
            1,
            "`pack` is given a second time in one mapping",
            "keep one of them",
        ),
        (
            "version: 1\n---\nversion: 1\n",
            3,
            1,
            "a second document begins here",
            "into a file of its own",
        ),
        (
            "version: 1\nleast_open: .nan\n",
            2,
            13,
            "`least_open: .nan` is no number",
            "a finite number",
        ),
        (
            "version: 1\nscope: {a: [x, -.inf]}\n",
            2,
            16,
            "`-.inf` is no number",
            "a finite number",
        ),
        (
            "version: 1\npack: *other\n",
            2,
            7,
            "`*` stands for a value that no `&` names",
            "write the value itself",
        ),
        (&"[".repeat(5_000), 1, 256, "recursion limit", "correct the syntax"),
        (
            "version: 1\npack: \"abc\n",
            2,
            7,
            "not a readable YAML document: unclosed quote",
            "correct the syntax",
        ),
    ] {
        let errors = errors(text);
        let error = &errors[0];
        assert_eq!((errors.len(), error.line, error.column), (1, line, column), "{error}");
        assert!(error.what.contains(what), "{error}");
        assert!(error.fix.contains(fix), "{error}");
        for of_the_library in ["Options", "Policy", "policy", "from_str", " at line "] {
            assert!(!error.to_string().contains(of_the_library), "{error}");
        }
    }
}

#[test]
fn a_rule_that_is_asked_only_where_it_is_silent_is_refused() {
    let text = |phase: &str| {
        format!(
            "version: 1\npack: p\nowner: o\nscope: all\nrules:\n- id: r\n  kind: complete\n  phase: {phase}\n  reason: r\n"
        )
    };
    let errors = errors(&text("pre"));
    assert_eq!((errors.len(), errors[0].line, errors[0].column), (1, 8, 10), "{errors}");
    assert!(errors[0].what.contains("could never answer"), "{errors}");
    for phase in ["post", "both"] {
        Guard::from_yaml("p.yaml", text(phase)).expect(phase);
    }
}

#[test]
fn long_files_are_read_and_short_ones_do_not_grow() {
    // Thirty nodes each: more than a parser of configuration takes by itself.
    let windows: String = (0..10_000)
        .map(|n| {
            format!(
                "- {{id: w{n}, kind: protected, weekly: {{days: [mon, tue, wed], from: \"18:00\", for: 2h}}, zone: UTC, \
                 select: {{app: a{n}}}, owner: o, reason: r, rollback: allowed, unknown: hold}}\n"
            )
        })
        .collect();
    let text = format!("version: 1\npack: p\nowner: o\nscope: all\nwindows:\n{windows}");
    Guard::from_yaml("p.yaml", text).expect("ten thousand windows");
    // Aliases of aliases stand for more than a text of their length could.
    let mut text =
        "version: 1\npack: p\nowner: o\nscope: all\ntests: []\nfacts:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
            .to_owned();
    for n in 1..9 {
        let ten = vec![format!("*a{}", n - 1); 10].join(", ");
        text += &format!("  a{n}: &a{n} [{ten}]\n");
    }
    let found = errors(&text);
    assert_eq!(found.len(), 1, "{found}");
}
