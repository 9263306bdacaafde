//! A summary for the tests.

use crate::{
    BatchView, ClassView, DecisionView, Evidence, EvidencePoint, Exposure, ExposurePoint, FaultView, HeldBy, HoldView,
    LanePoint, LaneView, Level, MovesView, Next, ReceiptView, Summary,
};

pub(super) const MIN: u64 = 60_000;
pub(super) const HOUR: u64 = 60 * MIN;

fn lane(name: &str, targets: u64, through_ms: Option<u64>, course: &[(u64, u64)]) -> LaneView {
    LaneView {
        lane: name.into(),
        targets,
        exposed: course.last().map_or(0, |point| point.1),
        through_ms,
        course: course
            .iter()
            .map(|&(at_ms, exposed)| LanePoint { at_ms, exposed })
            .collect(),
    }
}

/// A change of 23,871 targets, nine hours old, that began on Sunday 22 November 2026 at 02:00 UTC.
pub(super) fn sample() -> Summary {
    Summary {
        schema: 1,
        change: "mesh-1.9.2".into(),
        author: "li".into(),
        from: "1.9.1".into(),
        to: "1.9.2".into(),
        level: Level::L4,
        began_unix_ms: 1_795_312_800_000,
        elapsed_ms: 9 * HOUR,
        outcome: None,
        state: "baking".into(),
        state_since_ms: 8 * HOUR,
        freeze_ends_ms: None,
        ended_by: None,
        ask: None,
        asks: Vec::new(),
        exposure: Exposure {
            targets: 23_871,
            applications: 412,
            exposed: 1_193,
            in_flight: 12,
            exposed_applications: 38,
            worst_tier: Some("1".into()),
        },
        evidence: Evidence {
            value: 3.24,
            needed: 100.0,
            detail: String::new(),
            strongest: "Own resets: 98 of 1,204,311 against 71 of 1,198,020.".into(),
            scope: Some("stack=java".into()),
            faults: vec![FaultView {
                class: "own".into(),
                canary_bad: 98,
                canary_total: 1_204_311,
                control_bad: 49,
                control_total: 1_204_311,
            }],
            score: 61.0,
            borrowed: vec!["app-7".into()],
        },
        next: Next {
            what: "Batch 3 starts.".into(),
            at_ms: Some(9 * HOUR + 28 * MIN),
            budget_left: 0.97,
            eta_ms: Some(31 * HOUR),
            blocked_by: Some("quiet-hours".into()),
        },
        closed: 0,
        stuck: 0,
        lost: 0,
        data_until_ms: 9 * HOUR - 30_000,
        human_actions: 0,
        exposed_at_stop: None,
        rolled_back: 0,
        classes: ["fleet", "stack=java", "stack=go", "zone=a"]
            .map(|name| ClassView {
                name: name.into(),
                targets: 8_000,
                exposed: if name == "stack=java" { 4_000 } else { 80 },
                may_expose: 4_100,
                state: if name == "stack=java" { "suspected" } else { "gathering" }.into(),
                evidence: 12.34,
                needed: 20.0,
                requests: 1_234_567,
                borrowed: name == "zone=a",
            })
            .to_vec(),
        batches: vec![BatchView {
            index: 0,
            size: 24,
            cumulative: 24,
            began_ms: Some(MIN),
            ended_ms: Some(HOUR),
            control: "matched".into(),
        }],
        exposure_curve: vec![
            ExposurePoint {
                at_ms: 0,
                exposed: 0,
                in_flight: 0,
                lanes_begun: 0,
                lanes_through: 0,
            },
            ExposurePoint {
                at_ms: HOUR,
                exposed: 24,
                in_flight: 3,
                lanes_begun: 2,
                lanes_through: 0,
            },
            ExposurePoint {
                at_ms: 9 * HOUR,
                exposed: 1_193,
                in_flight: 12,
                lanes_begun: 38,
                lanes_through: 11,
            },
        ],
        lanes: vec![
            lane("search", 300, None, &[]),
            lane("pay", 90, None, &[(HOUR, 9), (4 * HOUR, 40)]),
            lane("ads", 12, Some(2 * HOUR), &[(HOUR, 2), (2 * HOUR, 12)]),
        ],
        evidence_curve: vec![
            EvidencePoint {
                at_ms: 0,
                ln_stop: 0.0,
                ln_safety: 0.0,
            },
            EvidencePoint {
                at_ms: 9 * HOUR,
                ln_stop: 1.17,
                ln_safety: 2.0,
            },
        ],
        holds: vec![HoldView {
            lane: "pay".into(),
            by: "quiet-hours".into(),
            reason: "Settlement.".into(),
            owner: "payments".into(),
            from_ms: HOUR,
            until_ms: None,
        }],
        held: vec![HeldBy {
            by: "quiet-hours".into(),
            owner: "payments".into(),
            lanes: 1,
            open: 1,
        }],
        decisions: vec![DecisionView {
            at_ms: HOUR,
            code: "batch.promoted".into(),
            text: "Went on after batch 1.".into(),
            otherwise: Some("Less evidence.".into()),
            count: 3,
        }],
        debts: Vec::new(),
        aside: Vec::new(),
        isolated: Vec::new(),
        receipt: ReceiptView {
            attempts: 1_193,
            done: 1_193,
            went_back: 0,
            modes: vec![("warm".into(), 1_193)],
            duration_ms: vec![(0.5, 8_200), (0.999, 31_000), (1.0, 131_000)],
            outage_ms: vec![(0.5, 40)],
            cut: 17,
            moves: MovesView::default(),
        },
    }
}

/// The same with no-break spaces as plain ones, so that expectations can be typed.
pub(super) fn plain(text: impl AsRef<str>) -> String {
    text.as_ref().replace('\u{a0}', " ")
}
