//! Several changes at once.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure of a helper is a failed test"
)]

mod behind;
mod driving;
mod kills;
mod order;
mod refused;
mod site;
mod unwritten;
mod versions;

use std::sync::Arc;

use unattended::batching::{Fleet, Policy, pct};
use unattended::queue::Ticket;
use unattended::{Actor, Change, Settings};

pub(crate) const START_MS: i64 = 1_795_420_800_000;
pub(crate) const MINUTE_MS: i64 = 60_000;
pub(crate) const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

pub(crate) fn li() -> Actor {
    Actor::person("li", "MESH-192")
}

/// A change of `each` targets of these applications, which tries its way back.
fn change(id: &str, apps: &[&str], each: usize) -> Change {
    let mut fleet = Fleet::builder();
    for app in apps {
        for at in 0..each {
            fleet.push(&format!("{app}-{at}"), app, [("zone", "a")], true).unwrap();
        }
    }
    let mut settings = Settings::default();
    settings.rehearse_way_back = true;
    Change::new(id, li(), "1".into(), "2".into(), Arc::new(fleet.build().unwrap()))
        .settings(settings)
        .policy(Policy::new().per_app(pct(25)))
}

fn ticket(id: &str, apps: &[&str]) -> Ticket {
    Ticket::of(&change(id, apps, 20)).unwrap()
}
