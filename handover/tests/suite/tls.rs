//! TLS connections stay where they are, and their clients resume at the new process by the keys that came over.
//!
//! `data/localhost.*.der` were made for this test, and are worth nothing elsewhere:
//! `openssl req -x509 -new -key ED25519 -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext
//! basicConstraints=critical,CA:FALSE -days 36500`.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use unattended_handover::wire::{Listener, ListenerKind, Secret, Snapshot};
use unattended_handover::{
    Agent, Answer, Channel, ConnectionId, Decline, Frozen, Generation, Handover, Host, InstanceId, Order, Timing,
};

const CERTIFICATE: &[u8] = include_bytes!("data/localhost.cert.der");
const PRIVATE_KEY: &[u8] = include_bytes!("data/localhost.key.der");

/// What the programs call the keys of their tickets.
const TICKETS: &str = "tls/tickets";

/// A moment in 2027: certificates and tickets are not to depend on the machine's clock.
#[derive(Debug)]
struct Then;

impl TimeProvider for Then {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Seals tickets with a key that somebody else can be given, which the library's own ticketer does not.
#[derive(Debug)]
struct Tickets(LessSafeKey);

impl Tickets {
    fn new(key: &[u8]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).unwrap()))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3_600
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let with = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(with, Aad::empty(), &mut sealed).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let with = Nonce::assume_unique_for_key(*nonce);
        let plain = self.0.open_in_place(with, Aad::empty(), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

/// A program that serves TLS, as far as the hand-over has to do with it.
#[derive(Debug, Default)]
struct Program {
    listener: Option<OwnedFd>,
    secrets: BTreeMap<String, Secret>,
    /// Connections that shall come to rest, and those that were asked to end.
    freezing: Vec<ConnectionId>,
    draining: Vec<ConnectionId>,
}

impl Program {
    /// As it would be built at start, with keys that came over or keys of its own.
    fn tls(&self, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from(CERTIFICATE);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(PRIVATE_KEY));
        let mut config = ServerConfig::builder_with_details(provider(), Arc::new(Then))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let mut own = [0; 32];
        SystemRandom::new().fill(&mut own).unwrap();
        config.ticketer = Arc::new(Tickets::new(self.secrets.get(TICKETS).map_or(&own, Secret::reveal)));
        Arc::new(config)
    }
}

impl Host for Program {
    type Prepared = ();

    fn poll(&mut self, _on: bool) {}

    fn bind(&mut self) -> Vec<Listener> {
        Vec::new()
    }

    fn listener(&self, _name: &str) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(OwnedFd::as_fd)
    }

    fn claim(&mut self, listeners: Vec<(Listener, OwnedFd)>) -> Result<(), String> {
        self.listener = listeners.into_iter().next().map(|(_, descriptor)| descriptor);
        Ok(())
    }

    fn disclaim(&mut self) {}

    fn keep(&mut self, name: &str, secret: &Secret) {
        self.secrets.insert(name.to_owned(), secret.clone());
    }

    fn freeze(&mut self, id: ConnectionId) {
        self.freezing.push(id);
    }

    fn thaw(&mut self, _id: ConnectionId, _frozen: Option<Frozen>) {}

    fn drain(&mut self, id: ConnectionId) {
        self.draining.push(id);
    }

    fn moved(&mut self, _id: ConnectionId) {}

    fn prepare(&mut self, _frozen: Frozen) -> Result<(), Decline> {
        Err(Decline::Tls)
    }

    fn own(&mut self, _id: ConnectionId, (): ()) {}

    fn leave(&mut self) {}
}

/// What both ends have said, until neither has more to say; how often the client had to wait for an answer before it could
/// speak to the application.
fn handshake(client: &mut ClientConnection, server: &mut ServerConnection) -> u32 {
    let mut round_trips = 0;
    loop {
        let waits = client.is_handshaking();
        let (mut out, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut out).unwrap();
        }
        let mut out = &out[..];
        while !out.is_empty() {
            server.read_tls(&mut out).unwrap();
            server.process_new_packets().unwrap();
        }
        while server.wants_write() {
            server.write_tls(&mut back).unwrap();
        }
        if back.is_empty() {
            return round_trips;
        }
        round_trips += u32::from(waits);
        let mut back = &back[..];
        while !back.is_empty() {
            client.read_tls(&mut back).unwrap();
            client.process_new_packets().unwrap();
        }
    }
}

fn client(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(CERTIFICATE)).unwrap();
    let config = ClientConfig::builder_with_details(provider(), Arc::new(Then))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn connect(config: &Arc<ClientConfig>, to: &Arc<ServerConfig>) -> (HandshakeKind, u32, ServerConnection) {
    let name = "localhost".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(to)).unwrap();
    let round_trips = handshake(&mut client, &mut server);
    assert_eq!(client.handshake_kind(), server.handshake_kind());
    (server.handshake_kind().unwrap(), round_trips, server)
}

/// Two programs of which the one serves; `share`: it gives its keys along.
fn processes(key: &[u8], share: bool) -> [Handover<Program>; 2] {
    let listener: OwnedFd = TcpListener::bind("127.0.0.1:0").unwrap().into();
    let described = Listener {
        name: "in".into(),
        kind: ListenerKind::Tcp,
        cookie: rustix::net::sockopt::socket_cookie(&listener).unwrap(),
    };
    let serves = Program {
        listener: Some(listener),
        secrets: [(TICKETS.to_owned(), Secret::new(key.to_vec()))].into(),
        ..Program::default()
    };
    let old = Agent::serving(InstanceId(1), vec![described], Vec::new(), Timing::default());
    let new = Agent::waiting(InstanceId(2), Vec::new(), Timing::default());
    let mut both = [
        Handover::new(old, serves, None),
        Handover::new(new, Program::default(), None),
    ];
    if share {
        both[0].share(0, TICKETS.to_owned(), Secret::new(key.to_vec())).unwrap();
    }
    let (one, other) = Channel::pair().unwrap();
    both[0].begin(0, one, false, 0);
    both[1].begin(0, other, true, 1);
    both[1].ready(0, true);
    both
}

fn order(both: &mut [Handover<Program>; 2], to: usize, order: Order) {
    for _ in 0..4 {
        both[0].turn(0);
        both[1].turn(0);
    }
    assert_eq!(both[to].order(0, Generation(1), order), Answer::Applied, "{order:?}");
    for _ in 0..4 {
        both[0].turn(0);
        both[1].turn(0);
    }
}

#[test]
fn a_client_of_the_old_process_resumes_at_the_new_one() {
    // Version, and round trips of a full handshake: the newer one needs no more, and saves certificate and signature.
    for (version, full) in [(&rustls::version::TLS12, 2), (&rustls::version::TLS13, 1)] {
        for shared in [true, false] {
            let mut key = [0; 32];
            SystemRandom::new().fill(&mut key).unwrap();
            let mut both = processes(&key, shared);
            let config = client(version);
            let old = both[0].host().tls(version);
            let (kind, round_trips, _connection) = connect(&config, &old);
            assert_eq!((kind, round_trips), (HandshakeKind::Full, full), "{version:?}");
            both[0].opened(0, ConnectionId(1));

            order(&mut both, 0, Order::Offer);
            order(&mut both, 1, Order::Accept);
            order(&mut both, 0, Order::Migrate);
            // Its keys are in the library's hands, so the connection itself stays, and is counted by that reason.
            let wanted = std::mem::take(&mut both[0].host_mut().freezing);
            assert_eq!(wanted, [ConnectionId(1)]);
            both[0].declined(0, wanted[0], Decline::Tls);
            assert_eq!(both[0].agent().tally().declined, [(Decline::Tls, 1)].into());
            assert_eq!(both[0].host().draining, [ConnectionId(1)]);
            assert_eq!((both[0].agent().owned(), both[1].agent().owned()), (1, 0));

            assert_eq!(both[1].host().secrets.contains_key(TICKETS), shared);
            let new = both[1].host().tls(version);
            let (kind, round_trips, _connection) = connect(&config, &new);
            let wanted = if shared {
                (HandshakeKind::Resumed, 1)
            } else {
                (HandshakeKind::Full, full)
            };
            assert_eq!((kind, round_trips), wanted, "{version:?}, keys shared: {shared}");
        }
    }
}

#[test]
fn keys_that_come_over_are_nowhere_to_be_read() {
    // No other number here has these digits.
    let key = [173; 32];
    let mut both = processes(&key, true);
    let told = |both: &[Handover<Program>; 2]| format!("{both:?}");
    let before = told(&both);
    order(&mut both, 0, Order::Offer);
    assert_eq!(both[1].host().secrets[TICKETS].reveal(), key);
    // Nor is what clients have said, which is as secret.
    let snapshot = Snapshot {
        id: ConnectionId(1),
        codec: "tls/1".into(),
        descriptors: 1,
        state: key.to_vec(),
    };
    let frozen = Frozen {
        id: snapshot.id,
        codec: Arc::clone(&snapshot.codec),
        state: snapshot.state.clone(),
        descriptors: Vec::new(),
    };
    let after = told(&both);
    for text in [&before, &after] {
        assert!(text.contains("Secret(32 bytes)"), "{text}");
    }
    for text in [before, after, format!("{snapshot:?}"), format!("{frozen:?}")] {
        assert!(
            !text.contains("173, 173") && !text.to_lowercase().contains("adadad"),
            "{text}"
        );
    }
}
