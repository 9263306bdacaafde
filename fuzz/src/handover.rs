use std::collections::BTreeMap;

use unattended_handover::codec::{Codec, Framed, Http1, LengthField, Relay, Rest, freeze, thaw};
use unattended_handover::wire::{Frame, Listener, ListenerKind};
use unattended_handover::{Action, Agent, InstanceId, Refusal, Timing};

/// Any bytes as what the other process says, after a greeting: the first byte of each message says how long it is.
pub fn handover_frames(data: &[u8]) {
    let listener = Listener { name: "in".into(), kind: ListenerKind::Tcp, cookie: 1 };
    let mut agent = Agent::serving(InstanceId(1), vec![listener], vec!["relay/1".into()], Timing::default());
    agent.connected(1, false, 0);
    let greeting = Frame::Hello {
        versions: (1, 1),
        nonce: 1,
        instance: InstanceId(2),
        generation: unattended_handover::Generation(1),
        codecs: vec!["relay/1".into()],
    };
    agent.heard(1, greeting);
    let (mut rest, mut now_ms) = (data, 1);
    while let Some((length, after)) = rest.split_first() {
        let (message, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        now_ms += 100;
        let descriptors = Frame::decode(message, 0).map_or_else(
            |error| match error {
                unattended_handover::wire::WireError::Descriptors { said, .. } => said,
                _ => 0,
            },
            |frame| frame.descriptors(),
        );
        match Frame::decode(message, descriptors) {
            Ok(frame) => {
                if !matches!(frame, Frame::Unknown(_)) {
                    let again = frame.encode().expect("what was read can be written");
                    assert_eq!(Frame::decode(&again, descriptors).as_ref(), Ok(&frame));
                }
                agent.heard(now_ms, frame);
            }
            Err(_) => agent.give_up(now_ms, Refusal::Garbled),
        }
        while let Some(action) = agent.next() {
            assert!(action != Action::Leave, "nobody told it to leave");
            match action {
                Action::Prepare { batch, .. } => agent.prepared(batch, &BTreeMap::new()),
                Action::TakeToken { batch, own } => agent.token(now_ms, batch, own, true),
                _ => {}
            }
        }
        agent.tick(now_ms);
    }
    agent.hung_up(now_ms);
    assert!(agent.status().holds && agent.status().polls, "alone, it serves");
}

/// Any bytes as a connection's state, and as what passes on a connection: the first bit of each piece says which way.
pub fn handover_states(data: &[u8]) {
    fn state<C: Codec + PartialEq + std::fmt::Debug>(data: &[u8]) {
        if let Ok((codec, unread)) = thaw::<C>(data) {
            assert_eq!(thaw::<C>(&freeze(&codec, &unread).unwrap_or_default()).map(|(again, _)| again).ok(), Some(codec));
        }
    }
    state::<Http1>(data);
    state::<Framed>(data);
    // A relay that both have ended may be written down by an enemy only; it is at rest for nobody.
    let _ = thaw::<Relay>(data);
    let field = LengthField { offset: 1, width: 2, more: 0, max: 4_096 };
    let (mut http, mut framed) = (Http1::default(), Framed::new(field));
    for piece in data.chunks(5) {
        let (client, bytes) = (piece[0] & 1 == 0, &piece[1..]);
        let passed = if client { http.client_sent(bytes) } else { http.server_sent(bytes) };
        assert!(passed.is_ok() || matches!(http.rest(), Rest::Never(_)), "what is broken never moves");
        let passed = if client { framed.client_sent(bytes) } else { framed.server_sent(bytes) };
        assert!(passed.is_ok() || matches!(framed.rest(), Rest::Never(_)), "what is broken never moves");
    }
}
