//! What a suite has not tried, since it was not given what that takes.
use crate::Capabilities;

/// Something that platforms may do wrong unnoticed unless the suite is given more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Gap {
    Adapter,
    BadVersion,
    BadConfig,
    Births,
    Clients,
    Connections,
    Deaths,
    Probes,
    Restarts,
}

impl Gap {
    const ALL: [Self; 9] = [
        Self::Adapter,
        Self::BadVersion,
        Self::BadConfig,
        Self::Births,
        Self::Clients,
        Self::Connections,
        Self::Deaths,
        Self::Probes,
        Self::Restarts,
    ];

    /// There is something to be tried, of a platform that can do so much.
    const fn applies(self, able: &Capabilities) -> bool {
        match self {
            Self::Adapter | Self::BadVersion | Self::Deaths | Self::Restarts => true,
            Self::BadConfig => able.config,
            Self::Births => able.desired || able.watch,
            Self::Clients => able.ingress,
            Self::Connections => able.hand_over,
            Self::Probes => !able.probe,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Adapter => {
                "the adapter did not fall (`Disturb::reopen`): whether it knows of an order that was under way then is known \
                 only from what `platform_holds` finds"
            }
            Self::BadVersion => {
                "no bad version was given (`Subject::bad_version`): whether `ready` and `self_check` are more than that \
                 something runs is not known"
            }
            Self::BadConfig => {
                "no bad configuration was given (`Subject::bad_config`): whether `acknowledged` is more than an echo of \
                 what was pushed is not known"
            }
            Self::Births => {
                "nobody was born (`Disturb::bear`): whether births obey the word on them, and whether news tell them and \
                 with which version, is not known"
            }
            Self::Clients => {
                "no client tried the way (`Disturb::reaches`): whether a way that is shown as closed is closed is not known"
            }
            Self::Connections => {
                "no client held connections (`Disturb::held`): whether they outlive a hand-over is known only by the platform's \
                 own counts, in which some may be missing that ended by themselves"
            }
            Self::Deaths => "nobody died (`Disturb::kill`): whether looks and news tell of deaths is not known",
            Self::Probes => {
                "the platform does not probe: what an instance says of itself is known from looks alone, and whether a \
                 configuration that it acknowledged is at work only by its word"
            }
            Self::Restarts => {
                "nothing was restarted (`Disturb::restart`): whether a restart shows, and what it forgets, is not known"
            }
        }
    }
}

/// What remains when so much was tried.
pub(super) fn untried(able: &Capabilities, tried: &std::collections::BTreeSet<Gap>) -> Vec<&'static str> {
    let left = Gap::ALL.into_iter();
    let left = left.filter(|left| left.applies(able) && !tried.contains(left));
    left.map(Gap::words).collect()
}
