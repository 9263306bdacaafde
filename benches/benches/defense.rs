//! Decisions, the next start, and loading, over 10,000 rules and windows of 3,000 applications.

use std::cell::LazyCell;
use std::fmt::Write as _;

use unattended_benches::{SplitMix64, Suite};
use unattended_defense::{Guard, Need, NextFeasible, Request, Scope};

const APPS: u32 = 3_000;
const BUSINESSES: u32 = 500;
const MINUTE_MS: i64 = 60_000;
const DAY_MIN: i64 = 1_440;
const DAY_MS: i64 = DAY_MIN * MINUTE_MS;
/// Monday, 2026-11-02T00:00Z.
const MONDAY_MS: i64 = 1_793_577_600_000;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ZONES: [&str; 4] = [
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Asia/Shanghai",
];

/// A rule as a first program would keep it: whom it concerns, and when in UTC.
struct Rule {
    app: Option<String>,
    business: Option<String>,
    says: Says,
}

enum Says {
    /// Minutes of a week.
    Window {
        change: bool,
        /// 0 is Monday.
        days: Vec<u8>,
        from_min: i64,
        length_min: i64,
    },
    Freeze {
        from_ms: i64,
        until_ms: i64,
    },
    /// Emergencies need a person.
    Person,
}

impl Rule {
    fn concerns(&self, question: &Question) -> bool {
        self.app.as_ref().is_none_or(|app| *app == question.app)
            && self
                .business
                .as_ref()
                .is_none_or(|business| *business == question.business)
    }

    fn covers(&self, now_ms: i64) -> bool {
        match &self.says {
            Says::Window {
                days,
                from_min,
                length_min,
                ..
            } => {
                let minute = (now_ms - MONDAY_MS) / MINUTE_MS;
                let since = |day: &u8| (minute - i64::from(*day) * DAY_MIN - from_min).rem_euclid(7 * DAY_MIN);
                days.iter().any(|day| since(day) < *length_min)
            }
            Says::Freeze { from_ms, until_ms } => (*from_ms..*until_ms).contains(&now_ms),
            Says::Person => false,
        }
    }
}

struct Question {
    request: Request,
    app: String,
    business: String,
    now_ms: i64,
}

fn app(n: u32) -> String {
    format!("app-{n:05}")
}

fn business(n: u32) -> String {
    format!("business-{:03}", n % BUSINESSES)
}

/// Each application has its protected nights, its weekends and its working hours; each business a freeze of some days and
/// a rule about emergencies.
fn rules() -> Vec<Rule> {
    let mut random = SplitMix64::new(3);
    let mut rules = Vec::new();
    for n in 0..APPS {
        let mut window = |change, days: &[u8], from_hour: i64, hours: i64| {
            rules.push(Rule {
                app: Some(app(n)),
                business: None,
                says: Says::Window {
                    change,
                    days: days.to_vec(),
                    from_min: from_hour * 60 + i64::from(random.below(60)),
                    length_min: hours * 60,
                },
            });
        };
        window(false, &[0, 1, 2, 3, 4, 5, 6], 21, 7);
        window(false, &[4], 18, 14);
        window(true, &[0, 1, 2, 3, 4], 8, 9);
    }
    for n in 0..BUSINESSES {
        let from_ms = MONDAY_MS + i64::from(random.below(60)) * DAY_MS;
        let mut rule = |says| {
            rules.push(Rule {
                app: None,
                business: Some(business(n)),
                says,
            });
        };
        rule(Says::Freeze {
            from_ms,
            until_ms: from_ms + 3 * DAY_MS,
        });
        rule(Says::Person);
    }
    rules
}

/// The rules as packs, one for each application and each business; in UTC, or in four zones.
fn packs(rules: &[Rule], zoned: bool) -> Vec<(String, String)> {
    let mut packs = Vec::new();
    let date = |ms: i64| {
        let day = (ms - MONDAY_MS) / DAY_MS + 2;
        // November has 30 days, December 31.
        match day {
            ..=30 => format!("2026-11-{day:02}"),
            31..=61 => format!("2026-12-{:02}", day - 30),
            _ => format!("2027-01-{:02}", day - 61),
        }
    };
    let same = |a: &Rule, b: &Rule| a.app == b.app && a.business == b.business;
    for (n, rules) in rules.chunk_by(same).enumerate() {
        let zone = if zoned { ZONES[n % ZONES.len()] } else { "UTC" };
        let (key, value) = match (&rules[0].app, &rules[0].business) {
            (Some(app), _) => ("app", app),
            (None, Some(business)) => ("business", business),
            (None, None) => unreachable!("every rule concerns somebody"),
        };
        let mut text = format!("version: 1\npack: {value}\nowner: {value}\nscope: {{{key}: {value}}}\n");
        let mut list = "";
        for (id, rule) in rules.iter().enumerate() {
            let (of, fields) = match &rule.says {
                Says::Window {
                    change,
                    days,
                    from_min,
                    length_min,
                } => {
                    let kind = if *change { "change" } else { "protected" };
                    let days: Vec<&str> = days.iter().map(|day| DAYS[usize::from(*day)]).collect();
                    let (days, hour, minute) = (days.join(", "), from_min / 60, from_min % 60);
                    let weekly = format!("{{days: [{days}], from: \"{hour:02}:{minute:02}\", for: {length_min}m}}");
                    ("windows", format!("kind: {kind}, weekly: {weekly}, zone: {zone}"))
                }
                Says::Freeze { from_ms, until_ms } => {
                    let (from, until) = (date(*from_ms), date(*until_ms));
                    (
                        "freezes",
                        format!("from: {from}, until: {until}, zone: {zone}, owner: cto"),
                    )
                }
                Says::Person => (
                    "rules",
                    "kind: condition, if: {fact: change.emergency, is: true}, then: needs_person".to_owned(),
                ),
            };
            if of != list {
                writeln!(text, "{of}:").expect("a string takes everything");
                list = of;
            }
            writeln!(text, "- {{id: r{id}, {fields}, reason: rule {id}}}").expect("a string takes everything");
        }
        packs.push((format!("{value}.yaml"), text));
    }
    packs
}

fn guard(packs: &[(String, String)]) -> Guard {
    Guard::from_packs(packs.iter().cloned()).expect("the packs are valid")
}

fn questions() -> Vec<Question> {
    let mut random = SplitMix64::new(4);
    (0..1_024)
        .map(|_| {
            let n = random.below(APPS);
            let (app, business) = (app(n), business(n));
            let tier = ["gold", "silver", "bronze"][random.below(3) as usize];
            let scope = Scope::app(app.as_str())
                .label("business", business.as_str())
                .label("tier", tier);
            let now_ms = MONDAY_MS + i64::from(random.below(7 * 1_440)) * MINUTE_MS;
            Question {
                request: Request::pre("mesh-1.9.2").scope(scope),
                app,
                business,
                now_ms,
            }
        })
        .collect()
}

/// Whether a change may start: of all rules those that speak, none closed, and one open where there are hours.
fn scan(rules: &[Rule], question: &Question) -> bool {
    let (mut closed, mut hours, mut open) = (false, false, false);
    for rule in rules {
        if rule.concerns(question) {
            let covers = rule.covers(question.now_ms);
            if matches!(rule.says, Says::Window { change: true, .. }) {
                hours = true;
                open |= covers;
            } else {
                closed |= covers;
            }
        }
    }
    !closed && (open || !hours)
}

/// An hour each morning, nights closed, and only after a year a day with room for two hours.
fn year() -> Guard {
    const PACK: &str = "version: 1
pack: year
owner: o
scope: all
windows:
- {id: morning, kind: change, weekly: {days: daily, from: \"09:00\", for: 1h}, zone: Europe/Berlin, reason: short}
- {id: once, kind: change, dated: {from: 2027-10-30T08:00, until: 2027-10-30T20:00}, zone: Europe/Berlin, reason: long}
- {id: night, kind: protected, cron: {at: \"0 22 * * *\", for: 4h}, zone: America/Sao_Paulo, reason: night}
- {id: weekend, kind: protected, weekly: {days: [sun], from: \"12:00\", for: 36h}, zone: Asia/Shanghai, reason: weekend}
";
    Guard::from_yaml("year.yaml", PACK).expect("the pack is valid")
}

fn main() {
    let mut suite = Suite::new("defense", 1);
    let questions = questions();
    let asked = questions.len() as u64;
    let flat = LazyCell::new(rules);
    let texts = LazyCell::new(|| packs(&flat, false));
    let plain = LazyCell::new(|| guard(&texts));
    let zoned = LazyCell::new(|| guard(&packs(&flat, true)));
    let decide = |guard: &Guard| {
        let may = |q: &&Question| guard.decide(&q.request, q.now_ms).verdict.may_start();
        questions.iter().filter(may).count()
    };
    suite.measure("decide", asked, |b| {
        let guard = LazyCell::force(&plain);
        b.iter(|| decide(guard));
    });
    suite.measure("decide_zones", asked, |b| {
        let guard = LazyCell::force(&zoned);
        b.iter(|| decide(guard));
    });
    suite.measure("scan", asked, |b| {
        let flat = LazyCell::force(&flat);
        b.iter(|| questions.iter().filter(|q| scan(flat, q)).count());
    });
    // Two answers to one question are only worth a ratio where they agree.
    for question in &questions {
        let ours = plain.decide(&question.request, question.now_ms).verdict.may_start();
        assert_eq!(ours, scan(&flat, question), "{} at {}", question.app, question.now_ms);
    }
    // The scan does not say who, why or until when, and knows no zones.
    suite.compare(
        "decide, 10,000 rules and windows",
        "decision",
        "decide",
        "scan",
        "a scan of all rules that says yes or no, UTC only",
    );
    suite.compare(
        "decide, in four zones",
        "decision",
        "decide_zones",
        "decide",
        "the same rules in UTC",
    );

    let year = year();
    let need = Need {
        batch_ms: 5_400_000,
        rollback_ms: 1_800_000,
    };
    let scope = Scope::app("a");
    let start = 1_824_876_000_000;
    assert_eq!(year.next_feasible(&scope, MONDAY_MS, need), NextFeasible::At(start));
    suite.measure("next_feasible", 1, |b| {
        b.iter(|| year.next_feasible(&scope, MONDAY_MS, need));
    });
    suite.measure("next_by_steps", 1, |b| {
        // What one does with an engine that only says yes or no: ask for each quarter of an hour.
        let request = Request::pre("c").scope(scope.clone()).need(need);
        b.iter(|| {
            (MONDAY_MS..=start)
                .step_by(900_000)
                .find(|at| year.decide(&request, *at).verdict.may_start())
        });
    });
    suite.compare(
        "next_feasible, a year ahead",
        "answer",
        "next_feasible",
        "next_by_steps",
        "a decision for each quarter of an hour",
    );

    let rules = flat.len() as u64;
    suite.measure("load", rules, |b| {
        let texts = LazyCell::force(&texts);
        b.iter_with_large_drop(|| guard(texts));
    });
    suite.measure("load_untyped", rules, |b| {
        let texts = LazyCell::force(&texts);
        b.iter_with_large_drop(|| {
            let parse = |(_, text): &(String, String)| serde_saphyr::from_str::<serde_json::Value>(text).expect("YAML");
            texts.iter().map(parse).collect::<Vec<_>>()
        });
    });
    suite.compare(
        "load 10,000 rules of 3,500 packs",
        "rule",
        "load",
        "load_untyped",
        "the same texts read as untyped YAML",
    );
    suite.finish();
}
