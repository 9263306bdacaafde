//! Rows as they come, as intervals that a judge can see.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use unattended::health::FaultClass;
use unattended_examples_support::{Failure, nearest};

use crate::cells::{self, Cells};
use crate::fault;

const PAIRED: [&str; 10] = [
    "interval",
    "batch",
    "stratum",
    "metric",
    "class",
    "canary_bad",
    "canary_total",
    "control_bad",
    "control_total",
    "canary_expected",
];
const PER_HOST: [&str; 11] = [
    "interval", "batch", "stratum", "metric", "class", "host", "arm", "bad", "total", "distinct", "age_s",
];

/// Bad events among requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) bad: u64,
    pub(crate) total: u64,
}

/// One host in one interval.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) canary: bool,
    /// Each bad event.
    pub(crate) bad: u64,
    pub(crate) total: u64,
    /// Each client once.
    pub(crate) distinct: u64,
    pub(crate) age_s: Option<u64>,
}

/// One stratum and metric in one interval.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) canary: Counted,
    pub(crate) control: Counted,
    /// Requests that the balancer sent to the canary.
    pub(crate) expected: Option<u64>,
    /// Empty for paired rows.
    pub(crate) hosts: Vec<Host>,
}

/// One interval.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) index: u64,
    pub(crate) batch: u64,
    pub(crate) line: u64,
    /// By stratum and metric, as numbers into the lists of the table.
    pub(crate) entries: BTreeMap<(usize, usize), Entry>,
}

/// Everything that was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) strata: Vec<String>,
    /// Names with their class.
    pub(crate) metrics: Vec<(String, FaultClass)>,
    /// In rising order.
    pub(crate) spans: Vec<Span>,
    pub(crate) rows: u64,
}

/// Reads a whole table, or tells the first thing that is wrong with it.
pub(crate) fn read(input: impl Read, per_host: bool) -> Result<Table, Failure> {
    let mut builder = Builder::default();
    if per_host {
        cells::read(input, &PER_HOST, 9, |cells| builder.host(cells))?;
    } else {
        cells::read(input, &PAIRED, 9, |cells| builder.pair(cells))?;
    }
    builder.close()?;
    Ok(builder.table)
}

#[derive(Default)]
struct Builder {
    table: Table,
    strata: BTreeMap<String, usize>,
    metrics: BTreeMap<String, usize>,
    /// Rows of the interval at hand, to find two alike.
    seen: BTreeSet<(usize, usize, Option<String>)>,
}

impl Builder {
    fn pair(&mut self, cells: &Cells<'_>) -> Result<(), Failure> {
        let key = self.place(cells, None)?;
        let canary = counted(cells, 5, 6)?;
        let control = counted(cells, 7, 8)?;
        let expected = cells.optional_count(9)?;
        self.entry(key, |entry| {
            (entry.canary, entry.control, entry.expected) = (canary, control, expected);
        });
        Ok(())
    }

    fn host(&mut self, cells: &Cells<'_>) -> Result<(), Failure> {
        let name = cells.name(5, "host")?.to_owned();
        let canary = match cells.text(6) {
            "canary" => true,
            "control" => false,
            other => {
                let what = format!("`{}` is no arm: write `canary` or `control`", fault::shown(other));
                return Err(cells.wrong(6, what));
            }
        };
        let key = self.place(cells, Some(&name))?;
        let Counted { bad, total } = counted(cells, 7, 8)?;
        let distinct = cells.optional_count(9)?.unwrap_or(bad);
        if distinct > bad || (distinct == 0 && bad > 0) {
            let what = format!("{distinct} distinct of {bad} bad requests: count each client with a bad request once");
            return Err(cells.wrong(9, what));
        }
        let age_s = cells.optional_count(10)?;
        self.entry(key, |entry| {
            let arm = if canary { &mut entry.canary } else { &mut entry.control };
            arm.bad = arm.bad.saturating_add(distinct);
            arm.total = arm.total.saturating_add(total);
            entry.hosts.push(Host {
                name,
                canary,
                bad,
                total,
                distinct,
                age_s,
            });
        });
        Ok(())
    }

    fn entry(&mut self, key: (usize, usize), fill: impl FnOnce(&mut Entry)) {
        if let Some(span) = self.table.spans.last_mut() {
            fill(span.entries.entry(key).or_default());
        }
        self.table.rows += 1;
    }

    /// Where a row belongs: checks interval, batch, names, and that there is no other like it.
    fn place(&mut self, cells: &Cells<'_>, host: Option<&str>) -> Result<(usize, usize), Failure> {
        let (index, batch) = (cells.count(0)?, cells.count(1)?);
        let stratum = cells.name(2, "stratum")?;
        let metric = cells.name(3, "metric")?;
        let class = class(cells)?;
        self.open(cells, index, batch)?;
        let stratum = number(&mut self.strata, &mut self.table.strata, stratum, str::to_owned);
        let metric = number(&mut self.metrics, &mut self.table.metrics, metric, |name| {
            (name.to_owned(), class)
        });
        if metric >= 256 {
            return Err(cells.wrong(3, "is the 257th metric: judge at most 256 together"));
        }
        let before = self.table.metrics[metric].1;
        if before != class {
            let name = &self.table.metrics[metric].0;
            let what = format!(
                "`{}`, where earlier rows of `{name}` say `{}`: give a metric one class",
                class.as_str(),
                before.as_str()
            );
            return Err(cells.wrong(4, what));
        }
        if !self.seen.insert((stratum, metric, host.map(str::to_owned))) {
            let of = host.map_or_else(String::new, |name| format!(", host {name}"));
            let what = format!(
                "a second row for interval {index}, stratum {}, metric {}{of}: leave one out, or add them up",
                self.table.strata[stratum], self.table.metrics[metric].0
            );
            return Err(fault::line(cells.line, what));
        }
        Ok((stratum, metric))
    }

    /// Begins the interval of a row where it is new.
    fn open(&mut self, cells: &Cells<'_>, index: u64, batch: u64) -> Result<(), Failure> {
        if let Some(last) = self.table.spans.last_mut() {
            if index < last.index {
                let what = format!(
                    "interval {index} arrives late, after interval {} (line {}): sort by interval; each is judged once, in its turn",
                    last.index, last.line
                );
                return Err(cells.wrong(0, what));
            }
            if index == last.index {
                // Strata may be in different batches; traffic grows when the latest does.
                last.batch = last.batch.max(batch);
                return Ok(());
            }
        }
        self.close()?;
        self.seen.clear();
        self.table.spans.push(Span {
            index,
            batch,
            line: cells.line,
            entries: BTreeMap::new(),
        });
        Ok(())
    }

    /// An interval is complete: its latest batch is known.
    fn close(&self) -> Result<(), Failure> {
        if let [.., before, last] = self.table.spans.as_slice()
            && last.batch < before.batch
        {
            let what = format!(
                "goes back from {} (interval {}) to {} (interval {}): batches are numbered upwards",
                before.batch, before.index, last.batch, last.index
            );
            return Err(fault::at(last.line, "batch", what));
        }
        Ok(())
    }
}

fn class(cells: &Cells<'_>) -> Result<FaultClass, Failure> {
    let text = cells.text(4);
    FaultClass::from_word(text).ok_or_else(|| {
        let words = FaultClass::ALL.map(FaultClass::as_str);
        let fix = nearest(text, words).map_or_else(
            || format!("write one of {}", words.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        cells.wrong(4, format!("`{}` is no class of fault: {fix}", fault::shown(text)))
    })
}

fn counted(cells: &Cells<'_>, bad: usize, total: usize) -> Result<Counted, Failure> {
    let counted = Counted {
        bad: cells.count(bad)?,
        total: cells.count(total)?,
    };
    if counted.bad > counted.total {
        let what = format!(
            "{} bad of {} requests: count original requests, and each bad one once",
            counted.bad, counted.total
        );
        return Err(cells.wrong(bad, what));
    }
    Ok(counted)
}

/// The number of a name; a new one is appended to the list.
fn number<T>(
    numbers: &mut BTreeMap<String, usize>,
    list: &mut Vec<T>,
    name: &str,
    new: impl FnOnce(&str) -> T,
) -> usize {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    list.push(new(name));
    numbers.insert(name.to_owned(), list.len() - 1);
    list.len() - 1
}
