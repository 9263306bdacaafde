use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{Bencher, Criterion, Throughput};

/// The benchmarks of one file, and the table of ratios at their end.
///
/// [`measure`](Self::measure) both sides, [`compare`](Self::compare) them, [`finish`](Self::finish). Takes criterion's
/// arguments (`--measurement-time 3`, a filter, ...); comparisons of which a side was filtered out are left out.
pub struct Suite {
    criterion: Criterion,
    group: &'static str,
    /// Where criterion leaves the estimates of this group.
    directory: PathBuf,
    /// What ran in this process, with its operations per iteration.
    ran: BTreeMap<String, u64>,
    comparisons: Vec<Comparison>,
}

#[derive(Debug)]
struct Comparison {
    what: String,
    unit: &'static str,
    ours: String,
    yardstick: String,
    /// What the yardstick does.
    doing: &'static str,
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite")
            .field("group", &self.group)
            .field("ran", &self.ran)
            .field("comparisons", &self.comparisons)
            .finish_non_exhaustive()
    }
}

impl Suite {
    /// The group of this name. Ten samples of each measurement within about so many seconds, unless the program's
    /// arguments say otherwise: one second is enough for the ratio of two computations.
    #[must_use]
    pub fn new(group: &'static str, seconds: u64) -> Self {
        let home = home();
        let criterion = Criterion::default()
            .sample_size(10)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(seconds))
            .output_directory(&home)
            .configure_from_args();
        Self {
            criterion,
            group,
            directory: home.join(group),
            ran: BTreeMap::new(),
            comparisons: Vec::new(),
        }
    }

    /// Measures `routine`, of which one iteration is `operations` operations. `name` also names a directory: letters,
    /// digits and underscores, at most 64.
    pub fn measure(&mut self, name: &str, operations: u64, mut routine: impl FnMut(&mut Bencher<'_>)) {
        debug_assert!(name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        // So that what is found afterwards is of this run. A failure leaves a file that is overwritten, if anything.
        let _ = std::fs::remove_file(estimates(&self.directory, name));
        let mut ran = false;
        let mut group = self.criterion.benchmark_group(self.group);
        group.throughput(Throughput::Elements(operations));
        group.bench_function(name, |bencher| {
            ran = true;
            routine(bencher);
        });
        group.finish();
        if ran {
            self.ran.insert(name.to_owned(), operations);
        }
    }

    /// Asks for a line of the table: `ours` beside `yardstick`, which does `doing`, both per `unit`.
    pub fn compare(&mut self, what: &str, unit: &'static str, ours: &str, yardstick: &str, doing: &'static str) {
        self.comparisons.push(Comparison {
            what: what.to_owned(),
            unit,
            ours: ours.to_owned(),
            yardstick: yardstick.to_owned(),
            doing,
        });
    }

    /// Prints the table, if anything was measured: a run that only tests measures nothing.
    pub fn finish(self) {
        self.criterion.final_summary();
        if let Some(table) = table(self.group, &self.directory, &self.ran, &self.comparisons) {
            println!("\n{table}");
        }
    }
}

/// Criterion's own choice where the environment names a directory; beside the profile's directory otherwise.
fn home() -> PathBuf {
    if let Some(home) = std::env::var_os("CRITERION_HOME") {
        return home.into();
    }
    // target/release/deps/batching-0123456789abcdef
    let target = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.ancestors().nth(3).map(Path::to_path_buf));
    target.unwrap_or_else(|| "target".into()).join("criterion")
}

fn estimates(group: &Path, name: &str) -> PathBuf {
    group.join(name).join("new").join("estimates.json")
}

/// Nanoseconds: a median and its 95 % interval.
#[derive(Clone, Copy, Debug)]
struct Time {
    low: f64,
    median: f64,
    high: f64,
}

impl Time {
    /// Of one iteration, as criterion wrote it down.
    fn read(group: &Path, name: &str) -> Option<Self> {
        let text = std::fs::read_to_string(estimates(group, name)).ok()?;
        let value: serde_json::Value = serde_json::from_str(&text).ok()?;
        let median = &value["median"];
        let bounds = &median["confidence_interval"];
        Some(Self {
            low: bounds["lower_bound"].as_f64()?,
            median: median["point_estimate"].as_f64()?,
            high: bounds["upper_bound"].as_f64()?,
        })
    }

    /// Of one of so many operations.
    #[expect(clippy::cast_precision_loss, reason = "operations are far below 2^53")]
    fn per(self, operations: u64) -> Self {
        let each = 1.0 / operations as f64;
        Self {
            low: self.low * each,
            median: self.median * each,
            high: self.high * each,
        }
    }

    fn text(self) -> String {
        let (value, unit) = match self.median {
            ns if ns < 1e3 => (ns, "ns"),
            ns if ns < 1e6 => (ns / 1e3, "µs"),
            ns if ns < 1e9 => (ns / 1e6, "ms"),
            ns => (ns / 1e9, "s"),
        };
        format!("{} {unit}", three_digits(value))
    }
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// The table, `None` without a single line.
fn table(group: &str, directory: &Path, ran: &BTreeMap<String, u64>, comparisons: &[Comparison]) -> Option<String> {
    let time = |name: &str| Some(Time::read(directory, name)?.per(*ran.get(name)?));
    let mut lines = vec![["", "per", "ours", "yardstick", "ratio", "from", "to", ""].map(str::to_owned)];
    for comparison in comparisons {
        let (Some(ours), Some(other)) = (time(&comparison.ours), time(&comparison.yardstick)) else {
            continue;
        };
        lines.push([
            comparison.what.clone(),
            comparison.unit.to_owned(),
            ours.text(),
            other.text(),
            three_digits(ours.median / other.median),
            three_digits(ours.low / other.high),
            three_digits(ours.high / other.low),
            comparison.doing.to_owned(),
        ]);
    }
    if lines.len() == 1 {
        return None;
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut text =
        format!("{group}: ours beside a yardstick, medians of this run; from, to: their 95 % intervals apart\n");
    for line in &lines {
        let mut row = String::new();
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let cell = match column {
                0 | 1 | 7 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            };
            row.push_str("  ");
            row.push_str(&cell);
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, name: &str, [low, median, high]: [f64; 3]) {
        let file = estimates(directory, name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let interval = format!(r#"{{"confidence_level": 0.95, "lower_bound": {low}, "upper_bound": {high}}}"#);
        let median = format!(r#"{{"confidence_interval": {interval}, "point_estimate": {median}}}"#);
        std::fs::write(file, format!(r#"{{"mean": {{}}, "median": {median}}}"#)).unwrap();
    }

    fn comparison(ours: &str, yardstick: &str) -> Comparison {
        Comparison {
            what: format!("{ours} on {yardstick}"),
            unit: "row",
            ours: ours.to_owned(),
            yardstick: yardstick.to_owned(),
            doing: "next to nothing",
        }
    }

    #[test]
    fn a_ratio_is_of_operations_and_only_of_this_run() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "ours", [900.0, 1_000.0, 1_200.0]);
        write(directory.path(), "floor", [4_000.0, 5_000.0, 6_000.0]);
        write(directory.path(), "stale", [1.0, 1.0, 1.0]);
        let ran = BTreeMap::from([
            ("ours".to_owned(), 10),
            ("floor".to_owned(), 100),
            ("silent".to_owned(), 1),
        ]);
        let wanted = [
            comparison("ours", "floor"),
            comparison("ours", "stale"),
            comparison("silent", "floor"),
        ];
        let table = table("group", directory.path(), &ran, &wanted).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        // 100 ns beside 50 ns; 90 / 60 and 120 / 40.
        let cells: Vec<&str> = lines[2].split_whitespace().collect();
        let expected = "ours on floor row 100 ns 50.0 ns 2.00 1.50 3.00 next to nothing";
        assert_eq!(cells, expected.split(' ').collect::<Vec<_>>());
    }

    #[test]
    fn nothing_measured_is_no_table() {
        let directory = tempfile::tempdir().unwrap();
        let ran = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 1)]);
        assert_eq!(table("group", directory.path(), &ran, &[comparison("a", "b")]), None);
    }

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let text = |median| {
            Time {
                low: 0.0,
                median,
                high: 0.0,
            }
            .text()
        };
        assert_eq!(
            [0.4321, 43.21, 432.1, 4_321.0, 43_210_000.0, 4.321e9].map(text),
            ["0.43 ns", "43.2 ns", "432 ns", "4.32 µs", "43.2 ms", "4.32 s"]
        );
    }
}
