//! Journals of every version that there was are resumed, and end as they would have.
use crate::support::{Kill, World};
use futures::FutureExt;
use unattended_upgrade::*;

const FORMATS: [&str; 3] = [
    include_str!("../fixtures/format-1.txt"),
    include_str!("../fixtures/format-2.txt"),
    include_str!("../fixtures/format-3.txt"),
];

fn groups(text: &str) -> Vec<Group> {
    let bytes = |line: &str| {
        let byte = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        (0..line.len()).step_by(2).map(byte).collect()
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| Group::from_bytes(bytes(line)).unwrap()).collect()
}

/// The world as it was when the controller of the fixture fell.
fn world(text: &str) -> std::sync::Arc<World> {
    let world = World::new(Kill::at([]), World::able());
    for name in ["a", "b", "c", "d"] {
        let target = world.add(name);
        world.change(&target, |slot| match name {
            "a" => (slot.running, slot.instance) = ("new".into(), 2),
            "b" => slot.instance = 3,
            "c" => (slot.running, slot.instance, slot.closed) = ("new".into(), 2, true),
            _ => {
                (slot.running, slot.instance, slot.closed) = ("bad".into(), 2, true);
                slot.ordered = Some(("old".into(), 116_000));
            }
        });
    }
    world.clock.set(120_000);
    for group in groups(text) {
        world.journal.inner.append(&group).now_or_never().unwrap().unwrap();
    }
    world
}

#[test]
fn journals_of_every_format_are_resumed() {
    for (format, text) in (1..).zip(FORMATS) {
        for small in [false, true] {
            let world = world(text);
            if small {
                compact(world.journal.as_ref()).now_or_never().unwrap().unwrap();
            }
            let mut driver = world.driver();
            let ended = driver.recover().now_or_never().unwrap().unwrap();
            if !small {
                let ends: Vec<_> = ended
                    .iter()
                    .map(|end| (end.target.as_str(), end.retries, end.outage_ms))
                    .collect();
                assert_eq!(ends, [("b", 0, 20_000), ("a", 0, 30_000)], "format {format}");
            }
            assert_eq!(driver.outstanding(), 2);
            let receipts = world.run(&mut driver);
            let of = |name: &str| receipts.iter().find(|receipt| receipt.target.as_str() == name).unwrap();
            assert_eq!(of("c").terminal, Terminal::Done, "format {format}");
            assert!(
                matches!(of("d").terminal, Terminal::RolledBack { .. }),
                "format {format}"
            );
            assert_eq!((of("c").generation, of("d").generation), (Generation(2), Generation(2)));
            assert_eq!(of("c").started_ms, 95_000, "told by the begin that was written then");
            let counts = ["c", "d"].map(|name| (of(name).drained, of(name).cut, of(name).retries));
            let told = if format > 2 {
                [(2, 1, 1), (4, 0, 2)]
            } else {
                [(0, 0, 0); 2]
            };
            assert_eq!(counts, told, "format {format}");
            // What is written today is of today's format, and the whole is read again.
            let mut again = world.driver();
            let ended = again.recover().now_or_never().unwrap().unwrap();
            assert_eq!((ended.len(), again.outstanding()), (if small { 2 } else { 4 }, 0));
            let next = again.submit(Job::new("a", "new", "newer", Mode::Cold)).unwrap();
            assert_eq!(next, AttemptId(4), "numbers go on");
        }
    }
}

#[test]
fn a_journal_of_a_format_to_come_is_refused_with_words() {
    let world = World::new(Kill::at([]), World::able());
    let mut group = Group::new();
    group.push(Stream::UPGRADE, 1, &[9, 0]);
    world.journal.inner.append(&group).now_or_never().unwrap().unwrap();
    let error = world.driver().recover().now_or_never().unwrap().unwrap_err();
    assert!(error.to_string().contains("format Some(9)"), "{error}");
    assert!(error.to_string().contains("use the version that wrote it"), "{error}");
}
