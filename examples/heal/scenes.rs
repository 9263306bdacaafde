//! What breaks, one thing after the other, and what is to be said of it.

use unattended::selfheal::{HostId, Member, NodeId, ServiceId, ZoneId};

pub(crate) const PROXIES: usize = 20;
pub(crate) const SERVERS: usize = 12;
pub(crate) const ZONES: usize = 3;
pub(crate) const SERVICE: ServiceId = ServiceId(1);
/// How long a server takes to answer, in microseconds.
pub(crate) const SERVICE_US: u64 = 5_000;
/// When a proxy stops waiting for an answer.
pub(crate) const TIME_OUT_MS: u64 = 250;
/// Reports, bulletins, ticks of the center.
pub(crate) const PERIOD_MS: u64 = 250;

/// The number of a proxy in the fleet.
pub(crate) fn proxy_id(proxy: usize) -> NodeId {
    id(proxy)
}

/// The number of a server in the fleet.
pub(crate) fn server_id(server: usize) -> NodeId {
    id(100 + server)
}

/// The server of this number, if it is one.
pub(crate) fn server_of(node: NodeId) -> Option<usize> {
    let place = usize::try_from(node.0).ok()?.checked_sub(100)?;
    (place < SERVERS).then_some(place)
}

fn id(number: usize) -> NodeId {
    NodeId(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Proxies and servers are spread over three zones.
pub(crate) fn zone(place: usize) -> ZoneId {
    ZoneId(u32::try_from(place % ZONES).unwrap_or(0))
}

pub(crate) fn members() -> impl Iterator<Item = Member> {
    let member = |node: NodeId, place, service| Member {
        node,
        host: HostId(node.0),
        zone: zone(place),
        service,
        capacity_per_second: None,
    };
    let proxies = (0..PROXIES).map(move |proxy| member(proxy_id(proxy), proxy, None));
    proxies.chain((0..SERVERS).map(move |server| member(server_id(server), server, Some(SERVICE))))
}

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// The server refuses connections.
    Dead(usize),
    /// It fails every second request.
    Half(usize),
    /// It takes five times as long.
    Slow(usize),
    /// No packet of this proxy arrives anywhere.
    Proxy(usize),
    /// From one zone, another cannot be reached.
    Cut(usize, usize),
}

/// What a broken thing does to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    Refused,
    Half,
    Slow,
    Lost,
}

impl Broken {
    pub(crate) fn effect(self, proxy: usize, server: usize) -> Effect {
        match self {
            Self::Dead(s) if s == server => Effect::Refused,
            Self::Half(s) if s == server => Effect::Half,
            Self::Slow(s) if s == server => Effect::Slow,
            Self::Proxy(p) if p == proxy => Effect::Lost,
            Self::Cut(from, to) if proxy % ZONES == from && server % ZONES == to => Effect::Lost,
            _ => Effect::None,
        }
    }

    /// The server that is at fault, if it is one.
    pub(crate) fn server(self) -> Option<usize> {
        match self {
            Self::Dead(server) | Self::Half(server) | Self::Slow(server) => Some(server),
            _ => None,
        }
    }
}

/// One thing that breaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) broken: Broken,
    /// What the center must say.
    pub(crate) code: &'static str,
}

/// Each breaks something else, so that what returns does not meet what breaks.
pub(crate) const SCENES: [Scene; 5] = [
    Scene {
        name: "dead",
        what: "a server dies",
        broken: Broken::Dead(4),
        code: "target_failing",
    },
    Scene {
        name: "half",
        what: "a server fails every second request",
        broken: Broken::Half(9),
        code: "target_failing",
    },
    Scene {
        name: "slow",
        what: "a server takes five times as long",
        broken: Broken::Slow(2),
        code: "target_slow",
    },
    Scene {
        name: "proxy",
        what: "the network of one proxy breaks",
        broken: Broken::Proxy(7),
        code: "reporter_faulty",
    },
    Scene {
        name: "cut",
        what: "zone 1 is cut off from zone 2",
        broken: Broken::Cut(1, 2),
        code: "partition",
    },
];

/// How long it is quiet before the first scene, how long each lasts, and how long it is quiet after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) before_ms: u64,
    pub(crate) broken_ms: u64,
    pub(crate) after_ms: u64,
}

impl Timing {
    /// Five seconds are enough at 50 requests a second; with fewer it takes longer to see as much.
    pub(crate) fn of(rps: u32, patience: u64) -> Self {
        let stretch = (50 / u64::from(rps)).clamp(1, patience);
        Self {
            before_ms: 4_000 * stretch,
            broken_ms: 5_000 * stretch,
            after_ms: 3_000 * stretch,
        }
    }

    pub(crate) fn begin_ms(self, scene: usize) -> u64 {
        self.before_ms + scene as u64 * (self.broken_ms + self.after_ms)
    }

    pub(crate) fn total_ms(self) -> u64 {
        self.begin_ms(SCENES.len())
    }

    /// What is broken at a moment, and in which scene.
    pub(crate) fn at(self, now_ms: u64) -> (Broken, Option<usize>) {
        let scene = (0..SCENES.len()).rev().find(|scene| now_ms >= self.begin_ms(*scene));
        match scene {
            Some(scene) if now_ms < self.begin_ms(scene) + self.broken_ms => (SCENES[scene].broken, Some(scene)),
            scene => (Broken::Nothing, scene),
        }
    }
}
