//! What the parts of the process share.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use unattended_handover::{ConnectionId, Decline, Frozen, Order};

use crate::clock::{self, Waits};
use crate::config::Config;
use crate::connection::{Client, Wish};
use crate::fault::Faults;
use crate::files::Ingress;
use crate::log::Log;
use crate::meters::{Meters, Outcome};
use crate::options::{Options, Protocol, Route};

/// What each request takes of this process's own time, if nothing is wrong.
const OWN_LATENCY: Duration = Duration::from_millis(1);

/// What a leaking release loses with each request, in bytes.
const LEAK_BYTES: usize = 16 * 1024;

/// One process.
#[derive(Debug)]
pub(crate) struct Sidecar {
    pub(crate) options: Options,
    pub(crate) routes: Vec<Route>,
    pub(crate) faults: Faults,
    pub(crate) log: Log,
    pub(crate) meters: Meters,
    /// Of the thread that does all the work.
    pub(crate) waits: Waits,
    pub(crate) client: Client,
    pub(crate) view: Mutex<View>,
    pub(crate) ingress: watch::Sender<Ingress>,
    /// Held while the file and the state change together.
    pub(crate) ingress_order: tokio::sync::Mutex<()>,
    pub(crate) config: Mutex<Config>,
    /// The report of the static self-check, once there is one.
    pub(crate) report: Mutex<Option<String>>,
    /// To the one who conducts the hand-over. A connection has at most a few in it.
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) started_ms: u64,
    draws: AtomicU64,
    next_id: AtomicU64,
    leaked: Mutex<Vec<(Vec<u8>, Option<File>)>>,
}

/// What there is for the conductor to do.
#[derive(Debug)]
pub(crate) enum Event {
    /// A connection was accepted.
    Opened(ConnectionId, watch::Sender<Wish>),
    /// It has ended.
    Closed(ConnectionId),
    /// It has come to rest.
    Frozen(Frozen),
    /// It cannot move.
    Declined(ConnectionId, Decline),
    /// The static self-check is over.
    Checked(SelfCheck),
    /// The controller wants something.
    Asked(Asked, oneshot::Sender<Reply>),
    /// Drain and exit.
    Stop,
}

/// What a controller may want of the hand-over.
#[derive(Debug)]
pub(crate) enum Asked {
    Order(u64, Order),
    Call(u64, PathBuf),
    Fence(u64),
}

/// What a controller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Applied,
    AlreadyApplied,
    Stale { generation: u64 },
    Retry { after_ms: u64, reason: String },
    Failed(String),
}

/// The static self-check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum SelfCheck {
    #[default]
    Unreported,
    Passed,
    /// The first required check that did not pass.
    Failed(String),
}

/// How the process stands, as the conductor saw it last.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) self_check: SelfCheck,
    pub(crate) ready: bool,
    pub(crate) generation: u64,
    /// It holds all listeners.
    pub(crate) listeners: bool,
    pub(crate) accepting: bool,
    /// This process or the other one polls the listeners.
    pub(crate) served: bool,
    pub(crate) connections: usize,
    pub(crate) committed: Option<u64>,
    pub(crate) retired: bool,
    pub(crate) session: bool,
    pub(crate) moves: Moves,
    /// Where the listeners really are, by name.
    pub(crate) addresses: BTreeMap<String, String>,
}

/// What became of connections since this hand-over began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    /// Given to the other process.
    pub(crate) moved: u64,
    /// Taken from it.
    pub(crate) adopted: u64,
    pub(crate) declined: u64,
    pub(crate) cut: u64,
    /// Taken and then lost by this process.
    pub(crate) lost: u64,
    /// Bytes of state given along.
    pub(crate) bytes: u64,
}

/// What a process has from its command line.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) log: Log,
    pub(crate) meters: Meters,
    pub(crate) ingress: Ingress,
    pub(crate) config: Config,
}

impl Sidecar {
    pub(crate) fn new(setup: Setup, events: mpsc::UnboundedSender<Event>) -> Self {
        let Setup {
            options,
            log,
            meters,
            ingress,
            config,
        } = setup;
        Self {
            routes: options.routes().collect(),
            faults: options.faults(),
            log,
            meters,
            waits: Waits::open(),
            client: Client::new(),
            view: Mutex::default(),
            ingress: watch::Sender::new(ingress),
            ingress_order: tokio::sync::Mutex::default(),
            config: Mutex::new(config),
            report: Mutex::default(),
            events,
            started_ms: clock::now_ms(),
            draws: AtomicU64::new(0),
            // No two processes of a target have the same instance, so none give the same number.
            next_id: AtomicU64::new(options.instance << 32),
            leaked: Mutex::default(),
            options,
        }
    }

    /// To the conductor, as long as there is one.
    pub(crate) fn tell(&self, event: Event) {
        // Without a conductor the process is about to end.
        let _ = self.events.send(event);
    }

    pub(crate) fn next_id(&self) -> ConnectionId {
        ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// What this process takes for a request beside the application. `false`: the request fails by this process's own fault.
    pub(crate) async fn work(&self) -> bool {
        if self.faults.leak {
            let file = File::open("/dev/null").ok();
            self.leaked.lock().push((vec![1; LEAK_BYTES], file));
        }
        tokio::time::sleep(OWN_LATENCY * self.faults.slow_permille / 1_000).await;
        let count = self.draws.fetch_add(1, Ordering::Relaxed);
        !self.faults.fails(self.options.instance, count)
    }

    pub(crate) fn ended(&self, protocol: Protocol, outcome: Outcome, own_us: u64, client: u64) {
        self.meters.ended(protocol, outcome, own_us, client);
    }

    /// Whether the target can be given traffic, as far as this process knows.
    pub(crate) fn healthy(&self) -> bool {
        let view = self.view.lock();
        view.ready && view.listeners && view.served && *self.ingress.borrow() == Ingress::Open
    }
}
