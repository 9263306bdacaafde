//! The center: merges what many observers saw, and decides whose fault it is.

mod baseline;
mod budget;
mod bulletin;
mod edges;
mod event;
mod finding;
mod fit;
mod follower;
mod healer;
mod ids;
mod inbox;
mod isolating;
mod members;
mod mix;
mod probe;
mod report;
mod reporter;
mod returning;
mod rollouts;
mod settings;
mod silence;
mod slots;
mod standing;
mod step;
mod table;
mod tick;
mod votes;
mod weighing;

use std::collections::BTreeMap;

pub use bulletin::{Bulletin, BulletinError, Epoch, Isolation, Scope, SubHealthy, Way};
pub use event::{Command, Event, HealAction, HealOrder, HealOutcome, Notice, Refusal};
pub use finding::{Basis, Cause, Finding};
pub use follower::{Follower, StaleBulletin, Word};
pub use healer::{HealError, Healer, carry_out};
pub use ids::{HostId, NodeId, RouteId, ServiceId, ZoneId};
pub use inbox::ReportCounts;
pub use members::Member;
pub use probe::ProbeOrder;
pub use report::{Report, ReportError, Seen};
pub use reporter::Reporter;
pub use settings::{Budgets, CenterSettings, Mode, SettingsError};
pub use slots::Slots;

use self::baseline::Baseline;
use self::budget::Ledger;
use self::edges::Edges;
use self::fit::Layout;
use self::inbox::Inbox;
use self::members::Members;
use self::rollouts::Rollouts;
use self::silence::Hearing;
use self::standing::{Replacing, Stage, Standing};
use self::votes::Scale;

/// Merges reports and decides who is at fault: events in, commands out, no clock and no I/O.
///
/// [`on`](Self::on) takes what happens; [`tick`](Self::tick), once a period, draws conclusions and answers with what is to
/// be done. The last command of a tick is always the [`Bulletin`] for all reporters.
///
/// ```
/// use unattended_selfheal::{
///     Cause, Center, CenterSettings, Command, Event, HostId, Member, NodeId, Reporter, RouteId, Seen, ServiceId, ZoneId,
/// };
///
/// let mut center = Center::new(CenterSettings::default(), 1)?;
/// // Six proxies in three zones call four servers.
/// for n in 0..10 {
///     let service = (n >= 6).then_some(ServiceId(1));
///     let (node, host, zone) = (NodeId(n), HostId(n), ZoneId(n % 3));
///     center.on(Event::Member(Member { node, host, zone, service, capacity_per_second: None }))?;
/// }
/// let mut reporters: Vec<Reporter> = (0..6).map(|_| Reporter::new(1)).collect();
/// // Each proxy calls each server once; server 6 fails.
/// for (n, reporter) in (0..).zip(&mut reporters) {
///     for target in 6..10 {
///         let failed = u32::from(target == 6);
///         reporter.add(Seen { target: NodeId(target), route: RouteId::ANY, total: 1, failed, slow: 0 });
///     }
///     center.receive(NodeId(n), &reporter.report().encode()?)?;
/// }
/// let commands = center.tick(250);
/// assert_eq!(center.findings()[0].cause, Cause::Target { node: NodeId(6), slow: false });
/// // Nobody is isolated before two proxies in different zones have called it themselves.
/// let probes = commands.iter().filter(|command| matches!(command, Command::Probe(order) if order.target == NodeId(6)));
/// assert_eq!(probes.count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Center {
    settings: CenterSettings,
    epoch: Epoch,
    now_ms: u64,
    members: Members,
    inbox: Inbox,
    hearing: Hearing,
    /// Who saw what of whom; and the same by route, for those who tell routes apart.
    edges: Edges,
    routes: Edges,
    baseline: Baseline,
    scale: Scale,
    /// What the fit needs of members; `None` when something of it has changed.
    layout: Option<Layout>,
    rollouts: Rollouts,
    standings: BTreeMap<NodeId, Standing>,
    ledger: Ledger,
    findings: Vec<Finding>,
    /// When each zone that is down was found to be.
    down_ms: BTreeMap<ZoneId, (u64, bool)>,
    /// Calls a second of each service, smoothed.
    load: BTreeMap<ServiceId, f64>,
    next_order: u64,
}

impl Center {
    /// A center without members. `term` must be larger than that of every center before it, over crashes: a number from
    /// the election or a counter on disk.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] names the field that is out of its range.
    pub fn new(settings: CenterSettings, term: u64) -> Result<Self, SettingsError> {
        settings.check()?;
        let baseline = Baseline::new(settings.tolerated_rate);
        Ok(Self {
            settings,
            epoch: Epoch { term, number: 0 },
            now_ms: 0,
            members: Members::default(),
            inbox: Inbox::default(),
            hearing: Hearing::default(),
            edges: Edges::default(),
            routes: Edges::default(),
            scale: Scale::new(baseline.reference(), settings.requests_per_accusation),
            baseline,
            layout: None,
            rollouts: Rollouts::default(),
            standings: BTreeMap::new(),
            ledger: Ledger::new(),
            findings: Vec::new(),
            down_ms: BTreeMap::new(),
            load: BTreeMap::new(),
            next_order: 1,
        })
    }

    /// Reads a report that came on the connection of `sender` and keeps it for the next tick. Who sends it is the
    /// transport's word, not the report's, so a report in somebody else's name cannot be written.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the bytes had no effect and were counted.
    pub fn receive(&mut self, sender: NodeId, bytes: &[u8]) -> Result<(), Refusal> {
        match Report::decode(bytes) {
            Ok(report) => self.on(Event::Report { sender, report }),
            Err(error) => {
                self.inbox.counts.refused = self.inbox.counts.refused.saturating_add(1);
                Err(error.into())
            }
        }
    }

    /// Takes an event. A report that was replayed, overtaken or lost its place is no error: it is
    /// [counted](Self::report_counts).
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing has happened.
    pub fn on(&mut self, event: Event) -> Result<(), Refusal> {
        match event {
            Event::Member(member) => self.join(member),
            Event::Left(node) => {
                self.leave(node);
                Ok(())
            }
            Event::Report { sender, report } => {
                if self.members.slot(sender).is_none() {
                    self.inbox.counts.strangers = self.inbox.counts.strangers.saturating_add(1);
                    return Err(Refusal::Stranger(sender));
                }
                if let Err(error) = report.check() {
                    self.inbox.counts.refused = self.inbox.counts.refused.saturating_add(1);
                    return Err(error.into());
                }
                self.inbox.put(sender, report);
                Ok(())
            }
            Event::Probed {
                sender,
                order,
                good,
                bad,
            } => {
                let mut rounds = self
                    .standings
                    .values_mut()
                    .filter_map(|standing| match &mut standing.stage {
                        Stage::Verifying(verifying) => Some(&mut verifying.round),
                        Stage::Isolated(isolated) => isolated.round.as_mut(),
                        Stage::Returning(returning) => returning.round.as_mut(),
                        Stage::Weighed(_) | Stage::Watched { .. } | Stage::Spared { .. } => None,
                    });
                if rounds.any(|round| round.answer(sender, order, good, bad)) {
                    Ok(())
                } else {
                    Err(Refusal::Unasked { sender, order })
                }
            }
            Event::Healed { order, outcome } => {
                for standing in self.standings.values_mut() {
                    if let Some(mending) = standing.mending_mut()
                        && mending.replacing == Replacing::Ordered(order)
                    {
                        mending.replacing = match outcome {
                            HealOutcome::Done => Replacing::Done,
                            HealOutcome::Unsupported | HealOutcome::Failed => Replacing::Impossible,
                        };
                    }
                }
                Ok(())
            }
            Event::Changed { release, nodes } => {
                self.rollouts.changed(release, &nodes, self.now_ms);
                Ok(())
            }
            Event::RolloutEnded { release } => {
                self.rollouts.ended(release);
                Ok(())
            }
            Event::Readmit(node) => {
                self.standings.remove(&node);
                if let Some(slot) = self.members.slot(node) {
                    self.edges.forget_target(slot);
                    self.routes.forget_target(slot);
                }
                self.layout = None;
                Ok(())
            }
        }
    }

    fn join(&mut self, member: Member) -> Result<(), Refusal> {
        let slot = self.members.put(member).ok_or(Refusal::NoRoom(member.node))?;
        // Whatever was seen of an earlier holder of the slot went when it left.
        debug_assert!(self.members.get(slot).is_some());
        self.layout = None;
        Ok(())
    }

    fn leave(&mut self, node: NodeId) {
        let Some(slot) = self.members.remove(node) else {
            return;
        };
        for edges in [&mut self.edges, &mut self.routes] {
            edges.retain(|edge, _| edge.reporter != slot && edge.target != slot);
        }
        self.inbox.forget(node);
        self.hearing.forget(node);
        self.rollouts.forget(node);
        self.standings.remove(&node);
        self.layout = None;
    }

    /// What is wrong, as of the last tick, by cause.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What became of reports since the start.
    #[must_use]
    pub const fn report_counts(&self) -> ReportCounts {
        self.inbox.counts
    }

    /// The rate at which healthy nodes are taken to fail, a fraction.
    #[must_use]
    pub const fn reference_rate(&self) -> f64 {
        self.scale.reference
    }

    /// Edges on which something was seen lately.
    #[must_use]
    pub const fn edges(&self) -> usize {
        self.edges.len()
    }
}
