//! Tables in, answers out: reference values, bad input, and what must never happen.

use clap::Parser;
use unattended_examples_support::Failure;

use crate::answer::{Answer, answer};
use crate::options::Options;
use crate::trial::Trial;
use crate::{baseline, first, fuzzed, power, table};

const HEADER: &str = "interval,batch,stratum,metric,class,canary_bad,canary_total,control_bad,control_total";
const HOSTS: &str = "interval,batch,stratum,metric,class,host,arm,bad,total,distinct,age_s";
const REFERENCE: &str = include_str!("data/reference.csv");

fn options(arguments: &[&str]) -> Options {
    Options::parse_from(["judge"].iter().chain(arguments))
}

fn judged(arguments: &[&str], rows: &str) -> Result<Answer, Failure> {
    let options = options(arguments);
    let mut table = table::read(rows.as_bytes(), options.per_host)?;
    let failures = first::add(&options, &mut table)?;
    Ok(answer(&Trial::hold(&options, &table, failures)?))
}

/// Intervals from 1, of one stratum and metric.
fn paired(rows: &[(u64, [u64; 4])]) -> String {
    let mut text = HEADER.to_owned();
    for (index, (batch, [x, n, y, m])) in (1..).zip(rows) {
        text += &format!("\n{index},{batch},all,errors,own,{x},{n},{y},{m}");
    }
    text
}

#[test]
fn reference_values_to_the_printed_digit() {
    let mut cases = 0;
    for line in REFERENCE.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let rows: Vec<(u64, [u64; 4])> = cells[3]
            .split(' ')
            .map(|row| {
                let numbers: Vec<u64> = row.split([':', '/']).map(|number| number.parse().unwrap()).collect();
                (numbers[0], [numbers[1], numbers[2], numbers[3], numbers[4]])
            })
            .collect();
        let mut arguments = vec!["--phi", cells[1]];
        if !cells[2].is_empty() {
            arguments.extend(["--theta", cells[2]]);
        }
        let answer = judged(&arguments, &paired(&rows)).unwrap();
        if let Ok(m) = cells[4].parse::<f64>() {
            let found = 2.0 * answer.ln_m.exp() - 1.0;
            assert!(
                (found - m).abs() < 1.1e-6 + 1e-9 * m,
                "{}: M is {found}, not {m}",
                cells[0]
            );
        }
        for (found, expected) in [(answer.ln_m, cells[5]), (answer.ln_s, cells[6])] {
            if let Ok(expected) = expected.parse::<f64>() {
                assert!((found - expected).abs() < 1e-6, "{}: {found}, not {expected}", cells[0]);
            }
        }
        // One metric has the whole weight, and one stratum is fleet, class and application at once.
        assert!((answer.ln_e - answer.ln_m).abs() < 1e-9, "{}: {answer:?}", cells[0]);
        let phi: f64 = cells[1].parse().unwrap();
        assert!((answer.phi - phi).abs() < 1e-12 && (answer.metrics[0].phi - phi).abs() < 1e-12);
        cases += 1;
    }
    assert_eq!(cases, 13);
}

#[test]
fn power_has_the_published_numbers() {
    let options = options(&["--power", "x"]);
    let answer = power::answer(&options, "p0=1e-3,r=2,rho=0.05").unwrap();
    let object = serde_json::to_value(&answer).unwrap();
    for (key, expected) in [
        ("K", 0.017_224),
        ("sigma", 0.203_469),
        ("L", 6.396_930),
        ("L_over_K", 371.399_457),
        ("D", 799.455_841),
        ("N", 761_386.515_603),
        ("n_c", 38_069.325_780),
    ] {
        let found = object[key].as_f64().unwrap();
        assert!((found - expected).abs() < 6e-7, "{key} is {found}, not {expected}");
    }
    // 200 hosts with 50 requests a second each, and ten minutes.
    let fleet = power::answer(&options, "p0=1e-3,r=2,rho=0.01,hosts=200,rps=50,within=600").unwrap();
    let object = serde_json::to_value(&fleet).unwrap();
    assert!((object["D"].as_f64().unwrap() - 3_684.043_806).abs() < 1e-5, "{object}");
    assert!(object["canary"]["hosts"].as_u64().unwrap() >= 2, "{object}");
    for (asked, says) in [
        ("p0=1e-3,r=2", "`rho` is missing"),
        ("p0=1e-3,r=2,rho=0.05,powr=0.9", "did you mean `power`?"),
        ("p0=1e-3,r=1,rho=0.05", "ratio is 1"),
        ("p0=nan,r=2,rho=0.05", "not a finite number"),
        ("p0=1e-3,p0=1e-3,r=2,rho=0.05", "given twice"),
        ("p0", "has no `=`"),
        ("p0=1e-3,r=2,rho=0.05,hosts=10", "belong together"),
    ] {
        let failure = power::answer(&options, asked).unwrap_err();
        assert!(
            matches!(&failure, Failure::Input(text) if text.contains(says)),
            "{asked}: {failure:?}"
        );
    }
}

#[test]
fn a_rollback_stays_and_the_rest_goes_by_evidence() {
    let bad = vec![(1, [20, 5_000, 10, 45_000]); 4];
    let good = vec![(1, [5, 5_000, 45, 45_000]); 60];
    assert_eq!(judged(&["--phi", "1"], &paired(&bad)).unwrap().verdict, "Rollback");
    let both = [bad, good.clone(), good.clone(), good.clone()].concat();
    let after = judged(&["--phi", "1"], &paired(&both)).unwrap();
    assert_eq!(after.verdict, "Rollback");
    assert!(
        after.ln_e < 4.6,
        "the evidence has fallen below the limit again: {after:?}"
    );
    assert!(after.score <= 50.0);
    let promoted = judged(&["--phi", "1", "--theta", "2e-3"], &paired(&good)).unwrap();
    assert_eq!((promoted.verdict, promoted.needed_requests), ("Promote", Some(0)));
    assert!(promoted.score > 90.0);
    let early = judged(&["--phi", "1", "--theta", "2e-3"], &paired(&good[..1])).unwrap();
    assert_eq!(early.verdict, "Continue");
    let needed = early.needed_requests.unwrap();
    assert!((1_000..50_000).contains(&needed), "{needed}");
    // A new batch asks for new evidence.
    let next = [good, vec![(2, [5, 5_000, 45, 45_000])]].concat();
    assert_eq!(
        judged(&["--phi", "1", "--theta", "2e-3"], &paired(&next))
            .unwrap()
            .verdict,
        "Continue"
    );
}

#[test]
fn no_canary_traffic_is_no_verdict() {
    for rows in [
        vec![(1, [0, 0, 0, 0]); 3],
        vec![(1, [0, 0, 500, 1_000]); 400],
        [vec![(1, [1, 1_000, 9, 9_000]); 2], vec![(1, [0, 0, 0, 9_000_000]); 50]].concat(),
        [
            vec![(1, [1, 1_000, 9, 9_000]); 2],
            vec![(2, [0, 0, 9_000, 9_000_000]); 50],
        ]
        .concat(),
    ] {
        let answer = judged(&[], &paired(&rows)).unwrap();
        assert_eq!(answer.verdict, "Hold", "{answer:?}");
        assert!(!answer.reason.is_empty());
    }
    // Nothing comes from the canary, though the balancer sent much.
    let mut text = format!("{HEADER},canary_expected");
    for index in 1..40 {
        text += &format!("\n{index},1,all,errors,own,0,0,10,90000,10000");
    }
    assert_eq!(judged(&[], &text).unwrap().verdict, "Hold");
}

#[test]
fn what_is_missing_counts_against_both_conclusions() {
    let with = |expected: &str| {
        let mut text = format!("{HEADER},canary_expected");
        for index in 1..=30 {
            text += &format!("\n{index},1,all,errors,own,5,5000,45,45000,{expected}");
        }
        judged(&["--phi", "1", "--theta", "2e-3"], &text).unwrap()
    };
    let (all, some) = (with("5000"), with("5200"));
    assert!(some.ln_s < all.ln_s - 1.0, "{} {}", some.ln_s, all.ln_s);
    assert!(some.ln_m <= all.ln_m, "{} {}", some.ln_m, all.ln_m);
    assert_eq!((all.verdict, some.verdict), ("Promote", "Hold"));
    assert_eq!(with("").verdict, "Promote");
}

#[test]
fn huge_counts_keep_their_precision() {
    let large = 1_u64 << 63;
    let answer = judged(&["--phi", "1"], &paired(&[(1, [large / 2, large, large / 2, large])])).unwrap();
    assert!(answer.ln_m.is_finite() && answer.ln_s.is_finite(), "{answer:?}");
    for (bad, verdict) in [(large / 2, "Rollback"), (large / 4, "Promote")] {
        let answer = judged(&["--phi", "50"], &paired(&[(1, [bad, large, large / 4, large])])).unwrap();
        assert_eq!(answer.verdict, verdict, "{answer:?}");
    }
    // M of counts that floats do not hold: 2^60 + 1 of 2^63 is not 2^60.
    let rate = |bad| {
        table::read(paired(&[(1, [bad, large, 0, 1])]).as_bytes(), false)
            .unwrap()
            .spans[0]
            .entries[&(0, 0)]
            .canary
            .bad
    };
    assert_eq!(rate((1 << 60) + 1) - rate(1 << 60), 1);
    for text in ["9223372036854775809", "18446744073709551616", "99999999999999999999999"] {
        let rows = format!("{HEADER}\n1,1,a,e,own,0,{text},0,1");
        let failure = judged(&[], &rows).unwrap_err();
        assert!(
            matches!(&failure, Failure::Input(text) if text.contains("above 2^63")),
            "{failure:?}"
        );
    }
}

#[test]
fn order_within_an_interval_changes_nothing() {
    let lines: Vec<String> = (0..6_u64)
        .map(|at| {
            format!(
                "{},1,z{},m{},own,{},1000,{},9000",
                1 + at / 4,
                at % 2,
                at / 2 % 2,
                at,
                20 - at
            )
        })
        .collect();
    let text = |order: [usize; 6]| {
        order
            .iter()
            .fold(HEADER.to_owned(), |text, at| text + "\n" + &lines[*at])
    };
    let first = judged(&[], &text([0, 1, 2, 3, 4, 5])).unwrap();
    let other = judged(&[], &text([3, 1, 0, 2, 5, 4])).unwrap();
    assert!((first.ln_e - other.ln_e).abs() < 1e-12 && (first.ln_s - other.ln_s).abs() < 1e-12);
}

#[test]
fn weights_share_the_statistic_and_name_every_metric() {
    let mut text = HEADER.to_owned();
    for (index, x) in (1..=3).zip([2, 3, 4]) {
        text += &format!("\n{index},1,all,errors,own,{x},5000,12,45000\n{index},1,all,slow,own,9,5000,90,45000");
    }
    let ln_e = |weights: &str| judged(&["--phi", "1", "--weights", weights], &text).unwrap().ln_e;
    let answer = judged(&["--phi", "1"], &text).unwrap();
    let m: Vec<f64> = answer.metrics.iter().map(|metric| metric.ln_m.exp()).collect();
    for (weights, share) in [("errors=1,slow=1", 0.5), ("errors=0.3,slow=0.1", 0.75)] {
        let expected = (share * m[0] + (1.0 - share) * m[1]).ln();
        assert!((ln_e(weights) - expected).abs() < 1e-9, "{weights}");
    }
    let largest = answer
        .metrics
        .iter()
        .map(|metric| metric.ln_m)
        .fold(f64::NEG_INFINITY, f64::max);
    assert!((answer.ln_m - largest).abs() < 1e-12);
    for (weights, says) in [
        ("errors=1", "`slow` has none"),
        ("errors=1,slwo=1", "did you mean `slow`?"),
        ("errors=1,errors=2,slow=1", "given twice"),
    ] {
        let failure = judged(&["--weights", weights], &text).unwrap_err();
        assert!(
            matches!(&failure, Failure::Input(text) if text.contains(says)),
            "{weights}: {failure:?}"
        );
    }
}

#[test]
fn a_client_counts_once_and_a_bad_node_is_no_bad_release() {
    // Each host's clients fail alike, but one canary host has all the trouble of a bad disk.
    let mut text = HOSTS.to_owned();
    for index in 1..=40 {
        for host in 0..40_u64 {
            let arm = if host < 8 { "canary" } else { "control" };
            let bad = if host == 3 {
                30
            } else {
                u64::from((host * 7 + index) % 10 == 0)
            };
            text += &format!("\n{index},1,all,errors,own,h{host},{arm},{bad},500,{bad},9000");
        }
    }
    let answer = judged(&["--per-host"], &text).unwrap();
    assert_ne!(answer.verdict, "Rollback", "{answer:?}");
    // The same trouble on every canary host is the release's.
    let everywhere = text
        .replace("canary,0,500,0", "canary,4,500,4")
        .replace("canary,1,500,1", "canary,4,500,4");
    assert_eq!(judged(&["--per-host"], &everywhere).unwrap().verdict, "Rollback");
    // One client that fails thirty times is one event.
    let storm = text.replace("30,500,30", "30,500,1");
    assert_ne!(judged(&["--per-host"], &storm).unwrap().verdict, "Rollback");
}

#[test]
fn hosts_that_fail_first_are_counted_once_each() {
    // Twelve of 40 canary hosts break for good, one after the other, and return fifty errors in each interval from then on;
    // of 400 control hosts three do.
    let mut text = HOSTS.replace(",age_s", "");
    for index in 1..=30_u64 {
        for host in 0..440_u64 {
            let arm = if host < 40 { "canary" } else { "control" };
            let breaks = if host < 12 {
                host * 2 + 2
            } else if (40..43).contains(&host) {
                host - 30
            } else {
                99
            };
            let bad = if index >= breaks { 50 } else { 0 };
            text += &format!("\n{index},1,all,errors,own,h{host},{arm},{bad},100,{}", bad.min(1));
        }
    }
    let arguments = ["--per-host", "--phi", "1", "--first-failure", "errors=0.1"];
    // With a client each a host has one episode an interval: below three, so none has failed.
    let (once, many) = (text.clone(), text.replace("50,100,1", "50,100,50"));
    let by_hosts = |text: &str| {
        let answer = judged(&arguments, text).unwrap();
        let metric = answer
            .metrics
            .iter()
            .find(|metric| metric.name == "errors:hosts")
            .unwrap();
        (metric.ln_m, answer)
    };
    assert!(by_hosts(&once).0.abs() < 1e-12);
    // Twelve failures where fifteen times a tenth are expected.
    let (ln_m, answer) = by_hosts(&many);
    assert!(ln_m > 9.0 && ln_m < 25.0, "{ln_m}");
    assert_eq!((answer.verdict, answer.metrics.len()), ("Rollback", 2));
    for (asked, says) in [
        ("erors=0.1", "did you mean `errors`?"),
        ("errors=0.1,errors=0.2", "there already"),
    ] {
        let failure = judged(&["--per-host", "--first-failure", asked], &many).unwrap_err();
        assert!(
            matches!(&failure, Failure::Input(text) if text.contains(says)),
            "{failure:?}"
        );
    }
}

#[test]
fn baselines_speak_as_documented() {
    let table = |rows: &[(u64, [u64; 4])]| table::read(paired(rows).as_bytes(), false).unwrap();
    let says = |name: &str, rows: &[(u64, [u64; 4])]| {
        let options = options(&["--baseline", name]);
        let answer = baseline::answer(&options, options.baseline.unwrap(), &table(rows));
        (answer.verdict, answer.stopped_at)
    };
    let five: Vec<(u64, [u64; 4])> = [1, 4, 2, 3, 1].map(|x| (1, [x, 1_000, 0, 1_000])).to_vec();
    // The issue in which five small counts against none are "High".
    assert_eq!(says("kayenta", &five), ("Rollback", Some(5)));
    assert_eq!(says("flagger", &five), ("Promote", None));
    let one_percent = vec![(1, [11, 1_000, 0, 1_000]); 12];
    assert_eq!(says("flagger", &one_percent), ("Rollback", Some(10)));
    assert_eq!(says("argo", &one_percent), ("Promote", None));
    assert_eq!(says("argo", &[(1, [51, 1_000, 0, 1_000]); 12]), ("Rollback", Some(4)));
    // 1, 5, then 7 of so many thousands against none: z is 1.00, 2.24, 2.65.
    assert_eq!(says("z", &five), ("Rollback", Some(3)));
}

#[test]
fn every_fault_of_a_table_names_line_field_and_fix() {
    let line = |text: &str| format!("{HEADER}\n1,1,a,e,own,0,10,0,10\n{text}");
    let cases = [
        (String::new(), "is empty"),
        (HEADER.to_owned(), "no rows"),
        (
            HEADER.replace(",control_total", ""),
            "column `control_total`: is missing",
        ),
        (HEADER.replace("stratum", "startum"), "did you mean `stratum`?"),
        (format!("{HEADER},metric"), "stands twice"),
        (
            line("2,1,a,e,own,-1,10,0,10"),
            ":3: column `canary_bad`: `-1` is negative",
        ),
        (
            line("2,1,a,e,own,0,NaN,0,10"),
            ":3: column `canary_total`: `NaN` is not finite",
        ),
        (
            line("2,1,a,e,own,0,10,inf,10"),
            ":3: column `control_bad`: `inf` is not finite",
        ),
        (line("2,1,a,e,own,0.5,10,0,10"), "`0.5` is not a whole number"),
        (line("2,1,a,e,own,x,10,0,10"), "`x` is not a number"),
        (line("2,1,a,e,own,,10,0,10"), "is empty: write a count"),
        (line("2,1,a,e,own,11,10,0,10"), ":3: column `canary_bad`: 11 bad of 10"),
        (line("2,1,a,e,own,0,10,11,10"), ":3: column `control_bad`: 11 bad of 10"),
        (
            line("1,1,a,e,own,0,10,0,10"),
            ":3: a second row for interval 1, stratum a, metric e",
        ),
        (
            line("0,1,a,e,own,0,10,0,10"),
            "interval 0 arrives late, after interval 1 (line 2)",
        ),
        (
            line("2,0,a,e,own,0,10,0,10"),
            "goes back from 1 (interval 1) to 0 (interval 2)",
        ),
        (line("2,1,a,e,onw,0,10,0,10"), "did you mean `own`?"),
        (line("2,1,a,e,weather,0,10,0,10"), "write one of own, infrastructure"),
        (line("2,1,a,e,business,0,10,0,10"), "give a metric one class"),
        (line("2,1,a,e,own,0,10,0"), ":3: has 8 cells where the header has 9"),
        (line("2,1,,e,own,0,10,0,10"), "column `stratum`: is empty"),
        (
            line("2,1,a,\"e\n\",own,0,10,0,10").replace("e\n", "e\u{7}e"),
            "control character",
        ),
    ];
    for (text, says) in cases {
        let failure = judged(&[], &text).unwrap_err();
        assert!(
            matches!(&failure, Failure::Input(found) if found.contains(says)),
            "{text:?}: {failure:?}"
        );
    }
    let host = |text: &str| format!("{HOSTS}\n1,1,a,e,own,h,canary,0,10,0,500\n{text}");
    for (text, says) in [
        (host("2,1,a,e,own,h,canry,0,10,0,500"), "`canry` is no arm"),
        (host("2,1,a,e,own,h,canary,2,10,3,500"), "3 distinct of 2 bad"),
        (host("2,1,a,e,own,h,canary,2,10,0,500"), "0 distinct of 2 bad"),
        (host("1,1,a,e,own,h,control,0,10,0,500"), "a second row for interval 1"),
        (
            host("2,1,a,e,own,h,canary,0,10,0,-5"),
            "column `age_s`: `-5` is negative",
        ),
        (host("2,1,a,e,own,,canary,0,10,0,5"), "column `host`: is empty"),
    ] {
        let failure = judged(&["--per-host"], &text).unwrap_err();
        assert!(
            matches!(&failure, Failure::Input(found) if found.contains(says)),
            "{text:?}: {failure:?}"
        );
    }
}

#[test]
fn traffic_that_is_not_divided_as_the_balancer_says_holds() {
    let with = |reported: u64, expected: u64, control: &dyn Fn(u64) -> u64| {
        let mut text = format!("{HEADER},canary_expected");
        for index in 1..=30 {
            let (bad, n) = (reported / 1_000, control(index));
            text += &format!(
                "\n{index},1,all,errors,own,{bad},{reported},{},{n},{expected}",
                n / 1_000
            );
        }
        judged(&["--phi", "1", "--theta", "2e-3"], &text).unwrap()
    };
    let steady = |_: u64| 45_000;
    assert_eq!(with(5_000, 5_000, &steady).verdict, "Promote");
    // Traffic of the control that comes and goes is no other split.
    assert_eq!(with(5_000, 5_000, &|index| 30_000 + index * 1_000).verdict, "Promote");
    // A few more than were sent: requests at the border of two intervals. Many more: not as planned.
    assert_eq!(with(5_002, 5_000, &steady).verdict, "Promote");
    for reported in [5_600, 4_700] {
        let held = with(reported, 5_000, &steady);
        assert_eq!(held.verdict, "Hold", "{held:?}");
        assert!(held.reason.contains("planned"), "{held:?}");
    }
}

/// The fuzz target, on a corpus that a seed makes: sound tables with a few bytes, words or lines of them changed.
#[test]
fn changed_tables_are_judged_or_refused_by_name() {
    const WORDS: [&str; 22] = [
        ",",
        "\n",
        "\r\n",
        "\"",
        "\u{feff}",
        "-1",
        "NaN",
        "inf",
        "1e9",
        "0",
        "9223372036854775808",
        "18446744073709551616",
        "canary",
        "control",
        "own",
        "client",
        "all",
        "h1",
        " ",
        "\0",
        ";",
        "interval",
    ];
    let mut state = 5_u64;
    let mut below = move |bound: usize| {
        // SplitMix64 (Steele, Lea, Flood 2014).
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % (bound.max(1) as u64)).unwrap()
    };
    let mut paired = format!("{HEADER},canary_expected");
    let mut hosts = HOSTS.to_owned();
    for index in 1..=4 {
        paired += &format!("\n{index},{},all,errors,own,1,100,3,900,100", 1 + index / 3);
        for (host, arm) in [("a", "canary"), ("b", "canary"), ("c", "control"), ("d", "control")] {
            hosts += &format!("\n{index},1,all,errors,own,{host},{arm},2,100,1,{}", 60 * index);
        }
    }
    let (mut judged, mut refused) = (0, 0);
    for run in 0..3_000 {
        let base = if run % 2 == 0 { &paired } else { &hosts };
        let mut bytes = base.as_bytes().to_vec();
        for _ in 0..=below(2) {
            let at = below(bytes.len());
            let until = (at + 1 + below(12)).min(bytes.len());
            let word = WORDS[below(WORDS.len())].bytes();
            match below(12) {
                0 => bytes[at] = u8::try_from(below(256)).unwrap(),
                // Another digit, so that much is read.
                5.. => bytes[at..until]
                    .iter_mut()
                    .filter(|byte| byte.is_ascii_digit())
                    .for_each(|byte| *byte = b'0' + (*byte - b'0' + 1) % 10),
                1 => drop(bytes.splice(at..at, word)),
                2 => drop(bytes.splice(at..until, word)),
                3 => drop(bytes.drain(at..until)),
                _ => {
                    let again = bytes[at..until].to_vec();
                    drop(bytes.splice(at..at, again));
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        if fuzzed::table(&bytes) {
            judged += 1;
        } else {
            refused += 1;
        }
    }
    assert!(judged > 300 && refused > 300, "{judged} and {refused}");
}

/// Whatever bytes come, an answer or a named fault.
#[test]
fn no_bytes_panic() {
    let base = paired(&[(1, [1, 100, 2, 900]), (2, [0, 100, 0, 900])]);
    for at in 0..base.len() {
        for byte in [b',', b'\n', b'"', b'-', b'9', 0xff, 0] {
            let mut bytes = base.clone().into_bytes();
            bytes[at] = byte;
            if let Ok(table) = table::read(bytes.as_slice(), false) {
                let _ = Trial::hold(&options(&[]), &table, Vec::new()).map(|trial| answer(&trial));
            }
        }
        let _ = table::read(&base.as_bytes()[..at], false);
    }
}
