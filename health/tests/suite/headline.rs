//! One line for the person who is woken up, and no nonsense in the long text.

use crate::support::{config, interval, row, topology};
use unattended_health::{Counts, Finding, Judge, Row, Topology};

/// Stack HN (or every stack) has this many errors of 1,000 on the canary; the control has 20 of 10,000.
fn errors(index: u64, bad: u64, everywhere: bool, fresh: bool) -> unattended_health::Interval {
    let rows = (0..8)
        .map(|s| {
            let worse = everywhere || (s / 2) % 2 == 0;
            let canary = Counts::new(if worse { bad } else { 2 }, 1_000);
            Row {
                fresh,
                ..row(s, 0, canary, Counts::new(20, 10_000))
            }
        })
        .collect();
    interval(index, rows)
}

fn with_fleet_class() -> Topology {
    let mut topology = topology();
    topology.classes.insert(0, "fleet".to_owned());
    for stratum in &mut topology.strata {
        stratum.classes.iter_mut().for_each(|class| *class += 1);
        stratum.classes.insert(0, 0);
    }
    topology
}

fn judge(topology: Topology) -> Judge {
    Judge::new(config(), topology, &[]).unwrap()
}

#[test]
fn a_stop_names_counts_and_class() {
    let mut judge = judge(with_fleet_class());
    judge.step_traffic();
    let mut t = 0;
    while judge.stopped().is_none() {
        judge.observe(&errors(t, 5, false, false)).unwrap();
        t += 1;
    }
    let line = judge.explain().headline();
    let (canary, control) = ((4 * 5 + 4 * 2) * t, 160 * t);
    assert!(line.starts_with("evidence "), "{line}");
    let counts = format!(
        " of 100 needed: errors on canary {canary} of {},000 requests vs {control} of ",
        8 * t
    );
    assert!(line.contains(&counts), "{line} lacks {counts}");
    assert!(
        line.contains("; strongest in class stack=HN, ratio 2.5 (95 % "),
        "{line}"
    );
    assert!(line.chars().count() <= 220, "{line}");
    let again: unattended_health::Explanation =
        serde_json::from_str(&serde_json::to_string(&judge.explain()).unwrap()).unwrap();
    assert_eq!(again.headline(), line);
}

#[test]
fn a_class_that_is_the_fleet_is_named_only_where_no_other_stands_out() {
    // Everywhere: the class `fleet` carries most, and still it is not what is named among the classes.
    let mut everywhere = judge(with_fleet_class());
    everywhere.step_traffic();
    for t in 0..4 {
        everywhere.observe(&errors(t, 6, true, false)).unwrap();
    }
    let line = everywhere.explain().headline();
    assert!(line.contains("; over the whole fleet, ratio 3 (95 % "), "{line}");
    let text = everywhere.explain().to_string();
    assert!(
        text.contains("strongest: the fleet as a whole, ratio 3 (95 % "),
        "{text}"
    );
    assert!(
        text.contains("; among classes ") && !text.contains("among classes fleet"),
        "{text}"
    );
    // Too thin for any class alone.
    let mut thin = judge(with_fleet_class());
    thin.step_traffic();
    let named = (0..60).find_map(|t| {
        thin.observe(&errors(t, 3, true, false)).unwrap();
        let explanation = thin.explain();
        let named = explanation.findings.iter().find_map(|finding| match finding {
            Finding::Strongest { class, ln_e, .. } => Some((class.clone(), *ln_e)),
            _ => None,
        });
        named.map(|(class, ln_e)| (class, ln_e, explanation.to_string()))
    });
    let (class, ln_e, text) = named.expect("the fleet knows before its classes");
    assert!(class == "fleet" && ln_e >= 3.0_f64.ln(), "{class} {ln_e}");
    assert!(
        text.contains("strongest: the fleet as a whole, ratio ") && !text.contains("among classes"),
        "{text}"
    );
    // Ties, before anything was seen.
    let order: Vec<String> = judge(with_fleet_class())
        .stop_evidence()
        .classes
        .into_iter()
        .map(|class| class.name)
        .collect();
    assert_eq!(order, ["zone=zone-1", "zone=zone-2", "stack=HN", "stack=JV", "fleet"]);
    // A class of that name which is not the fleet is a class like any other.
    let mut partial = with_fleet_class();
    partial.strata[7].classes.remove(0);
    assert_eq!(judge(partial).stop_evidence().classes[0].name, "fleet");
}

#[test]
fn fresh_instances_are_named_where_they_are_the_reason() {
    let mut judge = judge(topology());
    judge.step_traffic();
    let mut t = 0;
    while judge.stopped().is_none() {
        judge.observe(&errors(t, 90, false, true)).unwrap();
        t += 1;
    }
    let (line, text) = (judge.explain().headline(), judge.explain().to_string());
    let counts = format!(
        "errors before warm-up {} of {},000 requests",
        (4 * 90 + 4 * 2) * t,
        8 * t
    );
    assert!(line.contains(&counts), "{line} lacks {counts}");
    assert!(line.ends_with("; strongest in class stack=HN"), "{line}");
    assert!(!line.contains("0 of 0") && !text.contains(" 0 of 0"), "{line}\n{text}");
    assert!(!text.contains("ratio"), "no warm instance, no ratio: {text}");
}

#[test]
fn healthy_warm_instances_do_not_hide_the_fresh_ones() {
    let mut judge = judge(topology());
    judge.step_traffic();
    let mut t = 0;
    while judge.stopped().is_none() {
        let mut next = errors(t, 90, false, true);
        next.rows.extend(errors(t, 2, true, false).rows);
        judge.observe(&next).unwrap();
        t += 1;
    }
    let (line, text) = (judge.explain().headline(), judge.explain().to_string());
    assert!(
        line.contains(" needed: errors before warm-up ") && !line.contains("on canary"),
        "{line}"
    );
    assert!(!line.contains("ratio"), "the ratio is that of warm instances: {line}");
    assert!(
        text.find("errors before warm-up ") < text.find("errors on canary "),
        "{text}"
    );
}

#[test]
fn without_a_sign_of_harm_it_says_so_and_no_more() {
    let mut quiet = judge(topology());
    quiet.step_traffic();
    assert_eq!(
        quiet.explain().headline(),
        "evidence 1 of 100 needed; holds: no interval was observed yet"
    );
    let control_only = (0..8).map(|s| row(s, 0, Counts::new(0, 0), Counts::new(20, 10_000)));
    quiet.observe(&interval(0, control_only.collect())).unwrap();
    assert_eq!(
        quiet.explain().headline(),
        "evidence 1 of 100 needed; nothing was measured on the new version yet"
    );
    let text = quiet.explain().to_string();
    assert!(
        text.contains("errors 160 of 80,000 requests on control, none on canary"),
        "{text}"
    );
    for t in 1..30 {
        quiet.observe(&errors(t, 2, true, false)).unwrap();
    }
    let (line, text) = (quiet.explain().headline(), quiet.explain().to_string());
    assert!(
        line.starts_with("evidence 0.") && line.ends_with("no sign that the new version is worse"),
        "{line}"
    );
    assert!(!text.contains("strongest"), "{text}");
    // One class a little worse, below 3: not named.
    quiet
        .observe(&interval(
            30,
            vec![row(0, 0, Counts::new(4, 1_000), Counts::new(20, 10_000))],
        ))
        .unwrap();
    assert!(!quiet.explain().to_string().contains("strongest"));
}

#[test]
fn overwhelming_numbers_are_not_spelt_out() {
    let mut judge = judge(topology());
    judge.step_traffic();
    for t in 0..20 {
        judge.observe(&errors(t, 200, false, false)).unwrap();
    }
    let text = judge.explain().to_string();
    assert!(text.contains("evidence >1e6 of 100 needed"), "{text}");
    assert!(
        judge
            .explain()
            .headline()
            .starts_with("evidence >1e6 of 100 needed: errors on canary ")
    );
    let mut safe = self::judge(topology());
    safe.step_traffic();
    for t in 0..200 {
        let rows = (0..8)
            .flat_map(|s| [0, 1].map(|m| row(s, m, Counts::new(0, 50_000), Counts::new(20, 50_000))))
            .collect();
        safe.observe(&interval(t, rows)).unwrap();
    }
    let text = safe.explain().to_string();
    assert!(text.contains("evidence of safety >1e6 of 20 needed"), "{text}");
}

#[test]
fn long_names_leave_the_numbers() {
    let mut topology = topology();
    topology.classes[2] = "stack=".to_owned() + &"ü".repeat(300);
    let mut judge = judge(topology);
    judge.step_traffic();
    for t in 0..6 {
        judge.observe(&errors(t, 20, false, false)).unwrap();
    }
    let line = judge.explain().headline();
    assert!(
        line.contains("errors on canary ") && line.chars().count() <= 220,
        "{line}"
    );
    assert!(!line.contains('ü'));
}
