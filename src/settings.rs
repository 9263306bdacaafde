use serde::{Deserialize, Serialize};

use crate::{Budget, Telling};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const MOST_HEALS: u32 = 10_000;
/// The longest time that is believed: a hundred years.
pub(crate) const LONGEST_MS: u64 = 100 * 365 * 24 * HOUR_MS;

/// Bakes, budgets and patience of a change. All times in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Settings {
    /// The length of an interval of metrics; evidence is looked at once an interval. Default one minute.
    pub interval_ms: u64,
    /// For how long a restarted instance is compared only with restarted instances. Default three minutes, for warm
    /// upgrades too: what a restart disturbs (cold pools, reconnects) outlasts the replacement itself.
    pub warm_up_ms: u64,
    /// The least time between the last finished target of a lane's batch and the lane's next batch, warm-up not
    /// included. Default ten minutes.
    pub bake_ms: u64,
    /// No class passes [`soak_share_ppm`](Self::soak_share_ppm) before it has stood still for so long: one day, which
    /// holds one load peak.
    pub soak_ms: u64,
    /// See [`soak_ms`](Self::soak_ms), in parts per million of the class. Default 2 %.
    pub soak_share_ppm: u32,
    /// The whole change's budget for false rollbacks. Default 0.01.
    pub alpha: f64,
    /// The budget for bad promotions, for each class and step. Default 0.05.
    pub beta: f64,
    /// Safety is shown against releases that are worse by this share. Default 0.5: half as many errors again.
    pub delta: f64,
    /// No lane goes on while the stop statistic, or its application's own part of it, is above this e-value.
    /// Default 10.
    pub caution_e: f64,
    /// A class whose traffic cannot show safety within this time is called silent: it goes on by its instances'
    /// synthetic requests, and the report says so. Default six hours.
    pub silent_after_ms: u64,
    /// For how long evidence may be missing before a person is asked. Default 72 hours.
    pub patience_ms: u64,
    /// For how long a lane may be blocked by unhealthy targets before its rest becomes debt. Default six hours.
    pub blocked_patience_ms: u64,
    /// The largest share of the fleet, in parts per million, that may become debt without a person. Default 20 %.
    pub debt_limit_ppm: u32,
    /// How often one target is tried before it becomes debt. Default 4.
    pub tries: u8,
    /// For how long to wait for a person before the run ends as waiting; a later run resumes it. Default 72 hours.
    pub person_patience_ms: u64,
    /// For how long a debt may stand. Default seven days.
    pub debt_expiry_ms: u64,
    /// An estimate of one attempt and its verification, by which a batch is fitted into a window.
    pub attempt_estimate_ms: u64,
    /// How much the autopilot may do by itself, whatever its level.
    pub budget: Budget,
    /// Whether the way back is tried before the change begins in earnest: the first target goes to the new version, back to the
    /// old one, and there again, alone; where it does not come back in [`tries`](Self::tries) tries, the change stops with one
    /// target exposed. Default no. At levels L0 and L1 people take the steps, and try what they like.
    #[serde(default)]
    pub rehearse_way_back: bool,
    /// What a fault in one class alone takes back. Default the whole change.
    #[serde(default)]
    pub on_class_fault: OnClassFault,
    /// What is done where the change is stopped. Default: it is rolled back.
    #[serde(default)]
    pub on_stop: OnStop,
    /// For how long a target is taken out of traffic at a time, where there is a [healer](crate::Builder::healer): then it is back by
    /// itself, or is isolated anew before. At least three intervals. Default a quarter of an hour.
    #[serde(default = "isolation_ms")]
    pub isolation_ms: u64,
    /// The label keys that name a domain, what can be cut off as one, the largest first: `region, cluster`. Default none.
    ///
    /// While nobody of a domain is seen, its targets wait, what is under way there counts against every allowance, and all others go
    /// on; after [`blocked_patience_ms`](Self::blocked_patience_ms) they become debt. The values of the first key are exposed one after the
    /// other: nobody of a second region gets the new version before the first has shown that it is well. That key must be
    /// among the ones that the policy [spreads](unattended_batching::Policy::spread) over.
    #[serde(default)]
    pub domains: Vec<String>,
    /// How often people are told, and when somebody else is. It is the run's own matter, as `person_patience_ms` is.
    #[serde(default)]
    pub telling: Telling,
}

/// What is done where a change is stopped: by its evidence, by the new version's own gate, or as there is no way back. People are told and
/// asked in any case but the first, and may roll back, go on over it or abort, as ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the three ways there are")]
pub enum OnStop {
    /// It is rolled back: alone where level and budgets let it, else at a person's word.
    #[default]
    RollBack,
    /// What runs the new version is taken out of traffic, the newest first, as many at each instant as the caps of the plan let be out;
    /// the rest keeps serving it, and people are told how many. It stays out as long as a person is asked: a yes rolls it back, and each
    /// gets traffic again once it runs the old version; to go on over the stop, or to abort, lets all in as they are. It needs a
    /// [healer](crate::Builder::healer), and level L4 to do it alone.
    CutTraffic,
    /// Nothing more is started, and what runs the new version keeps it, until a person says.
    FreezeInPlace,
}

/// Journals of before there was one have none.
const fn isolation_ms() -> u64 {
    15 * MINUTE_MS
}

/// What is done where one class alone, all targets with one value of a spread label, explains what a change would stop for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the two ways there are")]
pub enum OnClassFault {
    /// The whole change is taken back.
    #[default]
    Change,
    /// The class is set aside: its targets go back within the caps of the plan and become debt, those that are born into it
    /// keep the old version, and the rest goes on; its evidence starts anew. It is done where a level and its budgets let a
    /// change be taken back, and counts against them as one; elsewhere people are asked about the class
    /// ([`SetClassAside`](crate::QuestionKind::SetClassAside)).
    ///
    /// A class alone explains the stop where its own evidence reaches `1/alpha`, while each other value of its key that is exposed has less
    /// than [`caution_e`](Settings::caution_e) and more for its safety than against it; where targets did not start, if they all are
    /// of it and no other of it did, while the version started on more of the other values. All classes that explain it within a factor of
    /// 100 must be alone so; with them goes each class of another key that is, too, and has `caution_e` of evidence against it or against its
    /// safety, since nobody can tell them apart. Where none does, or more than half of the fleet would be set aside, the whole
    /// change stops, as it does where the rest turns out to be bad, too.
    Class,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            interval_ms: MINUTE_MS,
            warm_up_ms: 3 * MINUTE_MS,
            bake_ms: 10 * MINUTE_MS,
            soak_ms: 24 * HOUR_MS,
            soak_share_ppm: 20_000,
            alpha: 0.01,
            beta: 0.05,
            delta: 0.5,
            caution_e: 10.0,
            silent_after_ms: 6 * HOUR_MS,
            patience_ms: 72 * HOUR_MS,
            blocked_patience_ms: 6 * HOUR_MS,
            debt_limit_ppm: 200_000,
            tries: 4,
            person_patience_ms: 72 * HOUR_MS,
            debt_expiry_ms: 7 * 24 * HOUR_MS,
            attempt_estimate_ms: 10 * MINUTE_MS,
            budget: Budget::default(),
            rehearse_way_back: false,
            on_class_fault: OnClassFault::Change,
            on_stop: OnStop::RollBack,
            isolation_ms: isolation_ms(),
            domains: Vec::new(),
            telling: Telling::default(),
        }
    }
}

impl Settings {
    /// The settings that belong to the change, in words: a run that resumes must have the same. For how long somebody
    /// waits for a person, and how people are told, is the run's own matter.
    pub(crate) fn of_the_change(&self) -> String {
        let settings = Self {
            person_patience_ms: 0,
            telling: Telling::default(),
            ..self.clone()
        };
        let mut text = format!("{settings:?}");
        // What has its default stands in no journal of before it could be set.
        let default = Self::default();
        let later = [
            ("on_stop", format!("{:?}", default.on_stop)),
            ("isolation_ms", default.isolation_ms.to_string()),
            ("heals_per_day", default.budget.heals_per_day.to_string()),
        ];
        for (name, value) in later {
            text = text.replacen(&format!(", {name}: {value},"), ",", 1);
        }
        text
    }

    /// The first setting in which two of these [texts](Self::of_the_change) differ, and what each has. What a text leaves out has its
    /// default.
    pub(crate) fn difference(journal: &str, run: &str) -> Option<(String, String, String)> {
        if journal == run {
            return None;
        }
        let default = format!("{:?}", Self::default());
        let [journal, run, default] = [journal, run, default.as_str()].map(fields);
        let value = |of: &Fields, name: &str| {
            let known = of.iter().chain(&default).find(|(known, _)| known == name);
            known.map_or_else(|| "nothing".to_owned(), |(_, value)| value.clone())
        };
        let names = run.iter().chain(&journal).map(|(name, _)| name.clone());
        let mut all = names.map(|name| {
            let (journal, run) = (value(&journal, &name), value(&run, &name));
            (name, journal, run)
        });
        let found = all.find(|(_, journal, run)| journal != run);
        // Texts that differ in their form alone were written by different builds.
        found.or_else(|| {
            Some((
                "settings".to_owned(),
                "of another build".to_owned(),
                "of this one".to_owned(),
            ))
        })
    }

    /// Refuses settings that contradict themselves; says which field and what it may be.
    pub(crate) fn check(&self) -> Result<(), String> {
        let times = [
            ("interval_ms", self.interval_ms),
            ("warm_up_ms", self.warm_up_ms),
            ("attempt_estimate_ms", self.attempt_estimate_ms),
        ];
        for (name, value) in times {
            if value == 0 {
                return Err(format!("settings: `{name}` is 0: give at least 1 ms"));
            }
        }
        let spans = [
            ("interval_ms", self.interval_ms),
            ("warm_up_ms", self.warm_up_ms),
            ("bake_ms", self.bake_ms),
            ("soak_ms", self.soak_ms),
            ("silent_after_ms", self.silent_after_ms),
            ("patience_ms", self.patience_ms),
            ("blocked_patience_ms", self.blocked_patience_ms),
            ("person_patience_ms", self.person_patience_ms),
            ("debt_expiry_ms", self.debt_expiry_ms),
            ("attempt_estimate_ms", self.attempt_estimate_ms),
            ("isolation_ms", self.isolation_ms),
            ("budget.longest_ms", self.budget.longest_ms),
        ];
        for (name, value) in spans {
            if value > LONGEST_MS {
                return Err(format!(
                    "settings: `{name}` is {value}: give at most {LONGEST_MS} ms, a hundred years"
                ));
            }
        }
        self.telling.check(LONGEST_MS)?;
        for (name, value) in [("alpha", self.alpha), ("beta", self.beta)] {
            if !(value > 0.0 && value < 1.0) {
                return Err(format!(
                    "settings: `{name}` is {value}: give a number between 0 and 1, both excluded"
                ));
            }
        }
        if !(self.delta > 0.0 && self.delta.is_finite()) {
            return Err(format!("settings: `delta` is {}: give a number above 0", self.delta));
        }
        if !(self.caution_e > 1.0 && self.caution_e.is_finite()) {
            return Err(format!(
                "settings: `caution_e` is {}: give a number above 1",
                self.caution_e
            ));
        }
        for (name, value) in [
            ("soak_share_ppm", self.soak_share_ppm),
            ("debt_limit_ppm", self.debt_limit_ppm),
            ("budget.rollback_share_ppm", self.budget.rollback_share_ppm),
            ("budget.exposure_share_ppm", self.budget.exposure_share_ppm),
        ] {
            if value > 1_000_000 {
                return Err(format!(
                    "settings: `{name}` is {value}: give at most 1000000, which is everything"
                ));
            }
        }
        if self.isolation_ms == 0 {
            return Err("settings: `isolation_ms` is 0: give at least three intervals".to_owned());
        }
        if self.budget.heals_per_day > MOST_HEALS {
            let found = self.budget.heals_per_day;
            return Err(format!(
                "settings: `budget.heals_per_day` is {found}: give at most {MOST_HEALS}; 0 leaves all of it to people"
            ));
        }
        if self.on_stop != OnStop::RollBack && self.on_class_fault == OnClassFault::Class {
            return Err(
                "settings: `on_class_fault` takes a class back at a stop, and `on_stop` takes nothing back: give one of them"
                    .to_owned(),
            );
        }
        if self.budget.starts_per_day == Some(0) {
            return Err(
                "settings: `budget.starts_per_day` is 0, and nothing would ever start: give at least 1; where no target is to start without a \
                 person's word, take level L1 (a word for each) or L2 (a word for each batch)"
                    .to_owned(),
            );
        }
        if self.tries == 0 {
            return Err("settings: `tries` is 0: give at least 1".to_owned());
        }
        Ok(())
    }
}

/// Names, with a dot before each that belongs to another, and values.
type Fields = Vec<(String, String)>;

/// The fields of a struct as `Debug` writes it.
fn fields(text: &str) -> Fields {
    let mut found = Vec::new();
    let inside = text
        .split_once(" { ")
        .and_then(|(_, rest)| rest.strip_suffix(" }"))
        .unwrap_or_default();
    let (mut depth, mut quoted, mut from) = (0_u32, false, 0);
    let mut parts = Vec::new();
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'{' | b'[' | b'(' if !quoted => depth += 1,
            b'}' | b']' | b')' if !quoted => depth = depth.saturating_sub(1),
            b',' if !quoted && depth == 0 => {
                parts.push(&inside[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[from..]);
    for (name, value) in parts.iter().filter_map(|part| part.trim().split_once(": ")) {
        let inner = fields(value);
        if inner.is_empty() {
            found.push((name.to_owned(), value.to_owned()));
        }
        found.extend(
            inner
                .into_iter()
                .map(|(field, value)| (format!("{name}.{field}"), value)),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What journals of before these could be set say of a change.
    const NAMES: [&str; 3] = ["on_stop", "isolation_ms", "heals_per_day"];

    #[test]
    fn settings_that_differ_are_told_by_their_name() {
        let (mut run, mut deep) = (Settings::default(), Settings::default());
        let journal = run.of_the_change();
        assert_eq!(Settings::difference(&journal, &journal), None);
        run.on_stop = OnStop::FreezeInPlace;
        run.domains = vec!["region, \"west\"".to_owned(), "zone".to_owned()];
        deep.budget.starts_per_day = Some(500);
        let told = |run: &Settings| Settings::difference(&journal, &run.of_the_change()).unwrap();
        let strings = |(a, b, c): (&str, &str, &str)| (a.to_owned(), b.to_owned(), c.to_owned());
        // What has its default stands in no text.
        assert_eq!(told(&run), strings(("on_stop", "RollBack", "FreezeInPlace")));
        assert_eq!(told(&deep), strings(("budget.starts_per_day", "None", "Some(500)")));
        run.on_stop = OnStop::RollBack;
        assert_eq!(told(&run).0, "domains");
        // Also where it is the run whose text leaves it out.
        run = Settings::default();
        run.on_stop = OnStop::FreezeInPlace;
        let back = Settings::difference(&run.of_the_change(), &journal).unwrap();
        assert_eq!(back, strings(("on_stop", "FreezeInPlace", "RollBack")));
    }

    #[test]
    fn journals_of_before_say_nothing_of_what_came_later() {
        let settings = Settings::default();
        let text = settings.of_the_change();
        assert!(NAMES.iter().all(|name| !text.contains(name)), "{text}");
        assert!(
            text.contains("rollbacks_per_day: 4, rollback_share_ppm")
                && text.contains("on_class_fault: Change, domains")
        );
        // What is set is told apart.
        let mut set = [settings.clone(), settings.clone(), settings.clone()];
        set[0].on_stop = OnStop::FreezeInPlace;
        set[1].isolation_ms += 1;
        set[2].budget.heals_per_day = 0;
        for (settings, name) in set.iter().zip(NAMES) {
            assert!(settings.of_the_change().contains(name), "{name}");
        }
        // As JSON, in which journals keep them.
        let mut json = serde_json::to_value(&settings).unwrap();
        for name in NAMES {
            let budget = json["budget"].as_object_mut().unwrap().remove(name).is_some();
            assert!(budget || json.as_object_mut().unwrap().remove(name).is_some());
        }
        assert_eq!(serde_json::from_value::<Settings>(json).unwrap(), settings);
    }
}
