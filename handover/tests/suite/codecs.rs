//! Where a protocol may be cut: exactly between messages, however the bytes arrive.

use proptest::prelude::*;
use unattended_handover::Decline;
use unattended_handover::codec::{Codec, Framed, Http1, LengthField, Relay, Rest, Unread, freeze, thaw};

const FIELD: LengthField = LengthField {
    offset: 2,
    width: 4,
    more: 3,
    max: 1 << 20,
};

fn message(body: &[u8]) -> Vec<u8> {
    let mut all = vec![0xca, 0xfe];
    all.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    all.extend([1, 2, 3]);
    all.extend(body);
    all
}

/// An exchange: what is asked, what is answered.
type Exchange = (Vec<u8>, Vec<u8>);

fn exchange() -> impl Strategy<Value = Exchange> {
    let body = || prop::collection::vec(any::<u8>(), 0..40);
    let request = prop_oneof![
        Just(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec()),
        body().prop_map(|body| {
            let mut all = format!("POST /x HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
            all.extend(body);
            all
        }),
        body().prop_map(|body| [
            b"PUT / HTTP/1.1\r\nTransfer-Encoding:  Chunked \r\n\r\n".to_vec(),
            chunked(&body)
        ]
        .concat()),
    ];
    let answer = prop_oneof![
        Just(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n".to_vec()),
        body().prop_map(|body| {
            let mut all = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
            all.extend(body);
            all
        }),
        body().prop_map(|body| [
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
            chunked(&body)
        ]
        .concat()),
    ];
    (request, answer)
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in body.chunks(7) {
        all.extend(format!("{:x};ext=1\r\n", part.len()).bytes());
        all.extend(part);
        all.extend(b"\r\n");
    }
    all.extend(b"0\r\nTrailer: 1\r\n\r\n");
    all
}

/// Goes through exchanges byte by byte and in pieces, and checks that the codec is at rest exactly between them.
fn rests_between<C: Codec>(mut codec: C, exchanges: &[Exchange], piece: usize) {
    assert_eq!(codec.rest(), Rest::Now);
    for (asked, answered) in exchanges {
        for part in asked.chunks(piece) {
            codec.client_sent(part).unwrap();
            assert_eq!(codec.rest(), Rest::Wait, "a call is under way");
        }
        let whole = answered.len().div_ceil(piece);
        for (number, part) in answered.chunks(piece).enumerate() {
            codec.server_sent(part).unwrap();
            let wanted = if number + 1 == whole { Rest::Now } else { Rest::Wait };
            assert_eq!(codec.rest(), wanted, "piece {number} of {whole}");
        }
        // Cut here and carried over, it goes on.
        let unread = Unread {
            from_client: b"GET".to_vec(),
            from_server: Vec::new(),
        };
        let state = freeze(&codec, &unread).unwrap();
        let (carried, left) = thaw::<C>(&state).unwrap();
        assert_eq!(left, unread);
        codec = carried;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, rng_seed: proptest::test_runner::RngSeed::Fixed(11), ..ProptestConfig::default() })]

    #[test]
    fn http_rests_between_exchanges(exchanges in prop::collection::vec(exchange(), 1..5), piece in 1..50_usize) {
        rests_between(Http1::default(), &exchanges, piece);
    }

    #[test]
    fn framed_calls_rest_between_exchanges(
        bodies in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..40)), 1..5),
        piece in 1..50_usize,
    ) {
        let exchanges: Vec<_> = bodies.iter().map(|(asked, answered)| (message(asked), message(answered))).collect();
        rests_between(Framed::new(FIELD), &exchanges, piece);
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..20)) {
        let (mut http, mut framed) = (Http1::default(), Framed::new(FIELD));
        for (client, bytes) in &parts {
            let _ = if *client { http.client_sent(bytes) } else { http.server_sent(bytes) };
            let _ = if *client { framed.client_sent(bytes) } else { framed.server_sent(bytes) };
        }
        let _ = (http.rest(), framed.rest());
    }

    /// One wrong bit, and nobody goes on with it.
    #[test]
    fn a_garbled_state_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), bit in 0..8) {
        let unread = Unread { from_client: bytes, from_server: vec![7] };
        let mut state = freeze(&Relay::default(), &unread).unwrap();
        let at = at.index(state.len());
        state[at] ^= 1_u8 << bit;
        prop_assert_eq!(thaw::<Relay>(&state).map(|_| ()), Err(Decline::BadState));
    }
}

#[test]
fn a_state_of_another_codec_is_refused() {
    let state = freeze(&Relay::default(), &Unread::default()).unwrap();
    assert_eq!(thaw::<Http1>(&state).map(|_| ()), Err(Decline::BadState));
}

#[test]
fn a_relay_may_be_cut_until_both_are_done() {
    let mut relay = Relay::default();
    relay.client_sent(b"abc").unwrap();
    relay.client_done = true;
    let state = freeze(&relay, &Unread::default()).unwrap();
    assert_eq!(thaw::<Relay>(&state).unwrap().0, relay);
    relay.server_done = true;
    assert_eq!(freeze(&relay, &Unread::default()), Err(Decline::Closing));
}

#[test]
fn pipelined_requests_are_waited_for() {
    let mut http = Http1::default();
    http.client_sent(b"GET /a HTTP/1.1\r\n\r\nHEAD /b HTTP/1.1\r\n\r\n")
        .unwrap();
    http.server_sent(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")
        .unwrap();
    assert_eq!(http.rest(), Rest::Wait);
    // An answer to HEAD has no body, whatever it says.
    http.server_sent(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        .unwrap();
    assert_eq!(http.rest(), Rest::Now);
}

#[test]
fn a_tunnel_may_be_cut_anywhere() {
    for (asked, answered) in [
        ("CONNECT a:1 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
        (
            "GET /chat HTTP/1.1\r\nupgrade: websocket\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
        ),
    ] {
        let mut http = Http1::default();
        http.client_sent(asked.as_bytes()).unwrap();
        assert_eq!(http.rest(), Rest::Wait);
        http.server_sent(answered.as_bytes()).unwrap();
        http.client_sent(b"\x00\x01 no HTTP at all").unwrap();
        let state = freeze(&http, &Unread::default()).unwrap();
        let (mut http, _) = thaw::<Http1>(&state).unwrap();
        http.server_sent(b"HTTP/1.1 nor here").unwrap();
        assert_eq!(http.rest(), Rest::Now);
    }
    // A tunnel that was refused is none.
    let mut http = Http1::default();
    http.client_sent(b"CONNECT a:1 HTTP/1.1\r\n\r\n").unwrap();
    http.server_sent(b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno")
        .unwrap();
    assert_eq!(http.rest(), Rest::Now);
}

#[test]
fn what_two_readers_may_read_differently_never_moves() {
    for head in [
        "content-length: 1\r\ncontent-length: 1\r\n",
        "content-length: 1\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "content-length: +1\r\n",
        "content-length: 99999999999999999999\r\n",
        "content-length:\r\n",
    ] {
        let mut http = Http1::default();
        let request = format!("POST / HTTP/1.1\r\n{head}\r\n");
        assert_eq!(http.client_sent(request.as_bytes()), Err(Decline::BadState), "{head}");
        assert_eq!(http.rest(), Rest::Never(Decline::BadState));
    }
}

#[test]
fn what_ends_lines_for_one_reader_only_never_moves() {
    let mut http = Http1::default();
    let two = b"GET / HTTP/1.1\r\nHost: a\n\nGET /2 HTTP/1.1\r\n\r\n";
    assert_eq!(http.client_sent(two), Err(Decline::BadState));
    for body in ["\r\n", ";x\r\n", "1\r\nxyz", "zz\r\n", "1\nx\r\n0\r\n\r\n"] {
        let mut http = Http1::default();
        http.client_sent(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        assert_eq!(http.client_sent(body.as_bytes()), Err(Decline::BadState), "{body:?}");
    }
    let mut http = Http1::default();
    let old = b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(http.client_sent(old), Err(Decline::BadState));
}

#[test]
fn a_connection_that_is_about_to_close_stays() {
    for (asked, answered) in [
        (
            "GET / HTTP/1.1\r\nConnection: foo, Close\r\n\r\n",
            "HTTP/1.1 204 No\r\n\r\n",
        ),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 204 No\r\nconnection: close\r\n\r\n"),
        ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n"),
    ] {
        let mut http = Http1::default();
        http.client_sent(asked.as_bytes()).unwrap();
        http.server_sent(answered.as_bytes()).unwrap();
        assert_eq!(http.rest(), Rest::Never(Decline::Closing), "{asked}");
    }
    let mut http = Http1::default();
    http.client_sent(b"GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n")
        .unwrap();
    http.server_sent(b"HTTP/1.0 204 No\r\nconnection: keep-alive\r\n\r\n")
        .unwrap();
    assert_eq!(http.rest(), Rest::Now);
}

#[test]
fn a_connection_that_never_moves_costs_no_memory() {
    let mut http = Http1::default();
    assert_eq!(http.client_sent(&[b'x'; 70_000]), Err(Decline::TooLarge));
    for _ in 0..10 {
        assert_eq!(http.client_sent(&[b'x'; 70_000]), Err(Decline::BadState));
    }
    // Nothing but the mark that it is broken is left of it.
    assert!(format!("{http:?}").len() < 200);
}

#[test]
fn an_answer_that_ends_with_its_connection_stays() {
    let mut http = Http1::default();
    http.client_sent(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    http.server_sent(b"HTTP/1.0 200 OK\r\n\r\nall that comes").unwrap();
    assert_eq!(http.rest(), Rest::Never(Decline::Closing));
}

#[test]
fn a_message_longer_than_any_is_no_message() {
    let mut framed = Framed::new(FIELD);
    assert_eq!(
        framed.client_sent(&[0, 0, 0xff, 0xff, 0xff, 0xff]),
        Err(Decline::BadState)
    );
    assert_eq!(framed.rest(), Rest::Never(Decline::BadState));
    let mut framed = Framed::new(FIELD);
    // An answer to nothing.
    assert_eq!(framed.server_sent(&message(b"a")), Err(Decline::BadState));
}

#[test]
fn a_call_that_has_begun_says_where_it_ends() {
    let calls = [message(b"one"), message(b""), message(b"three")].concat();
    let ends = [message(b"one").len(), message(b"").len(), message(b"three").len()];
    for cut in 0..=calls.len() {
        let mut framed = Framed::new(FIELD);
        framed.client_sent(&calls[..cut]).unwrap();
        // From where the bytes were cut to the next end of a call; nothing at an end.
        let end = ends
            .iter()
            .scan(0, |sum, length| {
                *sum += length;
                Some(*sum)
            })
            .chain([0])
            .filter(|end| *end >= cut)
            .min()
            .unwrap();
        assert_eq!(framed.under_way(&calls[cut..]), end - cut, "cut at {cut}");
        // As many as there are, if the end is not among them.
        let few = &calls[cut..calls.len().min(cut + 1)];
        assert_eq!(framed.under_way(few), few.len().min(end - cut));
    }
}
