//! Whether a change can be taken back, as far as that can be known before it begins.

use serde::{Deserialize, Serialize};
use unattended_upgrade::WayBack;

use crate::machine::Setup;
use crate::{OnStop, StartError};

/// What was known when the change began. It is an input: a journal is played again without the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Why there is no way back, by the word of who made the change.
    pub(crate) one_way: Option<String>,
    /// What the platform says, or why it does not.
    pub(crate) platform: Result<WayBack, String>,
}

impl Known {
    /// Why the change must not begin, if so: nobody has said that it cannot be taken back, and it cannot.
    pub(crate) fn refuses(&self) -> Option<&str> {
        match (&self.one_way, &self.platform) {
            (None, Ok(WayBack::Closed(why))) => Some(why),
            _ => None,
        }
    }

    /// Nobody says that the old version can be started again: the first target proves it, before anybody else goes there.
    pub(crate) const fn is_to_be_proved(&self, decisions: u16) -> bool {
        decisions >= 5 && self.one_way.is_none() && self.platform.is_err()
    }

    /// What is decided by it, what would have changed that, and whether it is known to be closed.
    pub(crate) fn decision(&self, setup: &Setup) -> (&'static str, String, Option<String>) {
        let (from, to) = (&setup.change.from, &setup.change.to);
        let settings = &setup.change.settings;
        let follows = match settings.on_stop {
            OnStop::RollBack => "a stop goes back",
            OnStop::CutTraffic => "a stop cuts traffic and asks",
            OnStop::FreezeInPlace => "a stop leaves it as it stands and asks",
        };
        let rehearses = settings.rehearse_way_back || self.is_to_be_proved(setup.header.decisions);
        let tried = if rehearses {
            "the first target goes there and back before anybody else"
        } else {
            "going back is not tried before it is needed"
        };
        let rehearsal = (!rehearses).then(|| "`rehearse_way_back` tries it on one target first".to_owned());
        match (&self.one_way, &self.platform) {
            (Some(why), _) => {
                let text = format!("there is no way back from {to} to {from}: {why}; {follows}");
                ("way_back.none", text, None)
            }
            (None, Ok(WayBack::Closed(why))) => {
                let text = format!("there is no way back from {to} to {from} any more: {why}; {follows} all the same");
                ("way_back.closed", text, None)
            }
            (None, Ok(WayBack::Open)) => {
                let text =
                    format!("{from} can be started again, and reads what {to} leaves behind, as the platform says");
                ("way_back.open", text, None)
            }
            (None, Ok(WayBack::Startable)) => {
                let text = format!(
                    "{from} can be started again, as the platform says; whether it reads what {to} leaves behind nobody says, \
                     and {tried}"
                );
                ("way_back.startable", text, rehearsal)
            }
            (None, Err(why)) => {
                let text = format!(
                    "whether {from} can be started again is not known: {why}; {follows} all the same, and {tried}"
                );
                ("way_back.unknown", text, rehearsal)
            }
        }
    }
}

/// A change that cannot be taken back must say what a stop does instead.
pub(crate) fn check(one_way: Option<&String>, settings: &crate::Settings) -> Result<(), StartError> {
    let Some(why) = one_way else { return Ok(()) };
    if why.trim().is_empty() {
        return Err(StartError::Settings(
            "the change is one-way for no reason: say why it cannot be taken back (`Change::one_way`, or `--one-way WHY`)".to_owned(),
        ));
    }
    if settings.on_stop == OnStop::RollBack {
        return Err(StartError::OneWay(why.clone()));
    }
    if settings.rehearse_way_back {
        return Err(StartError::Settings(format!(
            "settings: `rehearse_way_back` tries a way back, and the change has none ({why}): give one of them"
        )));
    }
    Ok(())
}
