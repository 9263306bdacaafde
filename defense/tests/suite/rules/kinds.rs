//! Each built-in kind of rule: what it lets pass, what it holds, and what it says.

use super::*;

#[test]
fn approvals_count_people_of_enough_authority_and_never_the_author() {
    let change = "change: {id: c, artefact: a, author: {id: li, kind: person}}";
    let asked = |approvals: &str| format!("{change}\nfacts: {{approvals: {{at: {NOW}, value: [{approvals}]}}}}\n");
    let yes =
        |id: &str, more: &str| format!("{{by: {{id: {id}, kind: person}}, level: 2, at: {NOW}, artefact: a{more}}}");
    let rule = "kind: approvals, level: 2, count: 2, valid: 1h";
    let both = asked(&format!("{}, {}", yes("wu", ""), yes("an", "")));
    check(rule, &[(&both, &[], Verdict::Allow)]);
    let missing: &[&str] = &["approval.missing"];
    for (second, why) in [
        (yes("li", ""), "the author"),
        (yes("Li", ""), "the author in another spelling"),
        (yes("\"li \"", ""), "the author and a space"),
        (yes("wu", ""), "the same person twice"),
        (yes("\" WU\"", ""), "the same person in two spellings"),
        (yes("an", "").replace("level: 2", "level: 1"), "too little authority"),
        (yes("an", "").replace("kind: person", "kind: program"), "a program"),
        (yes("an", "").replace("artefact: a", "artefact: b"), "another artefact"),
        (yes("an", "").replace(", artefact: a", ""), "no artefact"),
        (
            yes("an", "").replace(&NOW.to_string(), &(NOW - 2 * HOUR).to_string()),
            "expired",
        ),
        (
            yes("an", "").replace(&NOW.to_string(), &(NOW + HOUR).to_string()),
            "in the future",
        ),
    ] {
        let request = asked(&format!("{}, {second}", yes("wu", "")));
        assert_eq!(
            codes(rule, &request),
            (vec![missing[0].to_owned()], Verdict::NeedsPerson),
            "{why}"
        );
    }
    // A program is one, whoever it says it is when it agrees.
    let asking = format!("actor: {{id: an, kind: program}}\n{both}");
    let twice = asked(&format!(
        "{0}, {1}, {2}",
        yes("wu", ""),
        yes("an", ""),
        yes("an", "").replace("kind: person", "kind: program")
    ));
    let shouted = asking.replacen("id: an", "id: AN", 1);
    for request in [&asking, &shouted, &twice] {
        check(rule, &[(request, missing, Verdict::NeedsPerson)]);
    }
    let person = asking.replacen("kind: program", "kind: person", 1);
    check(rule, &[(&person, &[], Verdict::Allow)]);
    // Who has no name is nobody. Files cannot say so, programs can.
    let nobody = |change: fn(&mut Request)| {
        let mut request = Request::from_text("r.yaml", &both).expect("sound");
        change(&mut request);
        guard(rule).decide(&request, NOW).findings[0].code.to_string()
    };
    let agreed = nobody(|request| {
        let approvals = request.facts.approvals.as_mut().expect("there are two");
        approvals.value[1].by.id.clear();
    });
    let wrote = nobody(|request| request.change.author.as_mut().expect("it is li").id.clear());
    assert_eq!((agreed.as_str(), wrote.as_str()), ("approval.missing", "fact.missing"));
    // Who writes as a program and agrees as a person is one.
    let alone = asked(&format!("{}, {}", yes("wu", ""), yes("li", "")));
    let by_program = alone.replacen("kind: person", "kind: program", 1);
    assert_ne!(alone, by_program);
    assert_eq!(codes(rule, &by_program).0, missing, "{by_program}");
    check(
        rule,
        &[
            (&asked(""), missing, Verdict::NeedsPerson),
            // Whoever does not say who made it cannot show that nobody approved their own work.
            (
                &both.replace(", author: {id: li, kind: person}", ""),
                &["fact.missing"],
                Verdict::NeedsPerson,
            ),
            (change, &["fact.missing"], Verdict::NeedsPerson),
        ],
    );
    let stale = both.replace(
        &format!("approvals: {{at: {NOW}"),
        &format!("approvals: {{at: {}", NOW - 2 * HOUR),
    );
    check(rule, &[(&stale, &["fact.stale"], Verdict::NeedsPerson)]);
}

#[test]
fn unknown_becomes_what_the_tier_says() {
    let rule = "kind: incidents, unknown: {gold: deny, silver: hold}";
    let of = |scope: &str| codes(rule, &format!("change: {{id: c}}\nscope: {{{scope}}}\n")).1;
    assert_eq!(of("tier: gold"), Verdict::Deny);
    assert_eq!(of("tier: silver"), HOLD);
    assert_eq!(of("tier: bronze"), Verdict::NeedsPerson);
    assert_eq!(of("tier: [silver, gold]"), Verdict::Deny);
    // A tier nobody named may be any.
    assert_eq!(of("app: a"), Verdict::Deny);
    let finding = &ask(rule, "change: {id: c}\nscope: {tier: gold}\n").findings[0];
    assert_eq!(finding.unknown, Some(UnknownReason::MissingFact));
}

#[test]
fn an_open_incident_holds_what_it_concerns() {
    let rule = "kind: incidents, severity: 2, rollback: allowed";
    let asked = |change: &str, at: i64| {
        format!(
            "change: {{id: c{change}}}\nscope: {{app: pay}}\nfacts: {{incidents: {{at: {at}, value: [\
             {{id: I1, scope: {{app: pay}}, severity: 2}}, {{id: I2, scope: {{app: pay}}, severity: 3}}, \
             {{id: I3, scope: {{app: ledger}}, severity: 1}}]}}}}\n"
        )
    };
    check(
        rule,
        &[
            (&asked("", NOW), &["incident.open"], HOLD),
            (&asked(", direction: rollback", NOW), &[], Verdict::Allow),
            (&asked(", emergency: true", NOW), &["incident.open"], HOLD),
            (&asked("", NOW - 6 * MINUTE), &["fact.stale"], Verdict::NeedsPerson),
            (&asked("", NOW + 2 * MINUTE), &["fact.future"], Verdict::NeedsPerson),
            (
                "change: {id: c}\nscope: {app: pay}\n",
                &["fact.missing"],
                Verdict::NeedsPerson,
            ),
        ],
    );
    let held = ask(rule, &asked("", NOW));
    assert_eq!(
        (
            held.findings[0].evidence[0].seen.as_str(),
            held.findings[0].evidence[0].at_ms
        ),
        ("I1", NOW)
    );
}

#[test]
fn versions() {
    let digest = format!("m@sha256:{}", "0a".repeat(32));
    let asked = |from: &str, to: &str, more: &str| {
        format!("change: {{id: c, artefact: \"{digest}\", versions: {{from: {from}, to: {to}}}{more}}}\n")
    };
    let plain = "kind: versions";
    let ranges = "kind: versions, allow: [1.9.*, \">=2, <3\"], deny: [1.9.7]";
    check(
        plain,
        &[
            (&asked("1.9.1", "1.10.0", ""), &[], Verdict::Allow),
            (&asked("1.10.0", "1.9.9", ""), &["version.downgrade"], Verdict::Deny),
            (&asked("1.10.0", "1.9.9", ", direction: rollback"), &[], Verdict::Allow),
            (&asked("main", "1.9.9", ""), &["fact.unreadable"], Verdict::NeedsPerson),
            (
                "change: {id: c}",
                &["fact.missing", "fact.missing"],
                Verdict::NeedsPerson,
            ),
        ],
    );
    for tag in [
        "m:1.9.2",
        "m",
        "m@sha256:0a",
        &format!("{digest}0"),
        "m@md5:00",
        &digest.to_uppercase(),
    ] {
        let request = asked("1.9.1", "1.10.0", "").replace(&digest, tag);
        assert_eq!(codes(plain, &request).0, ["version.mutable"], "{tag}");
        assert_eq!(
            codes("kind: versions, mutable_tags: allowed", &request).0,
            Vec::<String>::new()
        );
    }
    check(
        ranges,
        &[
            (&asked("1.9.1", "1.9.8", ""), &[], Verdict::Allow),
            (&asked("1.9.1", "2.5.0", ""), &[], Verdict::Allow),
            (&asked("1.9.1", "1.9.7", ""), &["version.denied"], Verdict::Deny),
            (&asked("1.9.1", "3.0.0", ""), &["version.not_allowed"], Verdict::Deny),
        ],
    );
    // On the way back nobody compares with what ran, and the spelling must not matter either.
    for spelling in ["V1.9.7", "\"1.9.7 \"", "\" v1.9.7\""] {
        let back = asked("1.9.8", spelling, ", direction: rollback");
        assert_eq!(
            codes("kind: versions, deny: [1.9.7]", &back).0,
            ["version.denied"],
            "{spelling}"
        );
    }
    let beside = |version: &str, more: &str| {
        format!(
            "{}facts: {{neighbours: {{at: {NOW}, value: [{{app: ledger, version: {version}{more}}}]}}}}\n",
            asked("1.9.1", "1.10.0", ", protocol: {reads: [v1, v2], writes: [v2]}")
        )
    };
    let skew = "kind: versions, skew: 1";
    check(
        skew,
        &[
            (&beside("1.9.0", ""), &[], Verdict::Allow),
            (&beside("1.8.9", ""), &["version.skew"], HOLD),
            (&beside("0.10.0", ""), &["version.skew"], HOLD),
            (&beside("main", ""), &["fact.unreadable"], Verdict::NeedsPerson),
            (&asked("1.9.1", "1.10.0", ""), &["fact.missing"], Verdict::NeedsPerson),
        ],
    );
    let talk = "kind: versions, compatible: true";
    check(
        talk,
        &[
            (
                &beside("1.9.0", ", protocol: {reads: [v1, v2], writes: [v1]}"),
                &[],
                Verdict::Allow,
            ),
            // It cannot read the new format yet: the first phase has not reached it.
            (
                &beside("1.9.0", ", protocol: {reads: [v1], writes: [v1]}"),
                &["version.protocol"],
                HOLD,
            ),
            (
                &beside("1.9.0", ", protocol: {reads: [v2], writes: [v0]}"),
                &["version.protocol"],
                HOLD,
            ),
            (&beside("1.9.0", ""), &["fact.missing"], Verdict::NeedsPerson),
        ],
    );
}

#[test]
fn soak_asks_earlier_stages_for_time_and_coverage() {
    let rule = "kind: soak, at_least: 24h, coverage: 95, covers: [zone]";
    let asked = |stages: &str| {
        format!(
            "change: {{id: c, started: 1}}\nscope: {{zone: [a, b]}}\nfacts: {{stages: {{at: {NOW}, value: [{stages}]}}}}\n"
        )
    };
    let day = NOW - 24 * HOUR;
    let stage = |done: u64, since: i64| {
        format!("{{name: s, targets: 100, done: {done}, since: {since}, covers: {{zone: [a, b]}}}}")
    };
    let young = asked(&stage(95, day + 1));
    check(
        rule,
        &[
            (&asked(&stage(95, day)), &[], Verdict::Allow),
            (&young, &["soak.short"], Verdict::Hold { until: Some(NOW + 1) }),
            (&asked(&stage(94, day)), &["soak.coverage"], HOLD),
            // A rollback is not kept waiting.
            (
                &young.replace("id: c,", "id: c, direction: rollback,"),
                &[],
                Verdict::Allow,
            ),
            (&asked(&stage(101, day)), &["fact.unreadable"], Verdict::NeedsPerson),
            (&asked(&stage(95, NOW + 1)), &["fact.future"], Verdict::NeedsPerson),
            (
                &asked(&stage(95, day).replace("zone: [a, b]", "zone: a")),
                &["soak.class"],
                HOLD,
            ),
            (
                &asked("{name: s, targets: 1, done: 1, covers: {zone: [a, b]}}"),
                &["fact.missing"],
                Verdict::NeedsPerson,
            ),
            (&asked(""), &["fact.none"], Verdict::NeedsPerson),
            // The first stage of a change that has not started has none before it.
            (&asked("").replace(", started: 1", ""), &[], Verdict::Allow),
            (
                &(asked("").replace(", started: 1", "") + "counts: {in_flight: 1}\n"),
                &["fact.none"],
                Verdict::NeedsPerson,
            ),
            ("change: {id: c}", &["fact.missing"], Verdict::NeedsPerson),
        ],
    );
    assert_eq!(ask(rule, &young).next_feasible, Some(NOW + 1));
}

#[test]
fn changes_meet_along_calls_and_configuration_further() {
    let rule = "kind: conflict, hops: 1, mixed_hops: 2";
    let asked = |kind: &str, other: &str| {
        format!(
            "change: {{id: c, kind: {kind}}}\nscope: {{app: a}}\n\
             facts: {{calls: {{at: {NOW}, value: [{{from: a, to: b}}, {{from: d, to: b}}, {{from: d, to: e}}]}}}}\n\
             others: [{{change_id: x, started: 1, {other}}}]\n"
        )
    };
    check(
        rule,
        &[
            (&asked("binary", "scope: {app: b}"), &["conflict.near"], HOLD),
            (&asked("binary", "scope: {app: d}"), &[], Verdict::Allow),
            (&asked("config", "scope: {app: d}"), &["conflict.mixed"], HOLD),
            (
                &asked("binary", "kind: config, scope: {app: d}"),
                &["conflict.mixed"],
                HOLD,
            ),
            (&asked("config", "scope: {app: e}"), &[], Verdict::Allow),
            (&asked("binary", "scope: {app: a}"), &["conflict.scope"], HOLD),
            // It is the forward change that waits for the rollback, not the other way round.
            (
                &asked("binary, direction: rollback", "scope: {app: b}"),
                &[],
                Verdict::Allow,
            ),
            (
                &asked("binary", "scope: {app: b}, direction: rollback"),
                &["conflict.near"],
                HOLD,
            ),
            // An emergency goes before an older change.
            (
                &asked("binary, emergency: true", "scope: {app: b}"),
                &[],
                Verdict::Allow,
            ),
            (
                "change: {id: c}\nscope: {app: a}\n",
                &["fact.missing"],
                Verdict::NeedsPerson,
            ),
            (
                "change: {id: c}\nscope: {app: a}\nothers: [{change_id: x, started: 1, scope: {app: b}}]\n",
                &["fact.missing"],
                Verdict::NeedsPerson,
            ),
            ("change: {id: c}\nscope: {app: a}\nothers: []\n", &[], Verdict::Allow),
        ],
    );
    // As far as calls reach, through circles and calls of oneself, at no cost for long ways.
    let last = 20_000;
    let chain: Vec<String> = (0..last).map(|n| format!("{{from: a{n}, to: a{}}}", n + 1)).collect();
    let far = |hops: u32| {
        let request = format!(
            "change: {{id: c}}\nscope: {{app: a0}}\nothers: [{{change_id: x, started: 1, scope: {{app: a{last}}}}}]\n\
             facts: {{calls: {{at: {NOW}, value: [{{from: a0, to: a0}}, {{from: a9, to: a3}}, {}]}}}}\n",
            chain.join(", ")
        );
        ask(&format!("kind: conflict, hops: {hops}"), &request)
    };
    let hops = last - 5;
    assert_eq!(far(hops - 1).verdict, Verdict::Allow);
    let found = far(hops);
    assert_eq!(found.codes(), ["verdict.hold", "conflict.near"]);
    let params = &found.findings[0].params;
    assert_eq!(params["hops"], hops.to_string());
    assert!(
        params["path"].starts_with("a0 - a1 - a2 - a3 - a9 - a10 - "),
        "{}",
        &params["path"][..80]
    );
    assert!(params["path"].ends_with(&format!(" - a{last}")));
    // Nearby it is no other than on the spot.
    let near = "kind: freeze, scope: {app: b}";
    check(
        rule,
        &[
            (&asked("binary, started: 0", near), &["conflict.near"], HOLD),
            (
                &asked("binary, direction: rollback", near),
                &["conflict.near"],
                Verdict::NeedsPerson,
            ),
            (
                &asked("config, direction: rollback", near),
                &["conflict.mixed"],
                Verdict::NeedsPerson,
            ),
        ],
    );
    // Two changes without a name are not one.
    let other = Other::new("", app("a"), 1);
    let request = Request::pre("").scope(app("a")).others(&[other]);
    assert_eq!(
        guard(rule).decide(&request, NOW).codes(),
        ["verdict.hold", "conflict.scope", "fact.missing"]
    );
    // A stop holds forward changes whenever they started, and asks a person about the way back.
    let stop = "kind: freeze, scope: {app: a}";
    check(
        rule,
        &[
            (&asked("binary, started: 0", stop), &["conflict.freeze"], HOLD),
            (
                &asked("binary, direction: rollback", stop),
                &["conflict.freeze"],
                Verdict::NeedsPerson,
            ),
            // Also one that was given the name of the change it stops; the other entries of that name are the change's own.
            (
                &asked("binary", stop).replace("change_id: x", "change_id: c"),
                &["conflict.freeze"],
                HOLD,
            ),
            (
                &asked("freeze", stop).replace("change_id: x", "change_id: c"),
                &[],
                Verdict::Allow,
            ),
        ],
    );
}

#[test]
fn age_and_deadline() {
    let rule = "kind: age, max: 14d";
    let asked = |more: &str| format!("change: {{id: c{more}}}\n");
    let old = NOW - 14 * 24 * HOUR;
    check(
        rule,
        &[
            (&asked(&format!(", made: {old}")), &[], Verdict::Allow),
            (
                &asked(&format!(", made: {}", old - 1)),
                &["age.exceeded"],
                Verdict::NeedsPerson,
            ),
            (
                &asked(&format!(", made: {NOW}, deadline: {}", NOW - 1)),
                &["age.deadline"],
                Verdict::NeedsPerson,
            ),
            (
                &asked(&format!(", made: {}", NOW + HOUR)),
                &["fact.future"],
                Verdict::NeedsPerson,
            ),
            (&asked(""), &["fact.missing"], Verdict::NeedsPerson),
        ],
    );
    check(
        "kind: age, max: 1d, since: started, over: deny",
        &[
            (&asked(""), &[], Verdict::Allow),
            (&asked(", started: 1"), &["age.exceeded"], Verdict::Deny),
        ],
    );
    // What goes back is not kept where it is: neither for its age, nor for its deadline, nor for want of either.
    for back in [
        ", direction: rollback".to_owned(),
        format!(", direction: rollback, made: {}", old - 1),
        format!(", direction: rollback, made: {NOW}, deadline: 1, started: 1"),
        format!(", direction: rollback, made: {}", NOW + HOUR),
    ] {
        for rule in [rule, "kind: age, max: 1d, since: started, over: deny"] {
            check(rule, &[(&asked(&back), &[], Verdict::Allow)]);
        }
    }
}

#[test]
fn after_a_step_every_target_really_runs_what_it_should() {
    let rule = "kind: complete, share: 99";
    let asked = |reality: &str| {
        format!(
            "phase: post\nchange: {{id: c, versions: {{from: \"1\", to: \"2\"}}}}\n\
             facts: {{reality: {{at: {NOW}, value: {{expected: 100, {reality}}}}}}}\n"
        )
    };
    let good = "{count: 99, version: \"2\", declared: \"2\", ready: true}";
    let all = asked(&format!("running: [{good}]"));
    let with = |group: &str| asked(&format!("running: [{}, {group}]", good.replace("99", "98")));
    let missing: &[&str] = &["complete.missing"];
    check(
        rule,
        &[
            (&all, &[], Verdict::Allow),
            (
                &with("{count: 2, version: \"2\", declared: \"2\", ready: false}"),
                missing,
                HOLD,
            ),
            // Metadata is no proof, neither for nor against.
            (&with("{count: 2, declared: \"2\", ready: true}"), missing, HOLD),
            (
                &with("{count: 2, version: \"1\", declared: \"2\", ready: true}"),
                &["complete.missing", "complete.mismatch"],
                HOLD,
            ),
            // More of them than should: a batch that ran away, or a count of another time.
            (
                &all.replace("count: 99", "count: 101"),
                &["fact.unreadable"],
                Verdict::NeedsPerson,
            ),
            (&all.replace("count: 99", "count: 100"), &[], Verdict::Allow),
            (
                &with("{count: 9, version: \"2\", ready: false}"),
                &["complete.missing", "fact.unreadable"],
                HOLD,
            ),
            (&asked("running: []"), &["fact.none"], Verdict::NeedsPerson),
            (
                &all.replace("expected: 100", "expected: 0"),
                &["fact.none"],
                Verdict::NeedsPerson,
            ),
            (
                &all.replace(", versions: {from: \"1\", to: \"2\"}", ""),
                &["fact.missing"],
                Verdict::NeedsPerson,
            ),
            // Nothing has been done yet: there is nothing to look at.
            (
                &all.replace("phase: post", "phase: pre").replace("99", "0"),
                &[],
                Verdict::Allow,
            ),
        ],
    );
    let sentence = ask(rule, &with("{count: 2, version: \"2\", ready: false, sample: [pod-7]}")).why();
    assert!(
        sentence.contains("98 of 100 targets run 2 and serve, 2 do not serve"),
        "{sentence}"
    );
    assert!(sentence.contains("pod-7"), "{sentence}");
}
