//! The worlds: what is drawn of each seed, every part of it by itself.

use super::*;

/// What may be drawn, each alone: whatever is left out leaves the rest as it was.
pub(super) const PARTS: [&str; 17] = [
    "regions", "rehearse", "class", "windows", "freezes", "limit", "asks", "level", "words", "cut", "hang", "loss",
    "births", "kill", "bad", "faults", "quiet",
];

/// A number of its own for each matter of a seed.
fn draw(seed: u64, of: &str) -> Draw {
    let mixed = of.bytes().fold(seed ^ 0x51_7cc1_b727_220a, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3).rotate_left(23)
    });
    let mut draw = Draw(mixed);
    draw.below(2);
    draw
}

/// Some moment while a change is at work.
fn soon(draw: &mut Draw) -> u64 {
    let most = draw.one_of(&[40, 200, 1_400]) * MINUTE_MS;
    draw.below(most)
}

/// What holds some applications, or all, for a time.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) apps: Option<BTreeSet<String>>,
    pub(super) spans: Vec<Range<u64>>,
    pub(super) back: bool,
}

impl Held {
    pub(super) fn holds(&self, app: &str, at_ms: u64) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.contains(app)) && self.spans.iter().any(|span| span.contains(&at_ms))
    }
}

/// What somebody says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    Pause,
    Freeze,
    Resume,
    Skip(String),
    Pin(String),
    Abort,
    RollBack,
    Demote(Level),
    Grant(Level),
}

/// Looks at some targets hang for a time.
#[derive(Clone, Debug)]
pub(super) struct Dark {
    pub(super) whom: BTreeSet<String>,
    pub(super) span: Range<u64>,
}

pub(super) struct Drawn {
    pub(super) parts: BTreeSet<&'static str>,
    pub(super) case: Case,
    pub(super) regions: BTreeMap<String, String>,
    pub(super) held: Vec<Held>,
    /// No more of an application at once, at these times.
    pub(super) limit: Option<(u32, Range<u64>)>,
    pub(super) words: Vec<(u64, Word)>,
    /// How long somebody takes to answer and to take steps, if anybody does.
    pub(super) person_ms: Option<u64>,
    pub(super) dark: Vec<Dark>,
    pub(super) kills: Vec<(u64, u64)>,
    /// From when on nothing disturbs any more.
    pub(super) calm_ms: u64,
}

/// A check that lets so many of each application go at once.
#[derive(Debug)]
struct AtMost(u32, Range<i64>);

#[async_trait]
impl Check for AtMost {
    async fn judge(&self, ask: &Ask<'_>) -> Result<Seen, CheckError> {
        let limit = || Answer::limit(Code::Own("capacity.low".to_owned()), u64::from(self.0));
        let against = self.1.contains(&ask.now_ms);
        Ok(Seen::against(1, if against { vec![limit()] } else { Vec::new() }))
    }
}

/// A fleet of applications of very different sizes.
fn fleet(seed: u64, with_regions: bool) -> Vec<SimTarget> {
    let mut draw = draw(seed, "fleet");
    let apps = draw.size(1, 8);
    let (zones, stacks, regions) = (draw.size(1, 4), draw.size(1, 3), draw.size(1, 4));
    let whole = draw.below(3) == 0;
    let mut left = draw.one_of(&[8, 20, 60, 200]);
    let mut targets = Vec::new();
    for app in 0..apps {
        let size = (1 + match draw.below(4) {
            0 => 0,
            1 => draw.below(4),
            2 => draw.below(20),
            _ => draw.below(80),
        })
        .min(left.max(1));
        left = left.saturating_sub(size);
        for number in 0..size {
            let label = |key: &str, value: u64| (key.to_owned(), format!("{key}-{value}"));
            let mut labels = vec![
                label("zone", draw.below(zones as u64)),
                label("stack", (app % stacks) as u64),
            ];
            if with_regions {
                let region = if whole {
                    (app % regions) as u64
                } else {
                    draw.below(regions as u64)
                };
                labels.push(label("region", region));
            }
            targets.push(SimTarget {
                id: format!("app-{app}-{number}"),
                app: format!("app-{app}"),
                labels,
                state: InitialState::Healthy,
            });
        }
    }
    targets
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Weekly windows and freezes, as a pack and as spans of the run, which begins so long after the Monday of its week.
fn rules(seed: u64, parts: &BTreeSet<&'static str>, apps: &[String], offset_ms: u64) -> (String, Vec<Held>) {
    let mut held = Vec::new();
    let (mut windows, mut freezes) = (String::new(), String::new());
    let select = |draw: &mut Draw| -> (String, Option<BTreeSet<String>>) {
        let some: BTreeSet<String> = apps.iter().filter(|_| draw.below(2) == 0).cloned().collect();
        if some.is_empty() || draw.below(2) == 0 {
            return (String::new(), None);
        }
        let names: Vec<&str> = some.iter().map(String::as_str).collect();
        (format!("select: {{app: [{}]}}, ", names.join(", ")), Some(some))
    };
    let word = |back: bool| if back { "allowed" } else { "forbidden" };
    if parts.contains("windows") {
        let mut draw = draw(seed, "windows");
        for id in 0..draw.size(1, 3) {
            let daily = draw.below(2) == 0 && id < 2;
            let (days, hours): (Vec<usize>, u64) = if daily {
                ((0..7).collect(), 1 + draw.below(8))
            } else {
                ((0..7).filter(|_| draw.below(3) == 0).collect(), 1 + draw.below(14))
            };
            let days = if days.is_empty() { vec![2] } else { days };
            let from_min = draw.below(24 * 12) * 5;
            let back = draw.below(2) == 0;
            let (selects, apps) = select(&mut draw);
            let names: Vec<&str> = days.iter().map(|&day| DAYS[day]).collect();
            windows += &format!(
                "  - {{id: w{id}, kind: protected, weekly: {{days: [{}], from: \"{:02}:{:02}\", for: {hours}h}}, zone: UTC, {selects}\
                 rollback: {}, reason: busy}}\n",
                names.join(", "),
                from_min / 60,
                from_min % 60,
                word(back)
            );
            let spans = (0..8 * 7usize).filter(|day| days.contains(&(day % 7))).map(|day| {
                // Counted from a week before.
                let from_ms = (day as u64) * DAY_MS + from_min * MINUTE_MS;
                let shift = |ms: u64| ms.saturating_sub(7 * DAY_MS + offset_ms);
                shift(from_ms)..shift(from_ms + hours * HOUR_MS)
            });
            held.push(Held {
                apps,
                spans: spans.collect(),
                back,
            });
        }
    }
    if parts.contains("freezes") {
        let mut draw = draw(seed, "freezes");
        for id in 0..draw.size(1, 2) {
            let from_min = offset_ms / MINUTE_MS + draw.below(24 * 60);
            let until_min = from_min + 30 + draw.below(3 * 24 * 60);
            let back = draw.below(2) == 0;
            let (selects, apps) = select(&mut draw);
            let stamp = |minutes: u64| {
                let day = 23 + minutes / 1440;
                let (month, day) = if day <= 30 { (11, day) } else { (12, day - 30) };
                format!("2026-{month}-{day:02}T{:02}:{:02}", minutes / 60 % 24, minutes % 60)
            };
            freezes += &format!(
                "  - {{id: f{id}, {selects}from: \"{}\", until: \"{}\", zone: UTC, owner: sre, reason: sale, rollback: {}}}\n",
                stamp(from_min),
                stamp(until_min),
                word(back)
            );
            let shift = |minutes: u64| (minutes * MINUTE_MS).saturating_sub(offset_ms);
            held.push(Held {
                apps,
                spans: std::iter::once(shift(from_min)..shift(until_min)).collect(),
                back,
            });
        }
    }
    let mut pack = "version: 1\npack: drawn\nowner: sre\nscope: all\n".to_owned();
    for (name, list) in [("windows", &windows), ("freezes", &freezes)] {
        if !list.is_empty() {
            pack += &format!("{name}:\n{list}");
        }
    }
    if parts.contains("asks") {
        let (selects, _) = select(&mut draw(seed, "asks"));
        pack += &format!(
            "rules:\n  - {{id: hands, kind: person, step: batch, {selects}owner: pay, reason: nobody knows}}\n"
        );
    }
    (pack, held)
}

const RELEASES: [&str; 12] = [
    "same",
    "errors=x20",
    "errors=x20",
    "latency=x5",
    "crash",
    "unready",
    "one-way",
    "errors=x20+one-way",
    "errors=x20@zone=zone-0",
    "crash@zone=zone-0",
    "late=40m:errors=x20",
    "errors=x20@stack=stack-0",
];

/// The world of a seed, without some of its parts.
pub(super) fn drawn(seed: u64, without: &BTreeSet<&'static str>) -> Drawn {
    let density = draw(seed, "density").one_of(&[2, 4, 6]);
    let parts: BTreeSet<&'static str> = PARTS
        .into_iter()
        .filter(|part| draw(seed, &format!("has {part}")).below(8) < density && !without.contains(part))
        .collect();
    let has = |part: &str| parts.contains(part);
    let mut case = Case::calm(1, 1);
    case.targets = fleet(seed, has("regions"));
    let apps: Vec<String> = case
        .targets
        .iter()
        .map(|target| target.app.clone())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut of = draw(seed, "settings");
    case.seed = of.below(1 << 32);
    case.policy = case.policy.per_app(pct(of.one_of(&[10, 25, 50])));
    case.settings.soak_ms = of.one_of(&[30, 30, 360]) * MINUTE_MS;
    case.settings.rehearse_way_back = has("rehearse");
    case.world.requests_per_s_median = of.one_of(&[5.0, 50.0, 200.0]);
    let offset_ms = of.below(7 * 24 * 12) * 5 * MINUTE_MS;
    case.start_wall_ms = START_WALL_MS - 8 * 3_600_000 + i64::try_from(offset_ms).unwrap();
    if has("class") {
        case.settings.on_class_fault = OnClassFault::Class;
    }
    if has("quiet") {
        case.world.quiet_app_share = 0.3;
    }
    if has("faults") {
        case.world = World {
            never_ready_share: 0.01,
            fault_lost: 1e-3,
            fault_unreported: 1e-3,
            fault_twice: 1e-3,
            fault_late: 1e-3,
            fault_observe: 1e-3,
            restarts_per_target_day: 0.1,
            ..case.world
        };
    }
    if has("births") {
        case.world.deaths_per_target_day = draw(seed, "births").one_of(&[0.05, 0.5]);
    }
    if has("loss") {
        case.world.telemetry_loss = 0.05;
    }
    if has("bad") {
        let value = |name: &str| {
            case.targets
                .iter()
                .any(|target| target.labels.iter().any(|(_, value)| value == name))
        };
        case.release = draw(seed, "bad").one_of(&RELEASES);
        if case
            .release
            .rsplit_once('=')
            .is_some_and(|(head, of)| head.contains('@') && !value(of))
        {
            case.release = "errors=x20";
        }
    }
    let (pack, held) = rules(seed, &parts, &apps, offset_ms);
    case.rules = if has("windows") || has("freezes") || has("asks") {
        pack
    } else {
        String::new()
    };
    let mut of = draw(seed, "level");
    case.level = of.one_of(&[Level::L3, Level::L4, Level::L4, Level::L5]);
    let mut person_ms = (of.below(2) == 0).then(|| of.one_of(&[5, 30, 120]) * MINUTE_MS);
    if has("level") {
        case.level = of.one_of(&[Level::L0, Level::L1, Level::L2, Level::L3]);
        if of.below(4) > 0 {
            person_ms = Some(of.one_of(&[5, 30, 120]) * MINUTE_MS);
        }
    }
    let mut calm_ms = held
        .iter()
        .filter(|held| held.spans.len() == 1)
        .map(|held| held.spans[0].end)
        .max()
        .unwrap_or(0);
    let mut limit = None;
    if has("limit") {
        let mut of = draw(seed, "limit");
        let from_ms = of.below(600) * MINUTE_MS;
        let span = from_ms..from_ms + (60 + of.below(2_000)) * MINUTE_MS;
        let most = u32::try_from(1 + of.below(3)).unwrap();
        let unix = |ms: u64| case.start_wall_ms + i64::try_from(ms).unwrap();
        case.check = Some(Arc::new(AtMost(most, unix(span.start)..unix(span.end))));
        calm_ms = calm_ms.max(span.end);
        limit = Some((most, span));
    }
    let mut regions = BTreeMap::new();
    for target in &case.targets {
        if let Some((_, region)) = target.labels.iter().find(|(key, _)| key == "region") {
            regions.insert(target.id.clone(), region.clone());
        }
    }
    if has("regions") {
        case.policy = case.policy.spread(["region", "stack"]);
        case.settings.domains = vec!["region".to_owned()];
    }
    let mut dark = Vec::new();
    if has("cut") {
        let mut of = draw(seed, "cut");
        let at = of.size(0, case.targets.len() as u64 - 1);
        let key = if has("regions") { "region" } else { "zone" };
        let place = |target: &SimTarget| target.labels.iter().find(|(name, _)| name == key).unwrap().1.clone();
        let whom = case
            .targets
            .iter()
            .filter(|target| place(target) == place(&case.targets[at]))
            .map(|target| target.id.clone())
            .collect();
        let from_ms = soon(&mut of);
        let long = of.one_of(&[60, 600, 3_000]);
        dark.push(Dark {
            whom,
            span: from_ms..from_ms + (5 + of.below(long)) * MINUTE_MS,
        });
    }
    if has("hang") {
        let mut of = draw(seed, "hang");
        let at = of.size(0, case.targets.len() as u64 - 1);
        let from_ms = soon(&mut of);
        let long = of.one_of(&[60, 600, 3_000]);
        let whom = BTreeSet::from([case.targets[at].id.clone()]);
        dark.push(Dark {
            whom,
            span: from_ms..from_ms + (5 + of.below(long)) * MINUTE_MS,
        });
    }
    let mut words = Vec::new();
    if has("words") {
        let mut of = draw(seed, "words");
        for _ in 0..of.size(1, 3) {
            let at_ms = soon(&mut of) + of.below(60_000);
            let later_ms = at_ms + MINUTE_MS + soon(&mut of);
            let app = apps[of.size(0, apps.len() as u64 - 1)].clone();
            let target = case.targets[of.size(0, case.targets.len() as u64 - 1)].id.clone();
            match of.below(9) {
                0 | 1 => words.extend([(at_ms, Word::Pause), (later_ms, Word::Resume)]),
                2 | 3 => words.extend([(at_ms, Word::Freeze), (later_ms, Word::Resume)]),
                4 => words.push((at_ms, Word::Skip(app))),
                5 => words.push((at_ms, Word::Pin(target))),
                6 => words.push((at_ms, if of.below(3) == 0 { Word::Abort } else { Word::RollBack })),
                _ => {
                    let low = of.one_of(&[Level::L0, Level::L1, Level::L2, Level::L3]);
                    let high = of.one_of(&[Level::L3, Level::L4]);
                    words.extend([(at_ms, Word::Demote(low)), (later_ms, Word::Grant(high))]);
                }
            }
        }
        words.sort_by_key(|(at_ms, _)| *at_ms);
    }
    let mut kills = Vec::new();
    if has("kill") {
        let mut of = draw(seed, "kill");
        let mut at_ms = 0;
        for _ in 0..of.size(1, 3) {
            at_ms += 1_000 + soon(&mut of) / 2;
            let away_ms = of.one_of(&[1_000, 10 * MINUTE_MS, 5 * HOUR_MS]);
            kills.push((at_ms, away_ms));
            at_ms += away_ms;
        }
    }
    let ends = dark
        .iter()
        .map(|dark| dark.span.end)
        .chain(words.iter().map(|(at, _)| *at))
        .chain(kills.iter().map(|(at, away)| at + away));
    let calm_ms = ends.fold(calm_ms, u64::max);
    Drawn {
        parts,
        case,
        regions,
        held,
        limit,
        words,
        person_ms,
        dark,
        kills,
        calm_ms,
    }
}
