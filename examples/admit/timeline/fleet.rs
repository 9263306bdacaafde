//! The applications, and what is true of all of them together.

use std::collections::{BTreeMap, BTreeSet};

use unattended::defense::Scope;
use unattended_examples_support::Inventory;

use super::rows::{Picture, Range};

/// One application.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) targets: usize,
    pub(crate) labels: BTreeMap<String, BTreeSet<String>>,
    pub(crate) scope: Scope,
}

impl App {
    /// The values of a label in words.
    pub(crate) fn value(&self, key: &str) -> String {
        self.labels.get(key).map_or_else(String::new, |values| {
            values.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
        })
    }
}

/// The applications of an inventory, by name. A label that an application does not have is known not to be there.
pub(crate) fn apps(inventory: &Inventory) -> Vec<App> {
    let mut apps: BTreeMap<&str, App> = BTreeMap::new();
    for target in &inventory.targets {
        let app = apps.entry(&target.app).or_insert_with(|| App {
            name: target.app.to_string(),
            targets: 0,
            labels: BTreeMap::new(),
            scope: Scope::app(&*target.app),
        });
        app.targets += 1;
        for (key, value) in target.labels.iter() {
            app.labels.entry(key.to_string()).or_default().insert(value.to_string());
        }
    }
    let mut apps: Vec<App> = apps.into_values().collect();
    for app in &mut apps {
        for key in &inventory.keys {
            app.scope = match app.labels.get(key) {
                Some(values) => values
                    .iter()
                    .fold(app.scope.clone(), |scope, value| scope.label(key, value)),
                None => app.scope.clone().label(key, ""),
            };
        }
    }
    apps
}

/// A rule and how much it closes.
#[derive(Debug)]
pub(crate) struct Most {
    pub(crate) reason: usize,
    pub(crate) apps: usize,
    /// Summed over its applications.
    pub(crate) closed_ms: i64,
}

/// What is true of all applications together.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) apps: usize,
    /// From each of these instants on so many applications are open; the first is the beginning of the range.
    pub(crate) open: Vec<(i64, usize)>,
    pub(crate) open_now: usize,
    pub(crate) never_open: usize,
    pub(crate) open_share: f64,
    /// When every application is open.
    pub(crate) common: Vec<(i64, i64)>,
    /// The first open instant of each application that has one, sorted.
    firsts: Vec<i64>,
    /// What closes most, first.
    pub(crate) most: Vec<Most>,
}

impl Fleet {
    pub(crate) fn of(picture: &Picture, range: &Range) -> Self {
        let apps: usize = picture.rows.iter().map(|row| row.apps.len()).sum();
        let open = open(
            picture.rows.iter().map(|row| (&row.segments[..], row.apps.len())),
            range,
        );
        let mut common = Vec::new();
        let mut total = 0_i128;
        for (at, (from, count)) in open.iter().enumerate() {
            let until = open.get(at + 1).map_or(range.until, |next| next.0);
            total += i128::from(until - from) * i128::try_from(*count).unwrap_or(0);
            if *count == apps {
                common.push((*from, until));
            }
        }
        let mut firsts: Vec<i64> = Vec::new();
        let mut closed: BTreeMap<usize, (usize, i64)> = BTreeMap::new();
        for row in &picture.rows {
            if let Some(first) = row.first_open(range) {
                firsts.extend(std::iter::repeat_n(first, row.apps.len()));
            }
            for (reason, ms) in row.closed_by() {
                let entry = closed.entry(reason).or_default();
                entry.0 += row.apps.len();
                entry.1 += ms * i64::try_from(row.apps.len()).unwrap_or(i64::MAX);
            }
        }
        firsts.sort_unstable();
        let mut most: Vec<Most> = closed
            .into_iter()
            .map(|(reason, (apps, closed_ms))| Most {
                reason,
                apps,
                closed_ms,
            })
            .collect();
        most.sort_by_key(|most| (std::cmp::Reverse(most.closed_ms), most.reason));
        let whole = i128::from(range.until - range.from) * i128::try_from(apps).unwrap_or(1).max(1);
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let open_share = total as f64 / whole as f64;
        Self {
            apps,
            open_now: open.first().map_or(apps, |(_, count)| *count),
            never_open: apps - firsts.len(),
            open_share,
            open,
            common,
            firsts,
            most,
        }
    }

    /// When so large a share of all applications has been open.
    pub(crate) fn reached(&self, share: f64) -> Option<i64> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of at most 1 of a count of applications"
        )]
        let needed = ((self.apps as f64 * share).ceil() as usize).max(1);
        self.firsts.get(needed - 1).copied()
    }
}

/// From which instant on how many applications are open.
pub(crate) fn open<'r>(
    rows: impl Iterator<Item = (&'r [super::rows::Segment], usize)>,
    range: &Range,
) -> Vec<(i64, usize)> {
    let mut steps: BTreeMap<i64, i64> = BTreeMap::from([(range.from, 0)]);
    let mut all = 0;
    for (segments, apps) in rows {
        let weight = i64::try_from(apps).unwrap_or(i64::MAX);
        all += weight;
        for segment in segments {
            *steps.entry(segment.from).or_default() -= weight;
            if segment.until < range.until {
                *steps.entry(segment.until).or_default() += weight;
            }
        }
    }
    let mut count = all;
    let mut open: Vec<(i64, usize)> = Vec::with_capacity(steps.len());
    for (at, change) in steps {
        count += change;
        let now = usize::try_from(count).unwrap_or(0);
        if open.last().is_none_or(|(_, before)| *before != now) {
            open.push((at, now));
        }
    }
    open
}
