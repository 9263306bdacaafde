//! What a center concludes, and what it rests on.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{NodeId, RouteId, ServiceId, ZoneId};

/// A conclusion about the fleet, as long as the evidence stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong, and where.
    pub cause: Cause,
    /// What it rests on.
    pub evidence: Basis,
}

/// Whose fault it is. The decision table: what a pattern in the matrix of reporters and targets means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Cause {
    /// A column is bad: the target fails for reporters that agree on nothing else. It is isolated everywhere, or gets
    /// fewer calls if it is only slow.
    Target {
        /// The node.
        node: NodeId,
        /// Most of its bad calls were slow, not failed.
        slow: bool,
    },
    /// A column is bad, and so are columns it calls itself. Nothing is done to it; the deepest of them is dealt with.
    Victim {
        /// The node that fails because another does.
        node: NodeId,
        /// The deepest bad node that it depends on.
        of: NodeId,
    },
    /// Columns are bad that a running rollout has changed, more often than those it has not. They are isolated within the
    /// budget, since callers suffer; nothing is restarted or replaced, since the release is at fault.
    Release {
        /// The node.
        node: NodeId,
        /// The rollout, as the embedder numbered it.
        release: u64,
        /// Nodes of the service that are bad and changed, changed, bad and unchanged, unchanged.
        table: [u32; 4],
    },
    /// A row is bad: the reporter sees many targets fail that others see answer. Its votes are not counted, its own
    /// isolations are to be lifted, and it should be looked after itself.
    Reporter {
        /// The node that reports.
        node: NodeId,
    },
    /// A block is bad: from one zone, another cannot be reached. Nobody is isolated; that zone's own nodes are preferred.
    Partition {
        /// The zone of the callers.
        from: ZoneId,
        /// The zone they cannot reach.
        to: ZoneId,
    },
    /// All blocks towards a zone are bad, its own among them: the zone is down. It is avoided, then drained.
    ZoneDown {
        /// The zone.
        zone: ZoneId,
    },
    /// Most of a service is bad: a shared dependency, a release, overload. Nobody is isolated.
    Common {
        /// The service.
        service: ServiceId,
        /// Its nodes see a node of this service fail, if they do: look there.
        dependency: Option<ServiceId>,
    },
    /// Only some routes are bad. Nothing is done to nodes.
    Routes {
        /// At this node, or at most nodes of the service.
        node: Option<NodeId>,
        /// The service.
        service: Option<ServiceId>,
        /// Which ones.
        routes: Vec<RouteId>,
    },
    /// Most reporters of a zone have fallen silent. Silence is no evidence against anybody: no node of it is isolated.
    Silence {
        /// The zone.
        zone: ZoneId,
    },
}

impl Cause {
    /// A stable name for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Target { slow: false, .. } => "target_failing",
            Self::Target { slow: true, .. } => "target_slow",
            Self::Victim { .. } => "victim_of_dependency",
            Self::Release { .. } => "release_suspected",
            Self::Reporter { .. } => "reporter_faulty",
            Self::Partition { .. } => "partition",
            Self::ZoneDown { .. } => "zone_down",
            Self::Common { .. } => "common_cause",
            Self::Routes { .. } => "routes_only",
            Self::Silence { .. } => "reporters_silent",
        }
    }

    /// Whether it is the same trouble, whatever the numbers beside it.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Target { node: a, .. }, Self::Target { node: b, .. })
            | (Self::Victim { node: a, .. }, Self::Victim { node: b, .. }) => a == b,
            (
                Self::Release {
                    node: a, release: r, ..
                },
                Self::Release {
                    node: b, release: s, ..
                },
            ) => (a, r) == (b, s),
            (Self::Common { service: a, .. }, Self::Common { service: b, .. }) => a == b,
            (
                Self::Routes {
                    node: a, service: s, ..
                },
                Self::Routes {
                    node: b, service: t, ..
                },
            ) => (a, s) == (b, t),
            _ => self == other,
        }
    }

    /// The node that is accused, if it is one node as a whole.
    #[must_use]
    pub const fn accused(&self) -> Option<NodeId> {
        match self {
            Self::Target { node, .. } | Self::Release { node, .. } => Some(*node),
            _ => None,
        }
    }
}

/// The numbers behind a finding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Basis {
    /// Calls of the edges in question within the horizon, not capped.
    pub calls: u64,
    /// Of these, failed or slow.
    pub bad: u64,
    /// Of these, slow.
    pub slow: u64,
    /// Hosts that accuse.
    pub accusing: u32,
    /// Hosts that speak for it.
    pub healthy: u32,
    /// Zones of the accusing hosts.
    pub zones: u32,
    /// Sum of the capped votes, in thousandths.
    pub score_milli: u64,
    /// The sum at which somebody is accused, in thousandths.
    pub alarm_milli: u64,
    /// The rate at which healthy nodes fail, in millionths.
    pub reference_ppm: u32,
    /// The longest that the calls go back, in milliseconds.
    pub horizon_ms: u64,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target { node, slow: false } => write!(f, "{node} fails for everybody"),
            Self::Target { node, slow: true } => write!(f, "{node} is slow for everybody"),
            Self::Victim { node, of } => write!(f, "{node} fails since {of}, which it depends on, does"),
            Self::Release {
                node,
                release,
                table: [bad, changed, others, unchanged],
            } => write!(
                f,
                "{node} fails, and release {release} is suspected: {bad} of {changed} changed nodes of its service are \
                 bad, {others} of {unchanged} others"
            ),
            Self::Reporter { node } => write!(
                f,
                "{node} sees targets fail that others see answer: it is at fault itself"
            ),
            Self::Partition { from, to } => write!(f, "{to} cannot be reached from {from}"),
            Self::ZoneDown { zone } => write!(f, "{zone} is down"),
            Self::Common { service, dependency } => {
                write!(f, "most of {service} fails: a common cause, not its nodes")?;
                match dependency {
                    Some(dependency) => write!(f, "; its nodes see {dependency} fail"),
                    None => Ok(()),
                }
            }
            Self::Routes { node, service, routes } => {
                let routes: Vec<String> = routes.iter().map(ToString::to_string).collect();
                write!(f, "only {} fails", routes.join(", "))?;
                match (node, service) {
                    (Some(node), _) => write!(f, " at {node}"),
                    (None, Some(service)) => write!(f, " at {service}"),
                    (None, None) => Ok(()),
                }
            }
            Self::Silence { zone } => write!(f, "most reporters of {zone} are silent"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Basis {
            calls,
            bad,
            slow,
            accusing,
            healthy,
            zones,
            score_milli,
            alarm_milli,
            reference_ppm,
            horizon_ms,
        } = self.evidence;
        write!(f, "{}", self.cause)?;
        if calls == 0 {
            return Ok(());
        }
        write!(
            f,
            ": {bad} of {calls} calls bad ({slow} slow) within {horizon_ms} ms; {accusing} hosts of {zones} zones accuse, \
             {healthy} speak for it; score {score_milli} of {alarm_milli} thousandths against {reference_ppm} ppm"
        )
    }
}
