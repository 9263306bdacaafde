//! Scenario files: which releases there are, how often, and in what kind of world. docs/gauntlet.md describes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use unattended_examples_support::Failure;
use unattended_simulated::{ReleaseSpec, World};

use crate::lots::{Lots, hash};
use crate::template::{Figure, Template};

#[path = "faulty.rs"]
mod faulty;

use faulty::{check_form, failure, line_of, unique};

/// The format of scenario files that this program reads.
pub(crate) const SCHEMA: u32 = 1;
const BUILT_IN: &str = include_str!("scenario.json");

/// A scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    #[serde(rename = "schema")]
    _schema: Schema,
    pub(crate) name: String,
    #[serde(default = "half")]
    bad_share: Share,
    #[serde(default)]
    pub(crate) labels: Vec<Label>,
    pub(crate) good: Vec<Family>,
    pub(crate) bad: Vec<Family>,
}

/// A label that every application gets one value of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Label {
    pub(crate) key: String,
    /// With its weight.
    #[serde(deserialize_with = "unique")]
    pub(crate) values: BTreeMap<String, Weight>,
    /// The policies are not told of it.
    #[serde(default)]
    pub(crate) hidden: bool,
    /// File and line, for errors.
    #[serde(skip)]
    place: String,
}

/// Releases of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Family {
    pub(crate) name: String,
    #[serde(default = "once")]
    weight: Weight,
    release: Template,
    #[serde(default, deserialize_with = "unique")]
    world: BTreeMap<String, Figure>,
    /// File and line, for errors.
    #[serde(skip)]
    place: String,
}

/// A number above 0.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct Weight(f64);

impl TryFrom<f64> for Weight {
    type Error = String;

    fn try_from(weight: f64) -> Result<Self, String> {
        if weight > 0.0 && weight <= 1e6 {
            Ok(Self(weight))
        } else {
            Err(format!(
                "weight {weight} is not possible; give a number above 0, at most 1000000"
            ))
        }
    }
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "f64")]
struct Share(f64);

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(format!("share {share} is not possible; give a number from 0 to 1"))
        }
    }
}

/// The version of the format, which is checked where it stands.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u32")]
struct Schema;

impl TryFrom<u32> for Schema {
    type Error = String;

    fn try_from(schema: u32) -> Result<Self, String> {
        if schema == SCHEMA {
            Ok(Self)
        } else {
            Err(format!(
                "schema {schema} is not known; this program reads \"schema\": {SCHEMA}"
            ))
        }
    }
}

const fn half() -> Share {
    Share(0.5)
}

const fn once() -> Weight {
    Weight(1.0)
}

/// One release, drawn.
#[derive(Clone, Debug)]
pub(crate) struct Lot {
    /// Among all families, the good ones first.
    pub(crate) family: usize,
    pub(crate) release: ReleaseSpec,
    pub(crate) world: World,
}

impl Scenario {
    /// The scenario of that file, or the built-in one.
    pub(crate) fn load(path: Option<&Path>, base: &World) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Self::parse(BUILT_IN, "the built-in scenario", base);
        };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Input(format!("{name}: the scenario cannot be read: {error}")))?;
        Self::parse(&text, &name, base)
    }

    /// Reads a scenario; `file` is what errors call it.
    pub(crate) fn parse(text: &str, file: &str, base: &World) -> Result<Self, Failure> {
        check_form(text, file)?;
        let mut scenario: Self = serde_json::from_str(text).map_err(|error| failure(text, file, &error))?;
        for family in scenario.good.iter_mut().chain(&mut scenario.bad) {
            family.place = format!("{file}:{}", line_of(text, &family.name, 0));
        }
        for label in &mut scenario.labels {
            label.place = format!("{file}:{}", line_of(text, &label.key, 0));
        }
        let wrong = |line: usize, what: String| Failure::Input(format!("{file}:{line}: {what}"));
        for (field, families) in [("good", &scenario.good), ("bad", &scenario.bad)] {
            let share = scenario.share(field == "bad");
            if families.is_empty() && share > 0.0 {
                let fix = "add one, or set bad_share so that none is drawn";
                return Err(wrong(
                    line_of(text, field, 0),
                    format!("{field}: it has no family; {fix}"),
                ));
            }
        }
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for (number, family) in scenario.families().enumerate() {
            let nth = *names.entry(&family.name).and_modify(|nth| *nth += 1).or_insert(0);
            let line = line_of(text, &family.name, nth);
            if nth > 0 {
                let fix = "give each family a name of its own";
                return Err(wrong(
                    line,
                    format!("name: there are two families `{}`; {fix}", family.name),
                ));
            }
            family
                .check(number >= scenario.good.len(), base)
                .map_err(|what| wrong(line, format!("family `{}`: {what}", family.name)))?;
        }
        for (at, label) in scenario.labels.iter().enumerate() {
            if scenario.labels[..at].iter().any(|other| other.key == label.key) {
                return Err(wrong(
                    line_of(text, &label.key, 1).max(line_of(text, &label.key, 0)),
                    format!("labels: `{}` stands twice; give all its values in one place", label.key),
                ));
            }
            if label.values.is_empty() || label.key.is_empty() || label.key == "app" {
                let fix = "give it a key other than `app`, and values with weights, as in {\"base\": 80, \"edge\": 20}";
                return Err(wrong(
                    line_of(text, &label.key, 0),
                    format!("labels: `{}` makes no label; {fix}", label.key),
                ));
            }
        }
        Ok(scenario)
    }

    /// Refuses labels that fleets have already: those of the targets would be gone, and with them what families say of them.
    pub(crate) fn check_labels(&self, own: &BTreeSet<&str>) -> Result<(), Failure> {
        match self.labels.iter().find(|label| own.contains(label.key.as_str())) {
            None => Ok(()),
            Some(Label { key, place, .. }) => {
                let own: Vec<&str> = own.iter().copied().collect();
                Err(Failure::Input(format!(
                    "{place}: labels: every target has a `{key}` of its own already, as it has {}; choose another key",
                    own.join(", ")
                )))
            }
        }
    }

    /// The good families, then the bad ones.
    pub(crate) fn families(&self) -> impl Iterator<Item = &Family> {
        self.good.iter().chain(&self.bad)
    }

    fn share(&self, bad: bool) -> f64 {
        if bad { self.bad_share.0 } else { 1.0 - self.bad_share.0 }
    }

    /// The families of so many releases, each as often as its weight says, rounded so that none is more than one off.
    pub(crate) fn assign(&self, releases: usize) -> Vec<usize> {
        let bad = rounded(self.bad_share.0, releases);
        let mut all = apportion(&self.good, releases - bad);
        all.extend(
            apportion(&self.bad, bad)
                .into_iter()
                .map(|family| family + self.good.len()),
        );
        // The kinds alternate, so that any first part of the list is like the whole.
        let mut order: Vec<(u64, usize)> = (0..all.len()).map(|at| (Lots::of(&[at as u64]).bits(), at)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, at)| all[at]).collect()
    }

    /// The values of a label that the scenario adds, by application. Each application draws its own; a value that a release names, and that
    /// is so rare that nobody drew it, is given to one that has a value of others, so that there is something for the release to be bad in.
    pub(crate) fn values<'s>(
        &self,
        label: &'s Label,
        apps: &BTreeSet<&'s str>,
        seed: u64,
    ) -> BTreeMap<&'s str, &'s str> {
        let total: f64 = label.values.values().map(|weight| weight.0).sum();
        let lot = |app: &str| Lots::of(&[seed, hash(&label.key), hash(app)]).unit();
        let drawn = |app: &str| {
            let mut left = lot(app) * total;
            let found = label.values.iter().find(|(_, weight)| {
                left -= weight.0;
                left < 0.0
            });
            found
                .or_else(|| label.values.iter().next_back())
                .map_or("", |(value, _)| value)
        };
        let mut values: BTreeMap<&str, &str> = apps.iter().map(|app| (*app, drawn(app))).collect();
        let named = |value: &&String| self.families().any(|family| family.release.names(&label.key, value));
        for value in label.values.keys().filter(named) {
            let having =
                |values: &BTreeMap<&str, &str>, value: &str| values.values().filter(|of| **of == value).count();
            if having(&values, value) > 0 {
                continue;
            }
            let spare = values.iter().filter(|(_, of)| having(&values, of) > 1);
            let first = spare.min_by(|a, b| lot(a.0).total_cmp(&lot(b.0))).map(|(app, _)| *app);
            if let Some(app) = first {
                values.insert(app, value);
            }
        }
        values
    }

    /// Whether a family names a value that a fleet may be without.
    pub(crate) fn names_values(&self, family: usize) -> bool {
        const ANY: &str = "any";
        let named = |family: &Family| {
            let [release, _] = family.release.extremes(|_| ANY.to_owned());
            ReleaseSpec::parse(&release).is_ok_and(|release| release.filters().iter().any(|(_, value)| value != ANY))
        };
        self.families().nth(family).is_some_and(named)
    }

    /// Draws a release of a family. `kinds` are the labels of each kind of target that the fleet has, `app` included.
    pub(crate) fn draw(
        &self,
        family: usize,
        seed: u64,
        base: &World,
        kinds: &[BTreeMap<&str, &str>],
    ) -> Result<Lot, Failure> {
        let Some(drawn) = self.families().nth(family) else {
            return Err(Failure::Internal(format!("there is no family {family}")));
        };
        let mut lots = Lots::of(&[seed, 1]);
        let labels = drawn.release.labels();
        let mut combinations: Vec<Vec<&str>> = kinds
            .iter()
            .filter_map(|kind| labels.iter().map(|label| kind.get(label).copied()).collect())
            .collect();
        combinations.sort_unstable();
        combinations.dedup();
        let wrong = |why: String| Failure::Input(format!("{}: family `{}`: {why}", drawn.place, drawn.name));
        let Some(most) = combinations.len().checked_sub(1) else {
            let keys = labels.join(" and ");
            return Err(wrong(format!(
                "release: no target of the fleet has the labels {keys}; use labels that it has, or add them under `labels`"
            )));
        };
        let chosen = &combinations[lots.below(most + 1)];
        let value = |label: &str| {
            let at = labels.iter().position(|known| *known == label);
            at.map_or_else(String::new, |at| chosen[at].to_owned())
        };
        let release = drawn.release.fill(&mut lots, value);
        let release = ReleaseSpec::parse(&release).map_err(|error| wrong(error.to_string()))?;
        let filters = release.filters();
        let has = |kind: &BTreeMap<&str, &str>| {
            (filters.iter()).all(|(key, value)| kind.get(key.as_str()).is_some_and(|of| of == value))
        };
        if !kinds.iter().any(has) {
            let filters: Vec<String> = filters.iter().map(|(key, value)| format!("{key}={value}")).collect();
            return Err(wrong(format!(
                "release: no target of one of the fleets has {}; write {{any}} for the value, or one that every fleet has",
                filters.join(" and ")
            )));
        }
        let world = drawn.world(base, |figure| figure.fill(&mut lots)).map_err(wrong)?;
        Ok(Lot { family, release, world })
    }
}

impl Family {
    /// Whether all that can be drawn can be.
    fn check(&self, bad: bool, base: &World) -> Result<(), String> {
        for release in self.release.extremes(|_| "any".to_owned()) {
            let spec = ReleaseSpec::parse(&release).map_err(|error| format!("release: {error}"))?;
            if spec.faults().is_empty() == bad {
                let (is, belongs) = if bad { ("good", "good") } else { ("bad", "bad") };
                return Err(format!("release: `{release}` is {is}; move the family to `{belongs}`"));
            }
        }
        for end in [0, 1] {
            self.world(base, |figure| figure.extremes()[end])
                .map_err(|why| format!("world: {why}"))?;
        }
        Ok(())
    }

    fn world(&self, base: &World, mut of: impl FnMut(&Figure) -> f64) -> Result<World, String> {
        let mut fields = serde_json::to_value(base).map_err(|error| error.to_string())?;
        if let Some(fields) = fields.as_object_mut() {
            for (field, figure) in &self.world {
                fields.insert(field.clone(), of(figure).into());
            }
        }
        World::from_json(&fields.to_string()).map_err(|error| error.to_string())
    }
}

/// So many of these families, by weight and largest remainder.
fn apportion(families: &[Family], count: usize) -> Vec<usize> {
    let total: f64 = families.iter().map(|family| family.weight.0).sum();
    let mut upto = 0.0;
    let mut all = Vec::with_capacity(count);
    for (number, family) in families.iter().enumerate() {
        upto += family.weight.0;
        let until = rounded(upto / total, count).min(count);
        all.resize(until.max(all.len()), number);
    }
    all
}

fn rounded(share: f64, of: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count fits where the count does"
    )]
    let part = (share * of as f64 + 0.5) as usize;
    part.min(of)
}
