//! What a suite has not tried, since it was not given what that takes.
use crate::Capabilities;

/// Something that platforms may do wrong unnoticed unless the suite is given more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Gap {
    Adapter,
    Applications,
    BadVersion,
    BadConfig,
    Births,
    Clients,
    Connections,
    Deaths,
    Probes,
    Restarts,
    Service,
    UnfitVersion,
}

impl Gap {
    const ALL: [Self; 12] = [
        Self::Adapter,
        Self::Applications,
        Self::BadVersion,
        Self::BadConfig,
        Self::Births,
        Self::Clients,
        Self::Connections,
        Self::Deaths,
        Self::Probes,
        Self::Restarts,
        Self::Service,
        Self::UnfitVersion,
    ];

    /// There is something to be tried, of a platform that can do so much.
    const fn applies(self, able: &Capabilities) -> bool {
        match self {
            Self::Adapter | Self::BadVersion | Self::UnfitVersion | Self::Deaths | Self::Restarts => true,
            Self::Applications => able.in_place || able.slots,
            Self::BadConfig => able.config,
            Self::Births => able.desired || able.watch,
            Self::Clients | Self::Service => able.ingress,
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
            Self::Applications => {
                "nobody looked at the application (`Disturb::application`): whether a replacement in place or a hand-over \
                 leaves it alone is not known"
            }
            Self::Service => {
                "no client kept a target busy (`Disturb::occupy`): whether `active` counts what is in service behind a closed way \
                 is not known"
            }
            Self::UnfitVersion => {
                "no unfit version was given (`Subject::unfit_version`): whether `self_check` is more than another word for \
                 `ready` is not known"
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
