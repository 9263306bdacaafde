//! The fuzz targets, on a corpus that a seed makes: sound messages with a few bytes changed, and bytes of no kind.

use proptest::prelude::*;
use unattended_handover::codec::{Relay, Unread, freeze};
use unattended_handover::wire::{Frame, Snapshot};
use unattended_handover::{BatchId, ConnectionId, Decline};

mod targets {
    #![expect(
        unreachable_pub,
        reason = "public in the crate of the fuzz targets, which this file is shared with"
    )]
    include!("../../../fuzz/src/handover.rs");
}

/// Sound messages, each with its length before it.
fn conversation() -> Vec<u8> {
    let frames = [
        Frame::Beat {
            status: unattended_handover::wire::Status::default(),
            turn: 0,
        },
        Frame::Offer {
            batch: BatchId(0),
            connections: vec![Snapshot {
                id: ConnectionId(9),
                codec: "relay/1".into(),
                descriptors: 1,
                state: vec![1],
            }],
        },
        Frame::Withdrawn { batch: BatchId(0) },
        Frame::Rejected {
            batch: BatchId(0),
            connections: vec![(ConnectionId(9), Decline::Tls)],
        },
        Frame::Claims(vec![1]),
    ];
    let encoded = frames.map(|frame| frame.encode().expect("a small frame"));
    encoded
        .into_iter()
        .flat_map(|bytes| core::iter::once(u8::try_from(bytes.len()).expect("a small frame")).chain(bytes))
        .collect()
}

/// Every kind of frame, each as the first that is said.
fn sound() -> impl Strategy<Value = Vec<u8>> {
    let golden = include_str!("data/frames-v1.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    let each = golden.map(|line| {
        let (name, hex) = line.split_once(' ').expect("a name and bytes");
        let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or_else(|_| panic!("{name}: no hex"));
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
        let length = u8::try_from(bytes.len()).expect("a small frame");
        core::iter::once(length).chain(bytes).collect()
    });
    prop::sample::select(each.chain([conversation()]).collect::<Vec<Vec<u8>>>())
}

fn changed(sound: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    prop::collection::vec(change, 0..4).prop_map(move |changes| {
        let mut bytes = sound.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, rng_seed: proptest::test_runner::RngSeed::Fixed(3), ..ProptestConfig::default() })]

    #[test]
    fn frames(bytes in prop_oneof![sound().prop_flat_map(changed), prop::collection::vec(any::<u8>(), 0..300)]) {
        targets::handover_frames(&bytes);
    }

    #[test]
    fn states(bytes in prop_oneof![
        changed(freeze(&Relay::default(), &Unread::default()).expect("a relay is at rest")),
        prop::collection::vec(any::<u8>(), 0..300),
    ]) {
        targets::handover_states(&bytes);
    }
}
