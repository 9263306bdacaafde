//! The wire: there and back, golden, hostile, and of other versions.

use proptest::prelude::*;
use unattended_handover::wire::{Frame, Listener, ListenerKind, MAX_FRAME, Secret, Snapshot, Status, WireError};
use unattended_handover::{Action, Agent, BatchId, ConnectionId, Decline, Generation, InstanceId, Refusal, Timing};

fn name() -> impl Strategy<Value = String> {
    "[a-z/0-9é]{1,40}"
}

fn status() -> impl Strategy<Value = Status> {
    any::<[bool; 4]>().prop_map(|[holds, polls, ready, committed]| Status {
        holds,
        polls,
        ready,
        committed,
    })
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (
        any::<u64>(),
        name(),
        1..=8_u8,
        prop::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(|(id, codec, descriptors, state)| Snapshot {
            id: ConnectionId(id),
            codec: codec.into(),
            descriptors,
            state,
        })
}

fn listener() -> impl Strategy<Value = Listener> {
    let kinds = prop::sample::select(vec![ListenerKind::Tcp, ListenerKind::Unix, ListenerKind::Udp]);
    (name(), kinds, any::<u64>()).prop_map(|(name, kind, cookie)| Listener { name, kind, cookie })
}

fn frame() -> impl Strategy<Value = Frame> {
    let batch = || any::<u64>().prop_map(BatchId);
    let declines = prop::sample::select(vec![
        Decline::NoCodec,
        Decline::Tls,
        Decline::TooLarge,
        Decline::Busy,
        Decline::BadState,
        Decline::NoRoom,
        Decline::Closing,
        Decline::Other,
    ]);
    let refusals = prop::sample::select(vec![
        Refusal::NoCommonVersion,
        Refusal::Stranger,
        Refusal::Stale,
        Refusal::Busy,
        Refusal::Itself,
        Refusal::Unclaimed,
        Refusal::OtherQueue,
        Refusal::Garbled,
        Refusal::Silent,
        Refusal::Leaving,
        Refusal::Broken,
        Refusal::Other,
    ]);
    prop_oneof![
        (
            1..9_u8,
            0..9_u8,
            any::<(u64, u128, u64)>(),
            prop::collection::vec(name(), 0..4)
        )
            .prop_map(|(low, more, (nonce, instance, generation), codecs)| Frame::Hello {
                versions: (low, low + more),
                nonce,
                instance: InstanceId(instance),
                generation: Generation(generation),
                codecs,
            }),
        refusals.prop_map(Frame::Refuse),
        (status(), any::<u32>()).prop_map(|(status, turn)| Frame::Beat { status, turn }),
        (0..9_u16, 1..9_u16, prop::collection::vec(listener(), 0..9)).prop_map(|(part, more, listeners)| {
            Frame::Listeners {
                part,
                parts: part + more,
                listeners,
            }
        }),
        prop::collection::vec(any::<u64>(), 0..9).prop_map(Frame::Claims),
        (name(), prop::collection::vec(any::<u8>(), 0..99)).prop_map(|(name, bytes)| Frame::Secret {
            name,
            bytes: Secret::new(bytes),
        }),
        (batch(), prop::collection::btree_map(any::<u64>(), snapshot(), 1..9)).prop_map(|(batch, all)| {
            // By number, so that none comes twice.
            let connections = all
                .into_iter()
                .map(|(id, one)| Snapshot {
                    id: ConnectionId(id),
                    ..one
                })
                .collect();
            Frame::Offer { batch, connections }
        }),
        (
            batch(),
            prop::collection::vec((any::<u64>().prop_map(ConnectionId), declines), 0..9)
        )
            .prop_map(|(batch, connections)| Frame::Rejected { batch, connections }),
        batch().prop_map(|batch| Frame::Adopted { batch }),
        batch().prop_map(|batch| Frame::Withdrawn { batch }),
        any::<(u64, u32)>().prop_map(|(generation, turn)| Frame::Return {
            generation: Generation(generation),
            turn,
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn a_frame_comes_back_as_it_was(frame in frame()) {
        let bytes = frame.encode().unwrap();
        prop_assert_eq!(Frame::decode(&bytes, frame.descriptors()).unwrap(), frame);
    }

    /// What a later version adds at the end of a frame is passed over.
    #[test]
    fn fields_of_a_later_version_are_passed_over(frame in frame(), tag in 100..=255_u8, more in prop::collection::vec(any::<u8>(), 0..30)) {
        let mut bytes = frame.encode().unwrap();
        bytes.push(tag);
        bytes.extend(u32::try_from(more.len()).unwrap().to_le_bytes());
        bytes.extend(&more);
        prop_assert_eq!(Frame::decode(&bytes, frame.descriptors()).unwrap(), frame);
    }

    /// Cut anywhere within a field it is an error; cut between two it may be a shorter frame, never a panic.
    #[test]
    fn a_part_of_a_frame_is_no_longer_frame(frame in frame(), at in any::<prop::sample::Index>()) {
        let bytes = frame.encode().unwrap();
        let part = &bytes[..at.index(bytes.len())];
        if let Ok(other) = Frame::decode(part, frame.descriptors()) {
            prop_assert!(other.encode().unwrap().len() <= part.len());
        }
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400), descriptors in 0..5_usize) {
        if let Ok(frame) = Frame::decode(&bytes, descriptors) {
            let known = !matches!(frame, Frame::Unknown(_));
            prop_assert!(!known || frame.descriptors() == descriptors);
        }
    }

    /// An agent takes whatever frames come, in whatever order, and goes on serving.
    #[test]
    fn an_agent_survives_any_frames(frames in prop::collection::vec(frame(), 0..40), greet in any::<bool>()) {
        let mut agent = serving();
        agent.ready(1, true);
        agent.connected(1, false, 0);
        if greet {
            agent.heard(2, hello((1, 1)));
        }
        for (frame, now_ms) in frames.into_iter().zip(3..) {
            agent.heard(now_ms, frame);
            while let Some(action) = agent.next() {
                match action {
                    Action::Prepare { batch, .. } => agent.prepared(batch, &std::collections::BTreeMap::new()),
                    Action::TakeToken { batch, own } => agent.token(now_ms, batch, own, true),
                    _ => {}
                }
            }
        }
        // Only a peer that was asked to, or says that it polls and turns everything back, may make it pause.
        agent.hung_up(100);
        prop_assert!(agent.status().polls && agent.status().holds);
    }
}

fn serving() -> Agent {
    let listener = Listener {
        name: "in".into(),
        kind: ListenerKind::Tcp,
        cookie: 1,
    };
    Agent::serving(InstanceId(1), vec![listener], vec!["relay/1".into()], Timing::default())
}

fn hello(versions: (u8, u8)) -> Frame {
    Frame::Hello {
        versions,
        nonce: 9,
        instance: InstanceId(2),
        generation: Generation(1),
        codecs: vec!["relay/1".into()],
    }
}

/// What the agent makes of a greeting, of who called it or of whom it has called.
fn greeted(versions: (u8, u8), calls: bool) -> (Agent, Vec<Action>) {
    let mut agent = serving();
    agent.connected(1, calls, 9);
    agent.heard(2, hello(versions));
    agent.heard(
        2,
        Frame::Beat {
            status: Status::default(),
            turn: 0,
        },
    );
    let actions = core::iter::from_fn(|| agent.next()).collect();
    (agent, actions)
}

#[test]
fn versions_are_agreed_upon_or_refused() {
    for calls in [true, false] {
        for versions in [(1, 1), (1, 2), (1, 9), (0, 1), (0, 9)] {
            let (agent, _) = greeted(versions, calls);
            assert_eq!(agent.peer().map(|peer| peer.version), Some(1), "{versions:?}");
        }
        // Later ones, earlier ones, and what is no range.
        for versions in [(2, 2), (2, 9), (0, 0), (9, 1)] {
            let (agent, actions) = greeted(versions, calls);
            assert!(agent.peer().is_none() && agent.status().polls);
            let refused = Action::Send(Frame::Refuse(Refusal::NoCommonVersion));
            assert!(actions.ends_with(&[refused, Action::Hang]), "{versions:?}: {actions:?}");
        }
    }
}

#[test]
fn a_frame_of_a_later_kind_is_passed_over() {
    let (mut agent, _) = greeted((1, 2), false);
    agent.heard(3, Frame::decode(&[200, 1, 2, 0, 0, 0, 5, 6], 0).unwrap());
    assert!(agent.peer().is_some());
    assert_eq!(agent.tally().unknown_frames, 1);
}

#[test]
fn a_secret_does_not_print() {
    let frame = Frame::Secret {
        name: "tickets".into(),
        bytes: Secret::new(b"hunter2".to_vec()),
    };
    assert!(!format!("{frame:?}").contains("hunter2"));
    assert!(!format!("{frame:?}").contains("104"));
}

#[test]
fn limits_are_kept_on_both_sides() {
    let long = Frame::Secret {
        name: "s".into(),
        bytes: Secret::new(vec![0; MAX_FRAME]),
    };
    assert!(matches!(long.encode(), Err(WireError::TooLong { .. })));
    assert!(matches!(
        Frame::decode(&vec![3; MAX_FRAME + 1], 0),
        Err(WireError::TooLong { .. })
    ));
    let listener = |cookie| Listener {
        name: format!("l{cookie}"),
        kind: ListenerKind::Tcp,
        cookie,
    };
    let many = Frame::Listeners {
        part: 0,
        parts: 1,
        listeners: (0..251).map(listener).collect(),
    };
    assert!(matches!(many.encode(), Err(WireError::Descriptors { said: 251, .. })));
}

/// The frames of version 1, as they were written when it was made. A change of one is another version.
#[test]
fn golden_frames_of_version_1() {
    let lines = include_str!("data/frames-v1.txt");
    let golden: Vec<(&str, Vec<u8>)> = lines
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, hex) = line.split_once(' ').unwrap();
            let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            (name, (0..hex.len()).step_by(2).map(digit).collect())
        })
        .collect();
    let frames = [
        ("hello", hello((1, 1))),
        ("refuse", Frame::Refuse(Refusal::Stale)),
        (
            "beat",
            Frame::Beat {
                status: Status {
                    holds: true,
                    polls: false,
                    ready: true,
                    committed: true,
                },
                turn: 258,
            },
        ),
        (
            "listeners",
            Frame::Listeners {
                part: 0,
                parts: 2,
                listeners: vec![Listener {
                    name: "in".into(),
                    kind: ListenerKind::Udp,
                    cookie: 77,
                }],
            },
        ),
        ("claims", Frame::Claims(vec![77])),
        (
            "secret",
            Frame::Secret {
                name: "t".into(),
                bytes: Secret::new(vec![1, 2]),
            },
        ),
        (
            "offer",
            Frame::Offer {
                batch: BatchId(3),
                connections: vec![Snapshot {
                    id: ConnectionId(4),
                    codec: "relay/1".into(),
                    descriptors: 2,
                    state: vec![5, 6],
                }],
            },
        ),
        (
            "rejected",
            Frame::Rejected {
                batch: BatchId(3),
                connections: vec![(ConnectionId(4), Decline::Tls)],
            },
        ),
        ("adopted", Frame::Adopted { batch: BatchId(3) }),
        ("withdrawn", Frame::Withdrawn { batch: BatchId(3) }),
        (
            "return",
            Frame::Return {
                generation: Generation(8),
                turn: 1,
            },
        ),
    ];
    assert_eq!(golden.len(), frames.len());
    for ((name, frame), (known, bytes)) in frames.iter().zip(&golden) {
        assert_eq!(name, known);
        assert_eq!(&frame.encode().unwrap(), bytes, "{name}");
        assert_eq!(&Frame::decode(bytes, frame.descriptors()).unwrap(), frame, "{name}");
    }
}

#[test]
fn a_whole_part_of_listeners_with_the_longest_names_fits_one_message() {
    let listeners = (0..250_u64)
        .map(|cookie| Listener {
            name: format!("{cookie:0>220}"),
            kind: ListenerKind::Tcp,
            cookie,
        })
        .collect();
    let frame = Frame::Listeners {
        part: 0,
        parts: 1,
        listeners,
    };
    let bytes = frame.encode().expect("it fits");
    assert_eq!(Frame::decode(&bytes, 250), Ok(frame));
}
