//! Intervals as bytes: nothing is lost, nothing panics, little is needed.

use crate::support::{SplitMix, interval, row};
use proptest::prelude::*;
use unattended_health::{
    Arm, ClassTotals, Counts, Coverage, DecodeError, FaultClass, HostCounts, HostSample, Interval, PlannedSplit, Row,
    SignatureCounts,
};

fn counts() -> impl Strategy<Value = Counts> {
    let small = (0..5_u64, 0..10_000_u64).prop_map(|(bad, total)| Counts { bad, total });
    let any = (any::<u64>(), any::<u64>()).prop_map(|(bad, total)| Counts { bad, total });
    prop_oneof![3 => small, 1 => any]
}

fn intervals() -> impl Strategy<Value = Interval> {
    let extra = || prop_oneof![3 => Just(0), 1 => any::<u64>()];
    let rows = (
        any::<u32>(),
        any::<u8>(),
        any::<bool>(),
        counts(),
        counts(),
        extra(),
        extra(),
    )
        .prop_map(|(stratum, metric, fresh, canary, control, missing, level)| Row {
            stratum,
            metric,
            fresh,
            level: level.to_le_bytes()[0],
            canary,
            control,
            missing,
        });
    let host = (any::<u32>(), any::<u8>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
        |(host, level, bad, total, distinct)| HostCounts {
            host,
            level,
            bad,
            total,
            distinct,
        },
    );
    let arm = prop_oneof![Just(Arm::Canary), Just(Arm::Control)];
    let samples = (
        any::<u32>(),
        any::<u8>(),
        arm,
        any::<bool>(),
        prop::collection::vec(host, 0..=64),
    )
        .prop_map(|(stratum, metric, arm, fresh, hosts)| HostSample {
            stratum,
            metric,
            arm,
            fresh,
            hosts,
        });
    let class = proptest::sample::select(FaultClass::ALL.to_vec());
    let totals =
        (class, counts(), counts()).prop_map(|(class, canary, control)| ClassTotals { class, canary, control });
    let splits = (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(stratum, canary, control)| PlannedSplit {
        stratum,
        canary,
        control,
    });
    let signatures = (".{0,8}", counts(), counts()).prop_map(|(signature, canary, control)| SignatureCounts {
        signature,
        canary,
        control,
    });
    let coverage = (any::<u32>(), any::<u32>()).prop_map(|(reported, expected)| Coverage { reported, expected });
    (
        any::<u64>(),
        any::<u64>(),
        prop::collection::vec(rows, 0..30),
        prop::collection::vec(samples, 0..3),
        prop::collection::vec(totals, 0..4),
        (
            prop::collection::vec(splits, 0..3),
            prop::collection::vec(signatures, 0..3),
        ),
        coverage.clone(),
        coverage,
    )
        .prop_map(
            |(index, end_ms, rows, samples, totals, (splits, signatures), canary_hosts, control_hosts)| Interval {
                index,
                end_ms,
                rows,
                samples,
                totals,
                splits,
                signatures,
                canary_hosts,
                control_hosts,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(interval in intervals()) {
        let mut bytes = vec![7];
        interval.encode(&mut bytes);
        prop_assert_eq!(bytes[0], 7, "it appends");
        prop_assert_eq!(Interval::decode(&bytes[1..]), Ok(interval));
    }

    #[test]
    fn every_cut_and_every_addition_is_noticed(interval in intervals(), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        interval.encode(&mut bytes);
        let cut = cut.index(bytes.len());
        prop_assert!(Interval::decode(&bytes[..cut]).is_err());
        bytes.push(0);
        prop_assert_eq!(Interval::decode(&bytes), Err(DecodeError::Trailing { at: bytes.len() - 1 }));
    }

    #[test]
    fn garbage_is_refused_or_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Interval::decode(&bytes);
        if let Some(version) = bytes.first_mut() {
            *version = 2;
        }
        if let Ok(interval) = Interval::decode(&bytes) {
            prop_assert!(interval.rows.len() <= bytes.len() / 2);
        }
    }

    #[test]
    fn a_flipped_bit_does_not_panic(interval in intervals(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = Vec::new();
        interval.encode(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = Interval::decode(&bytes);
    }
}

#[test]
fn a_length_that_cannot_be_true_allocates_nothing() {
    // Version, index, end, coverage twice, then 2^63 rows.
    let mut bytes = vec![2, 0, 0, 0, 0, 0, 0];
    bytes.extend([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
    let error = Interval::decode(&bytes).unwrap_err();
    assert!(
        matches!(
            error,
            DecodeError::Range {
                field: "number of rows",
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(Interval::decode(&[9]), Err(DecodeError::Version { found: 9 }));
    assert_eq!(Interval::decode(&[]), Err(DecodeError::Truncated { at: 0 }));
    assert!(
        Interval::decode(&[2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err(),
        "above 2^64"
    );
}

#[test]
fn a_row_of_a_large_fleet_takes_at_most_seven_bytes() {
    let mut random = SplitMix(1);
    let mut rows = Vec::new();
    for stratum in 0..5_000 {
        let (canary, control) = (100 + random.next() % 5_000, 20_000 + random.next() % 100_000);
        for metric in 0..2 {
            rows.push(row(
                stratum,
                metric,
                random.counts(canary, 1e-3),
                random.counts(control, 1e-3),
            ));
        }
    }
    let interval = interval(1_000, rows);
    let mut bytes = Vec::new();
    interval.encode(&mut bytes);
    assert!(
        bytes.len() <= 7 * interval.rows.len(),
        "{} bytes for {} rows",
        bytes.len(),
        interval.rows.len()
    );
}
