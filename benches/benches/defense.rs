//! A decision beside a plain scan of every window.

use std::cell::LazyCell;
use std::fmt::Write as _;

use unattended_benches::{SplitMix64, Suite};
use unattended_defense::{Guard, Request, Scope};

const PACKS: u32 = 1_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MIN: i64 = 1_440;
/// Monday, 2026-11-02T00:00Z.
const MONDAY_MS: i64 = 1_793_577_600_000;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A window as a first program would keep it: minutes of a week in UTC.
struct Window {
    business: String,
    tier: Option<&'static str>,
    change: bool,
    /// 0 is Monday.
    days: Vec<u8>,
    from_min: i64,
    length_min: i64,
}

impl Window {
    fn covers(&self, minute: i64) -> bool {
        let since = |day: &u8| (minute - i64::from(*day) * DAY_MIN - self.from_min).rem_euclid(7 * DAY_MIN);
        self.days.iter().any(|day| since(day) < self.length_min)
    }

    fn yaml(&self, id: usize, out: &mut String) {
        let kind = if self.change { "change" } else { "protected" };
        let days: Vec<&str> = self.days.iter().map(|day| DAYS[usize::from(*day)]).collect();
        let days = days.join(", ");
        let select = self
            .tier
            .map_or_else(String::new, |tier| format!(", select: {{tier: {tier}}}"));
        let (hour, minute, length) = (self.from_min / 60, self.from_min % 60, self.length_min);
        let weekly = format!("{{days: [{days}], from: \"{hour:02}:{minute:02}\", for: {length}m}}");
        writeln!(
            out,
            "- {{id: w{id}, kind: {kind}, weekly: {weekly}, zone: UTC, reason: rule {id}{select}}}"
        )
        .expect("a string takes everything");
    }
}

struct Question {
    request: Request,
    business: String,
    tier: &'static str,
    now_ms: i64,
}

/// Nights are protected, so are weekends of the gold tier, and each business has its working hours.
fn windows() -> Vec<[Window; 3]> {
    let mut random = SplitMix64::new(3);
    let mut window = |n: u32, tier, change, days: &[u8], from_hour: i64, hours: i64| Window {
        business: format!("business-{n:04}"),
        tier,
        change,
        days: days.to_vec(),
        from_min: from_hour * 60 + i64::from(random.below(60)),
        length_min: hours * 60,
    };
    (0..PACKS)
        .map(|n| {
            [
                window(n, None, false, &[0, 1, 2, 3, 4, 5, 6], 21, 7),
                window(n, Some("gold"), false, &[4], 18, 14),
                window(n, None, true, &[0, 1, 2, 3, 4], 8, 9),
            ]
        })
        .collect()
}

fn guard(windows: &[[Window; 3]]) -> Guard {
    let packs = windows.iter().map(|windows| {
        let business = &windows[0].business;
        let mut text =
            format!("version: 1\npack: {business}\nowner: {business}\nscope: {{business: {business}}}\nwindows:\n");
        for (id, window) in windows.iter().enumerate() {
            window.yaml(id, &mut text);
        }
        (format!("{business}.yaml"), text)
    });
    Guard::from_packs(packs).expect("the packs are valid")
}

fn questions() -> Vec<Question> {
    let mut random = SplitMix64::new(4);
    (0..256)
        .map(|_| {
            let business = format!("business-{:04}", random.below(PACKS));
            let tier = ["gold", "silver", "bronze"][random.below(3) as usize];
            let app = format!("app-{:05}", random.below(10_000));
            let scope = Scope::app(app).label("business", business.as_str()).label("tier", tier);
            let now_ms = MONDAY_MS + i64::from(random.below(7 * 1_440)) * MINUTE_MS;
            Question {
                request: Request::pre("mesh-1.9.2").scope(scope),
                business,
                tier,
                now_ms,
            }
        })
        .collect()
}

/// Whether a change may start: of all windows those that speak, none protected, and one open where there are hours.
fn scan(windows: &[Window], question: &Question) -> bool {
    let minute = (question.now_ms - MONDAY_MS) / MINUTE_MS;
    let (mut protected, mut hours, mut open) = (false, false, false);
    for window in windows {
        if window.business == question.business && window.tier.is_none_or(|tier| tier == question.tier) {
            let covers = window.covers(minute);
            protected |= !window.change && covers;
            hours |= window.change;
            open |= window.change && covers;
        }
    }
    !protected && (open || !hours)
}

fn main() {
    let mut suite = Suite::new("defense", 1);
    let questions = questions();
    let asked = questions.len() as u64;
    let guard = LazyCell::new(|| guard(&windows()));
    let flat = LazyCell::new(|| windows().into_iter().flatten().collect::<Vec<_>>());
    suite.measure("decide", asked, |b| {
        let guard = LazyCell::force(&guard);
        b.iter(|| {
            let may = |q: &&Question| guard.decide(&q.request, q.now_ms).verdict.may_start();
            questions.iter().filter(may).count()
        });
    });
    suite.measure("scan", asked, |b| {
        let flat = LazyCell::force(&flat);
        b.iter(|| questions.iter().filter(|q| scan(flat, q)).count());
    });
    // Two answers to one question are only worth a ratio where they agree.
    for question in &questions {
        let ours = guard.decide(&question.request, question.now_ms).verdict.may_start();
        assert_eq!(
            ours,
            scan(&flat, question),
            "{} at {}",
            question.business,
            question.now_ms
        );
    }
    // The scan does not say who, why or until when, and knows no zones.
    suite.compare(
        "decide, 1000 packs of 3 windows",
        "decision",
        "decide",
        "scan",
        "a scan of all windows that says yes or no, UTC only",
    );
    suite.finish();
}
