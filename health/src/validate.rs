//! Everything that can be wrong with input, checked before anything changes.

use crate::{
    Arm, Counts, Coverage, HostSample, Interval, JudgeConfig, JudgeError, MAX_COUNT, MAX_SAMPLE_HOSTS, PlannedSplit,
    Row, RowError, SignatureCounts, Topology,
};

pub(crate) fn config(config: &JudgeConfig) -> Result<(), JudgeError> {
    let check = |field: &str, value: f64, range: &'static str, good: bool| {
        if good {
            Ok(())
        } else {
            Err(JudgeError::Config {
                field: field.to_owned(),
                value,
                range,
            })
        }
    };
    let open = |value: f64| value > 0.0 && value < 1.0;
    check("alpha", config.alpha, "above 0 and below 1", open(config.alpha))?;
    check("beta", config.beta, "above 0 and below 1", open(config.beta))?;
    check(
        "delta",
        config.delta,
        "above 0, at most 100",
        config.delta > 0.0 && config.delta <= 100.0,
    )?;
    let limit = config.fresh_ratio_limit;
    check("fresh_ratio_limit", limit, "1 to 1e6", (1.0..=1e6).contains(&limit))?;
    check(
        "fresh_share",
        config.fresh_share,
        "at least 0 and below 1",
        (0.0..1.0).contains(&config.fresh_share),
    )?;
    check(
        "hold_at",
        config.hold_at,
        "above 1, finite",
        config.hold_at > 1.0 && config.hold_at.is_finite(),
    )?;
    check(
        "min_coverage",
        config.min_coverage,
        "0 to 1",
        (0.0..=1.0).contains(&config.min_coverage),
    )?;
    check(
        "min_silent_hosts",
        f64::from(config.min_silent_hosts),
        "at least 1",
        config.min_silent_hosts >= 1,
    )?;
    let dispersion = config.dispersion_default;
    check(
        "dispersion_default",
        dispersion,
        "1 to 50",
        (1.0..=50.0).contains(&dispersion),
    )?;

    let metrics = |reason: &str| {
        Err(JudgeError::Metrics {
            reason: reason.to_owned(),
        })
    };
    if config.metrics.is_empty() || config.metrics.len() > 256 {
        return metrics("a judge needs 1 to 256 metrics");
    }
    if !config.metrics.iter().any(|metric| metric.required) {
        return metrics("no metric is required, so nothing could ever be promoted");
    }
    for (i, metric) in config.metrics.iter().enumerate() {
        if config.metrics[..i].iter().any(|earlier| earlier.name == metric.name) {
            return metrics(&format!("two metrics are called {}", metric.name));
        }
        let weight = metric.weight;
        check(
            &format!("weight of {}", metric.name),
            weight,
            "above 0, at most 1e6",
            weight > 0.0 && weight <= 1e6,
        )?;
        let floor = metric.floor;
        check(
            &format!("floor of {}", metric.name),
            floor,
            "1e-12 to 0.5",
            (1e-12..=0.5).contains(&floor),
        )?;
    }
    Ok(())
}

pub(crate) fn topology(topology: &Topology) -> Result<(), JudgeError> {
    for (stratum, info) in topology.strata.iter().enumerate() {
        let wrong = |reason: String| Err(JudgeError::Topology { stratum, reason });
        if !usize::try_from(info.app).is_ok_and(|app| app < topology.apps.len()) {
            return wrong(format!(
                "application {} does not exist, there are {}",
                info.app,
                topology.apps.len()
            ));
        }
        for (i, class) in info.classes.iter().enumerate() {
            if !usize::try_from(*class).is_ok_and(|class| class < topology.classes.len()) {
                return wrong(format!(
                    "class {class} does not exist, there are {}",
                    topology.classes.len()
                ));
            }
            if info.classes[..i].contains(class) {
                return wrong(format!("class {class} is named twice"));
            }
        }
    }
    Ok(())
}

pub(crate) fn place(stratum: u32, metric: u8, strata: usize, metrics: usize) -> Result<(), RowError> {
    if !usize::try_from(stratum).is_ok_and(|stratum| stratum < strata) {
        return Err(RowError::Stratum { stratum, strata });
    }
    if usize::from(metric) >= metrics {
        return Err(RowError::Metric {
            stratum,
            metric,
            metrics,
        });
    }
    Ok(())
}

/// Whether the canary's exposure fits together with what is missing of it.
fn missing(row: &Row) -> Result<(), RowError> {
    if row.missing > MAX_COUNT - row.canary.total {
        return Err(RowError::Missing {
            stratum: row.stratum,
            metric: row.metric,
            missing: row.missing,
            total: row.canary.total,
        });
    }
    Ok(())
}

pub(crate) fn counts(stratum: u32, metric: u8, arm: Arm, counts: Counts) -> Result<(), RowError> {
    if counts.total > MAX_COUNT {
        return Err(RowError::TooLarge {
            stratum,
            metric,
            count: counts.total,
        });
    }
    if counts.bad > counts.total {
        return Err(RowError::BadAboveTotal {
            stratum,
            metric,
            arm,
            bad: counts.bad,
            total: counts.total,
        });
    }
    Ok(())
}

pub(crate) fn sample(sample: &HostSample, strata: usize, metrics: usize) -> Result<(), RowError> {
    let HostSample {
        stratum,
        metric,
        arm,
        fresh: _,
        ref hosts,
    } = *sample;
    place(stratum, metric, strata, metrics)?;
    if hosts.len() > MAX_SAMPLE_HOSTS {
        return Err(RowError::SampleTooLarge {
            stratum,
            metric,
            hosts: hosts.len(),
        });
    }
    for (at, host) in hosts.iter().enumerate() {
        // At most 64 of them.
        if hosts[..at].iter().any(|earlier| earlier.host == host.host) {
            let host = host.host;
            return Err(RowError::DuplicateHost { stratum, metric, host });
        }
        counts(stratum, metric, arm, Counts::new(host.bad, host.total))?;
        if host.distinct > host.bad {
            return Err(RowError::DistinctAboveBad {
                stratum,
                metric,
                distinct: host.distinct,
                bad: host.bad,
            });
        }
    }
    Ok(())
}

/// Rows in the order in which they are applied.
pub(crate) const fn key(row: &Row) -> (u32, u8, bool, u8) {
    (row.stratum, row.metric, row.fresh, row.level)
}

/// Checks everything; whether the rows are in order already, and no two alike. Where they are not in order, two alike show
/// only once they are sorted.
pub(crate) fn interval(
    interval: &Interval,
    last: Option<u64>,
    strata: usize,
    metrics: usize,
) -> Result<bool, RowError> {
    if let Some(last) = last {
        if interval.index == last {
            return Err(RowError::Duplicate { index: last });
        }
        if interval.index < last {
            return Err(RowError::Late {
                index: interval.index,
                last,
            });
        }
    }
    for (arm, coverage) in [
        (Arm::Canary, interval.canary_hosts),
        (Arm::Control, interval.control_hosts),
    ] {
        let Coverage { reported, expected } = coverage;
        if reported > expected {
            return Err(RowError::Coverage {
                arm,
                reported,
                expected,
            });
        }
    }
    let (good, sorted) = look_over(&interval.rows, strata, metrics);
    // One by one only to name the first that is wrong.
    for row in interval.rows.iter().filter(|_| !good) {
        place(row.stratum, row.metric, strata, metrics)?;
        counts(row.stratum, row.metric, Arm::Canary, row.canary)?;
        counts(row.stratum, row.metric, Arm::Control, row.control)?;
        missing(row)?;
    }
    interval
        .samples
        .iter()
        .try_for_each(|one| sample(one, strata, metrics))?;
    splits(&interval.splits, strata)?;
    interval.signatures.iter().try_for_each(signature)?;
    Ok(sorted)
}

fn splits(plans: &[PlannedSplit], strata: usize) -> Result<(), RowError> {
    let mut seen = std::collections::BTreeSet::new();
    for &PlannedSplit {
        stratum,
        canary,
        control,
    } in plans
    {
        place(stratum, 0, strata, 1)?;
        if canary == 0 || control == 0 || !seen.insert(stratum) {
            return Err(RowError::Split {
                stratum,
                canary,
                control,
            });
        }
    }
    Ok(())
}

fn signature(one: &SignatureCounts) -> Result<(), RowError> {
    let possible = |counts: Counts| counts.total <= MAX_COUNT && counts.bad <= counts.total;
    let named = (1..=256).contains(&one.signature.len());
    if named && possible(one.canary) && possible(one.control) {
        return Ok(());
    }
    Err(RowError::Signature {
        signature: one.signature.chars().take(64).collect(),
    })
}

/// Whether every row is possible, and whether their keys rise, in one pass without branches.
fn look_over(rows: &[Row], strata: usize, metrics: usize) -> (bool, bool) {
    let strata = u32::try_from(strata).unwrap_or(u32::MAX);
    let (mut good, mut sorted, mut last) = (true, true, 0);
    for row in rows {
        let possible = |counts: Counts| (counts.total <= MAX_COUNT) & (counts.bad <= counts.total);
        good &= (row.stratum < strata)
            & (usize::from(row.metric) < metrics)
            & possible(row.canary)
            & possible(row.control)
            & (row.missing <= MAX_COUNT.wrapping_sub(row.canary.total));
        // Above 0, so that the first row is in order too.
        let place = u64::from(row.stratum) << 8 | u64::from(row.metric);
        let key = (place << 9 | u64::from(row.fresh) << 8 | u64::from(row.level)) + 1;
        sorted &= key > last;
        last = key;
    }
    (good, sorted)
}

pub(crate) fn no_duplicates(sorted: &[Row]) -> Result<(), RowError> {
    match sorted.windows(2).find(|pair| key(&pair[0]) == key(&pair[1])) {
        None => Ok(()),
        Some(pair) => {
            let Row {
                stratum,
                metric,
                fresh,
                level,
                ..
            } = pair[0];
            Err(RowError::DuplicateRow {
                stratum,
                metric,
                fresh,
                level,
            })
        }
    }
}
