//! Fleets and policies as property tests draw them.

pub(crate) mod caller;
pub(crate) mod cases;

use proptest::prelude::*;
use unattended_batching::{Amount, Fleet, Policy, Ramp, count, pct};

/// One target as drawn: application, stack, zone (3 is none), readiness.
pub(crate) type Row = (u8, u8, u8, bool);

pub(crate) fn rows(apps: u8, most: usize) -> impl Strategy<Value = Vec<Row>> {
    // Squares make a few large applications and many small ones.
    let app = (0..=u32::from(apps) * u32::from(apps)).prop_map(|n| u8::try_from(n.isqrt()).unwrap());
    prop::collection::vec((app, 0_u8..2, 0_u8..4, prop::bool::weighted(0.9)), 1..most)
}

pub(crate) fn labels(row: &Row) -> Vec<(&'static str, &'static str)> {
    let stack = ("stack", ["java", "go"][usize::from(row.1)]);
    match ["z1", "z2", "z3"].get(usize::from(row.2)) {
        Some(zone) => vec![stack, ("zone", zone)],
        None => vec![stack],
    }
}

pub(crate) fn fleet(rows: &[Row]) -> Fleet {
    let mut builder = Fleet::builder();
    // So that every key exists, whatever was drawn.
    builder
        .push("anchor", "anchor", [("stack", "java"), ("zone", "z1")], true)
        .unwrap();
    for (n, row) in rows.iter().enumerate() {
        builder
            .push(&format!("t{n}"), &format!("app{}", row.0), labels(row), row.3)
            .unwrap();
    }
    builder.build().unwrap()
}

/// What a policy is made of: growth; caps per application, per zone, in total; spread and cover keys; holdback in percent.
type Drawn = (
    f64,
    Amount,
    Amount,
    Amount,
    Vec<&'static str>,
    Option<Vec<&'static str>>,
    u32,
);

pub(crate) fn policies() -> impl Strategy<Value = Policy> {
    let amount = prop_oneof![(1_u32..=60).prop_map(pct), (1_u32..6).prop_map(count)];
    let spread = prop::sample::subsequence(vec!["stack", "zone"], 0..=2);
    let cover = prop::option::of(prop::sample::subsequence(vec!["stack", "zone"], 0..=2));
    (
        1.2_f64..12.0,
        amount.clone(),
        amount.clone(),
        amount,
        spread,
        cover,
        0_u32..=50,
    )
        .prop_map(|(growth, per_app, per_zone, total, spread, cover, hold): Drawn| {
            let ramp = Ramp::geometric(count(1), growth).unwrap();
            let policy = Policy::new()
                .ramp(ramp)
                .per_app(per_app)
                .per_label("zone", per_zone)
                .total_in_flight(total);
            // With the exception for fixes, so that nobody's health keeps a fleet from being planned.
            let policy = policy
                .spread(spread)
                .holdback(pct(hold))
                .fix_in_flight_per_app(count(1));
            match cover {
                Some(keys) => policy.first_batch_covers(keys).unwrap(),
                None => policy,
            }
        })
}
