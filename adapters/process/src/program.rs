//! What the adapter has to know of a kind of program: how it is started, asked, closed, opened and handed over.
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustix::process::Signal;
use unattended_upgrade::{
    ConfigSeen, Generation, HandoverOrder, Ingress, IngressOrder, InstanceId, Moves, Probe, SelfCheck, TargetId,
    Version,
};

use crate::TemplateError;
use crate::fill::Values;

/// One process of a target: everything that its program's texts may name.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) target: TargetId,
    pub(crate) version: Version,
    pub(crate) instance: InstanceId,
    /// 0 or 1.
    pub(crate) slot: usize,
    /// One more than that of the instance beside which it was started; 0 where it stood alone.
    pub(crate) epoch: u32,
    /// The target's directory.
    pub(crate) directory: PathBuf,
    /// It must not serve by itself: it waits for a hand-over.
    pub(crate) passive: bool,
    /// The target's own parameters.
    pub(crate) parameters: Arc<BTreeMap<String, String>>,
    /// The process, once there is one.
    pub(crate) pid: Option<i32>,
}

/// The names of the two slots.
pub(crate) const SLOT_NAMES: [char; 2] = ['a', 'b'];

/// See [`Place::admin`].
pub(crate) fn admin_socket(directory: &Path, slot: usize, instance: InstanceId) -> PathBuf {
    let slot = SLOT_NAMES[slot.min(1)];
    directory.join(format!("{slot}{}.sock", instance.0))
}

impl Place {
    /// The socket at which the instance is asked. It names the instance, so that no two fight for one file.
    pub(crate) fn admin(&self) -> PathBuf {
        admin_socket(&self.directory, self.slot, self.instance)
    }

    /// The socket at which its agent of the hand-over is called.
    pub(crate) fn doorbell(&self) -> PathBuf {
        let mut path = self.admin().into_os_string();
        path.push(".handover");
        path.into()
    }

    /// What the placeholders of its texts stand for. The target's own parameters do not hide the others.
    pub(crate) fn values(&self) -> Values {
        let mut values: Values = self.parameters.as_ref().clone();
        let own = [
            ("target", self.target.to_string()),
            ("version", self.version.to_string()),
            ("instance", self.instance.0.to_string()),
            ("slot", SLOT_NAMES[self.slot.min(1)].to_string()),
            ("epoch", self.epoch.to_string()),
            ("dir", self.directory.display().to_string()),
            ("admin", self.admin().display().to_string()),
        ];
        values.extend(own.map(|(name, value)| (name.to_owned(), value)));
        values
    }
}

/// A command, with every placeholder filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

/// What programs of a kind can do, beyond being started and ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Able {
    /// It closes and opens its way, and keeps it closed.
    pub(crate) ingress: bool,
    /// Two run side by side, the second one passive, and hand over as they are told.
    pub(crate) hand_over: bool,
    /// It takes configurations while it runs.
    pub(crate) config: bool,
    /// It says who it is where its traffic comes in.
    pub(crate) probe: bool,
    /// It is known how long balancers take to hear of a closed way.
    pub(crate) barrier: bool,
}

impl Able {
    /// What every one of them can do; nothing where there is none.
    pub(crate) fn common(all: impl Iterator<Item = Self>) -> Self {
        let both = |one: Self, other: Self| Self {
            ingress: one.ingress && other.ingress,
            hand_over: one.hand_over && other.hand_over,
            config: one.config && other.config,
            probe: one.probe && other.probe,
            barrier: one.barrier && other.barrier,
        };
        all.reduce(both).unwrap_or_default()
    }

    pub(crate) fn includes(self, wanted: Self) -> bool {
        Self::common([self, wanted].into_iter()) == wanted
    }
}

/// What an instance says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) ready: bool,
    pub(crate) self_check: SelfCheck,
    /// `None` if it does not tell: then what it has confirmed counts.
    pub(crate) ingress: Option<Ingress>,
    /// When it opens its closed way by itself, on the boot clock. `None` if it does not, or has not been told.
    pub(crate) reopen_by_ms: Option<u64>,
    pub(crate) active: Option<u32>,
    pub(crate) listeners: bool,
    pub(crate) accepting: bool,
    pub(crate) accepted: Option<u64>,
    pub(crate) connections: Option<u32>,
    pub(crate) committed: bool,
    pub(crate) retired: bool,
    pub(crate) session: bool,
    pub(crate) moves: Moves,
    pub(crate) config: ConfigSeen,
    /// The highest generation its agent has heard of.
    pub(crate) generation: u64,
}

impl Told {
    /// An instance that serves, or will, and has no slots to tell of.
    pub(crate) const fn plain(ready: bool, self_check: SelfCheck) -> Self {
        Self {
            ready,
            self_check,
            ingress: None,
            reopen_by_ms: None,
            active: None,
            listeners: true,
            accepting: true,
            accepted: None,
            connections: None,
            committed: false,
            retired: false,
            session: false,
            moves: Moves {
                moved: 0,
                declined: 0,
                cut: 0,
                lost: 0,
                bytes: 0,
                pauses: unattended_upgrade::Pauses {
                    p50_us: 0,
                    p99_us: 0,
                    max_us: 0,
                },
            },
            config: ConfigSeen {
                acknowledged: None,
                refused: None,
            },
            generation: 0,
        }
    }

    /// It may be let to traffic.
    pub(crate) fn is_verified(&self) -> bool {
        self.ready && self.self_check == SelfCheck::Passed
    }
}

/// What an instance made of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Applied,
    AlreadyApplied,
    Stale,
    Retry {
        after_ms: u64,
    },
    Failed(String),
    /// It may have been heard, and done, or be done yet.
    Unknown(String),
    /// It was not heard, and will not be.
    NotAsked(String),
}

impl Answer {
    pub(crate) const fn is_done(&self) -> bool {
        matches!(self, Self::Applied | Self::AlreadyApplied)
    }
}

/// A kind of program. Every method that asks ends within its template's time for questions.
#[async_trait]
pub(crate) trait Program: fmt::Debug + Send + Sync {
    fn able(&self) -> Able;

    /// The command that starts it. Errors name a field of the template; nothing is touched.
    fn command(&self, place: &Place) -> Result<Filled, TemplateError>;

    /// Fills every other text once, so that a slip of the pen shows before anything has happened.
    fn check(&self, place: &Place) -> Result<(), TemplateError>;

    /// The TCP addresses it binds when it starts alone, with the field that says so.
    fn binds(&self, place: &Place) -> Result<Vec<(String, SocketAddr)>, TemplateError>;

    /// For how long, in milliseconds, the old instance may go on after the new one has become ready beside it, where a
    /// replacement lets both overlap and the program passes its listeners on by itself; `None` where it does not.
    fn overlaps(&self) -> Option<u64> {
        None
    }

    /// Its word on itself; why there is none otherwise.
    async fn ask(&self, place: &Place) -> Result<Told, String>;

    async fn ingress(&self, place: &Place, order: IngressOrder) -> Answer {
        let _ = (place, order);
        Answer::Failed("it has no control over its ingress".to_owned())
    }

    /// Told before it is stopped, so that it finishes what it has begun; best effort. Gives the signal that ends it.
    async fn drain(&self, place: &Place) -> Signal {
        let _ = place;
        Signal::TERM
    }

    /// Tries a start without starting anything, `beside` the instance that serves where both are to overlap. Asked before
    /// an order is taken: what it does not like is refused, and nothing has happened.
    async fn rehearse(&self, place: &Place, beside: Option<&Place>) -> Result<(), String> {
        let _ = (place, beside);
        Ok(())
    }

    /// Puts down what a start needs, `beside` the instance that it takes over from if there is one. Called each time before
    /// a process is started.
    fn prepare(&self, place: &Place, beside: Option<&Place>) -> Result<(), String> {
        let _ = (place, beside);
        Ok(())
    }

    /// Takes away what a process has left that has ended.
    fn ended(&self, place: &Place) {
        let _ = place;
    }

    /// It was started beside another one and has not been let in yet, by what it `told` last. Once that one has died it is of
    /// no use, and in the way of what is started in its place.
    fn waits(&self, place: &Place, told: Option<&Told>) -> bool {
        let _ = (place, told);
        false
    }

    /// It has the ports by this word of its, whether or not it serves: another one that does not take over from it cannot
    /// be started.
    fn has_ports(&self, told: &Told) -> bool {
        told.accepting
    }

    /// For how long, in milliseconds, an instance that has left may serve on what could not move; 0 where it is ended at once.
    fn leftover_ms(&self) -> u64 {
        0
    }

    /// For programs whose old instance cannot poll again once the new one does: to return, another instance of the old
    /// version takes over from the new one, which may go on for so long, in milliseconds, after that. `None` for those whose
    /// old instance resumes.
    fn returning_ms(&self) -> Option<u64> {
        None
    }

    async fn fence(&self, place: &Place, generation: Generation) -> Answer {
        let _ = (place, generation);
        Answer::AlreadyApplied
    }

    /// Leads an order to `here`; `peer` is the other instance, if there is one.
    async fn hand_over(
        &self,
        order: HandoverOrder,
        generation: Generation,
        here: &Place,
        peer: Option<&Place>,
    ) -> Answer {
        let _ = (order, generation, here, peer);
        Answer::Failed("it hands nothing over".to_owned())
    }

    /// Where a configuration lies; an error if it is not there.
    fn config_file(&self, place: &Place, version: &Version) -> Result<PathBuf, String> {
        let _ = (place, version);
        Err("it takes no configurations".to_owned())
    }

    async fn config(&self, place: &Place, version: &Version) -> Answer {
        let _ = (place, version);
        Answer::Failed("it takes no configurations".to_owned())
    }

    /// Whoever answers where traffic comes in.
    async fn probe(&self, place: &Place) -> Probe {
        let _ = place;
        nobody()
    }
}

/// Nobody has answered.
pub(crate) const fn nobody() -> Probe {
    Probe {
        instance: None,
        version: None,
        self_check: SelfCheck::Unreported,
    }
}
