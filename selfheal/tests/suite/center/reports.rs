//! Reports that the network or somebody's malice has handled: replayed, reordered, oversized, forged, flooded.

use unattended_selfheal::{
    Center, CenterSettings, Event, HostId, Member, NodeId, Refusal, Report, ReportError, RouteId, Seen, ServiceId,
    ZoneId,
};

use super::world::Random;

fn center() -> Center {
    let mut center = Center::new(CenterSettings::default(), 1).unwrap();
    for node in 0..8 {
        let member = Member {
            node: NodeId(node),
            host: HostId(node),
            zone: ZoneId(node % 2),
            service: (node >= 4).then_some(ServiceId(1)),
            capacity_per_second: None,
        };
        center.on(Event::Member(member)).unwrap();
    }
    center
}

fn seen(target: u32, total: u32, failed: u32) -> Seen {
    Seen {
        target: NodeId(target),
        route: RouteId::ANY,
        total,
        failed,
        slow: 0,
    }
}

fn report(epoch: u64, sequence: u64, seen: Vec<Seen>) -> Report {
    Report { epoch, sequence, seen }
}

fn take(center: &mut Center, sender: u32, report: &Report) {
    center
        .on(Event::Report {
            sender: NodeId(sender),
            report: report.clone(),
        })
        .unwrap();
}

#[test]
fn what_is_replayed_or_overtaken_is_counted_and_not_taken() {
    let mut center = center();
    let first = report(5, 1, vec![seen(4, 3, 0)]);
    take(&mut center, 0, &first);
    take(&mut center, 0, &first);
    center.tick(250);
    assert_eq!(
        (center.report_counts().taken, center.report_counts().replayed),
        (1, 1),
        "within a period"
    );
    take(&mut center, 0, &first);
    assert_eq!(center.report_counts().replayed, 2, "after it");
    // Numbers 2 and 3 come after 4: they are lost, and known to be.
    take(&mut center, 0, &report(5, 4, vec![seen(4, 1, 0)]));
    center.tick(500);
    assert_eq!((center.report_counts().taken, center.report_counts().missing), (2, 2));
    take(&mut center, 0, &report(5, 3, vec![seen(4, 1, 0)]));
    assert_eq!(center.report_counts().replayed, 3);
    // A new life begins at 1, and the old one is over.
    take(&mut center, 0, &report(6, 1, vec![]));
    center.tick(750);
    take(&mut center, 0, &report(5, 5, vec![]));
    let counts = center.report_counts();
    assert_eq!((counts.taken, counts.missing, counts.stale), (3, 2, 1));
    // Within a period order does not matter.
    take(&mut center, 0, &report(6, 3, vec![]));
    take(&mut center, 0, &report(6, 2, vec![]));
    center.tick(1_000);
    assert_eq!((center.report_counts().taken, center.report_counts().missing), (5, 2));
}

#[test]
fn two_reports_of_one_number_are_both_not_taken() {
    for swap in [false, true] {
        let mut center = center();
        let mut both = [report(1, 1, vec![seen(4, 9, 9)]), report(1, 1, vec![seen(5, 9, 9)])];
        if swap {
            both.swap(0, 1);
        }
        both.iter().for_each(|report| take(&mut center, 0, report));
        center.tick(250);
        assert_eq!(
            (
                center.report_counts().contradicting,
                center.report_counts().taken,
                center.edges()
            ),
            (1, 0, 0)
        );
    }
}

#[test]
fn who_floods_is_heard_eight_times_a_period_whatever_the_order() {
    let mut edges = Vec::new();
    for backwards in [false, true] {
        let mut center = center();
        let mut numbers: Vec<u64> = (1..=30).collect();
        if backwards {
            numbers.reverse();
        }
        for number in numbers {
            take(
                &mut center,
                0,
                &report(1, number, vec![seen(4 + (number % 4) as u32, number as u32, 0)]),
            );
        }
        let commands = center.tick(250);
        assert_eq!((center.report_counts().taken, center.report_counts().flooded), (8, 22));
        edges.push((serde_json::to_string(&commands).unwrap(), center.edges()));
    }
    assert_eq!(edges[0], edges[1]);
}

#[test]
fn nobody_speaks_for_somebody_else_or_for_itself() {
    let mut center = center();
    let lie = report(1, 1, vec![seen(4, 50, 50)]);
    // The name is the transport's word. A report holds none that could be forged.
    assert_eq!(
        center.receive(NodeId(99), &lie.encode().unwrap()),
        Err(Refusal::Stranger(NodeId(99)))
    );
    assert_eq!(center.report_counts().strangers, 1);
    // What a sender reports moves its own sequence only.
    center
        .receive(NodeId(1), &report(u64::MAX, u64::MAX, vec![]).encode().unwrap())
        .unwrap();
    center.tick(250);
    center.receive(NodeId(0), &lie.encode().unwrap()).unwrap();
    center.tick(500);
    assert_eq!(center.report_counts().taken, 2);
    // Nodes that do not exist, that serve nothing, and the sender itself.
    take(
        &mut center,
        4,
        &report(1, 1, vec![seen(1, 5, 5), seen(4, 5, 0), seen(77, 5, 5)]),
    );
    center.tick(750);
    let counts = center.report_counts();
    assert_eq!((counts.unknown_targets, counts.own_praise, center.edges()), (2, 1, 1));
}

#[test]
fn bytes_that_are_no_report_are_refused_with_a_reason_and_counted() {
    let mut center = center();
    let good = report(1, 1, vec![seen(4, 9, 3), seen(5, 9, 0)]);
    let bytes = good.encode().unwrap();
    let mut refused = |bytes: &[u8]| match center.receive(NodeId(0), bytes) {
        Err(Refusal::Report(error)) => error,
        other => panic!("{other:?}"),
    };
    let malformed = ReportError::Malformed { known: 1 };
    assert_eq!(refused(&[]), malformed);
    assert_eq!(refused(&bytes[..bytes.len() - 1]), malformed, "breaks off");
    assert_eq!(refused(&[&bytes[..], &[0]].concat()), malformed, "goes on");
    assert_eq!(
        refused(&[&[2], &bytes[1..]].concat()),
        ReportError::Version { version: 2, known: 1 }
    );
    let large = vec![1; Report::MAX_BYTES + 1];
    assert_eq!(
        refused(&large),
        ReportError::Oversized {
            bytes: large.len(),
            limit: Report::MAX_BYTES
        }
    );
    // A length that promises more than there is allocates nothing.
    assert_eq!(refused(&[1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]), malformed);
    assert_eq!(center.report_counts().refused, 6);

    let encoded = |report: &Report| report.encode().unwrap_err();
    assert_eq!(encoded(&report(1, 0, vec![])), ReportError::Unnumbered);
    assert_eq!(
        encoded(&report(1, 1, vec![seen(5, 1, 0), seen(4, 1, 0)])),
        ReportError::Unsorted { line: 1 }
    );
    assert_eq!(
        encoded(&report(1, 1, vec![seen(5, 1, 0), seen(5, 1, 0)])),
        ReportError::Unsorted { line: 1 }
    );
    assert_eq!(
        encoded(&report(1, 1, vec![seen(5, 1, 2)])),
        ReportError::Counts { line: 0 }
    );
    let lines = |count: u32| report(1, 1, (0..count).map(|n| seen(n, u32::MAX, u32::MAX)).collect());
    assert_eq!(
        encoded(&lines(4_097)),
        ReportError::TooManyLines {
            lines: 4_097,
            limit: 4_096
        }
    );
    // Through the other door as well.
    let event = Event::Report {
        sender: NodeId(0),
        report: lines(4_097),
    };
    assert!(matches!(
        center.on(event),
        Err(Refusal::Report(ReportError::TooManyLines { .. }))
    ));
    // The largest that is allowed fits.
    let mut largest = lines(4_096);
    for (line, seen) in (0..).zip(&mut largest.seen) {
        seen.target = NodeId(u32::MAX - 4_096 + line);
        seen.route = RouteId(u32::MAX);
    }
    let bytes = Report {
        epoch: u64::MAX,
        sequence: u64::MAX,
        ..largest.clone()
    }
    .encode()
    .unwrap();
    assert!(bytes.len() <= Report::MAX_BYTES, "{}", bytes.len());
    assert_eq!(Report::decode(&bytes).unwrap().seen, largest.seen);
}

#[test]
fn a_lost_report_costs_its_own_counts_only() {
    // Deltas: whatever subset arrives, the sums are those of what arrived.
    let mut random = Random(3);
    let mut center = center();
    let (mut arrived, mut lost_between, mut lost_since) = (0, 0, 0);
    for number in 1..=40 {
        let lost = random.below(3) == 0;
        if !lost {
            take(&mut center, 0, &report(1, number, vec![seen(4, 1, 0)]));
            arrived += 1;
            lost_between += std::mem::take(&mut lost_since);
        } else {
            // Before the first nothing is missed: the center may be younger than the reporter.
            lost_since += u64::from(arrived > 0);
        }
        center.tick(number * 250);
    }
    assert_eq!(center.report_counts().taken, arrived);
    assert!(lost_between > 5);
    assert_eq!(center.report_counts().missing, lost_between);
}
