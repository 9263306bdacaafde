//! What rows add up to: every class hears its own strata only, and what may be left out changes nothing.

use crate::support::{SplitMix, config, interval, row, topology};
use unattended_health::{Counts, Interval, Judge, Row, RowError};

/// Rows of all strata: errors and slow requests of warm instances, errors of fresh ones, rare restarts.
fn rows(random: &mut SplitMix, index: u64) -> Interval {
    let mut rows = Vec::new();
    for stratum in 0..8 {
        let worse = if stratum % 2 == 1 { 1.7 } else { 1.0 };
        for metric in [0, 1] {
            let canary = random.counts(900, 1e-3 * worse);
            rows.push(row(stratum, metric, canary, random.counts(9_000, 1e-3)));
        }
        let restarted = Counts::new(u64::from(random.unit() < 0.1), 20);
        rows.push(row(stratum, 2, restarted, Counts::new(0, 90)));
        rows.push(Row {
            fresh: true,
            ..row(stratum, 0, random.counts(200, 2e-2), random.counts(9_000, 1e-3))
        });
    }
    interval(index, rows)
}

#[test]
fn a_class_is_what_a_judge_of_its_strata_alone_would_see() {
    let mut all = Judge::new(config(), topology(), &[]).unwrap();
    let mut alone: Vec<Judge> = (0..4).map(|_| all.clone()).collect();
    let mut random = SplitMix(41);
    for t in 0..40 {
        if t % 10 == 0 {
            all.step_traffic();
            alone.iter_mut().for_each(Judge::step_traffic);
        }
        let next = rows(&mut random, t);
        all.observe(&next).unwrap();
        for (class, judge) in (0..).zip(&mut alone) {
            let mut own = next.clone();
            own.rows
                .retain(|row| topology().strata[row.stratum as usize].classes.contains(&class));
            judge.observe(&own).unwrap();
        }
    }
    assert!(all.class_ln_e(1) > 3.0, "there is something to compare");
    for (class, judge) in (0..).zip(&alone) {
        let (of_all, of_its_own) = (all.class_ln_e(class), judge.pooled_ln_e());
        assert!((of_all - of_its_own).abs() < 1e-9, "{of_all} and {of_its_own}");
        let (of_all, of_its_own) = (all.safety(class), judge.pooled_safety());
        assert_eq!(of_all.requests_seen, of_its_own.requests_seen);
        for (a, b) in of_all.per_metric.iter().zip(&of_its_own.per_metric) {
            assert!((a.ln_relative - b.ln_relative).abs() < 1e-9 && (a.ln_absolute - b.ln_absolute).abs() < 1e-9);
        }
        for app in (0..4).filter(|app| judge.app_ln_e(*app).abs() > 0.0) {
            let strata = [app as usize * 2, app as usize * 2 + 1];
            let whole = strata.iter().all(|s| topology().strata[*s].classes.contains(&(class)));
            if whole {
                assert_eq!(all.app_ln_e(app).to_bits(), judge.app_ln_e(app).to_bits());
            }
        }
    }
}

#[test]
fn rows_without_events_of_metrics_not_required_may_be_left_out() {
    let (mut given, mut sparse) = (
        Judge::new(config(), topology(), &[]).unwrap(),
        Judge::new(config(), topology(), &[]).unwrap(),
    );
    let mut random = SplitMix(43);
    let mut left_out = 0;
    for t in 0..60 {
        let mut next = rows(&mut random, t);
        if t < 3 {
            // Before anything else arrives: not even the first restart may hang on such a row.
            next.rows.retain(|row| row.metric == 2 && row.canary.bad == 0);
        }
        if t % 20 == 2 {
            given.step_traffic();
            sparse.step_traffic();
        }
        let look = given.observe(&next).unwrap();
        let before = next.rows.len();
        next.rows
            .retain(|row| row.metric != 2 || row.canary.bad + row.control.bad > 0);
        left_out += before - next.rows.len();
        let same = sparse.observe(&next).unwrap();
        assert_eq!(look.ln_e.to_bits(), same.ln_e.to_bits());
        assert_eq!((given.verdict(), look.stopped), (sparse.verdict(), same.stopped));
        assert_eq!(given.score().to_bits(), sparse.score().to_bits());
        for class in 0..4 {
            let (a, b) = (given.safety(class), sparse.safety(class));
            assert_eq!((a.ln_s.to_bits(), a.satisfied), (b.ln_s.to_bits(), b.satisfied));
            assert_eq!(a.requests_seen, b.requests_seen);
        }
    }
    assert!(
        left_out > 300 && given.ln_e() > 0.5,
        "{left_out} rows, {}",
        given.ln_e()
    );
}

#[test]
fn rows_out_of_order_are_checked_for_doubles_too() {
    let mut judge = Judge::new(config(), topology(), &[]).unwrap();
    let (counts, more) = (Counts::new(1, 10), Counts::new(1, 100));
    let doubled = [5, 2, 5].map(|stratum| row(stratum, 1, counts, more)).to_vec();
    assert_eq!(
        judge.observe(&interval(0, doubled)),
        Err(RowError::DuplicateRow {
            stratum: 5,
            metric: 1,
            fresh: false,
            level: 0
        })
    );
    let last_is_wrong = vec![row(0, 0, counts, more), row(1, 0, counts, Counts::new(2, 1))];
    assert!(matches!(
        judge.observe(&interval(0, last_is_wrong)),
        Err(RowError::BadAboveTotal { stratum: 1, .. })
    ));
    assert!(judge.last_index().is_none() && judge.safety(0).requests_seen == 0);
}
