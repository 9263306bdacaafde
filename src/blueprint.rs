//! What a change was made from, as the journal keeps it: enough to make its machine again, anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unattended_batching::{Fleet, Plan, Policy, Target, ValueIndex, Weights, verify};
use unattended_defense::Guard;

use crate::input::Header;
use crate::machine::Setup;
use crate::{Actor, Change, Settings};

/// Targets that differ in name and readiness only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kind {
    app: String,
    labels: BTreeMap<String, String>,
    capacity: u32,
    load: u32,
    tier: u8,
}

/// What tells kinds apart in a fleet: application, labels by key, weights.
type Like = (u32, Vec<Option<ValueIndex>>, [u32; 3]);

/// A fleet, its policy, its settings and its rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blueprint {
    kinds: Vec<Kind>,
    /// Name, kind and whether it was ready, in the fleet's order.
    targets: Vec<(String, u32, bool)>,
    author: Actor,
    rollbacks_before: u32,
    /// As JSON: both leave out what has its default.
    policy: String,
    settings: String,
    /// Names and texts of the rule packs.
    packs: Vec<(String, String)>,
}

impl Blueprint {
    pub(crate) fn of(setup: &Setup) -> Result<Self, serde_json::Error> {
        let change = &setup.change;
        let fleet = &change.fleet;
        let keys: Vec<_> = fleet.keys().iter().filter_map(|key| fleet.key_index(key)).collect();
        let mut kinds = Vec::new();
        let mut known: BTreeMap<Like, u32> = BTreeMap::new();
        let targets = fleet
            .targets()
            .map(|target| {
                let Weights {
                    capacity, load, tier, ..
                } = fleet.weights(target);
                let labels = keys.iter().map(|&key| fleet.label(target, key)).collect();
                let like = (fleet.app_of(target).0, labels, [capacity, load, u32::from(tier)]);
                let kind = *known.entry(like).or_insert_with(|| {
                    let Target { app, labels, .. } = fleet.target(target);
                    kinds.push(Kind {
                        app,
                        labels,
                        capacity,
                        load,
                        tier,
                    });
                    u32::try_from(kinds.len() - 1).unwrap_or(u32::MAX)
                });
                (fleet.id(target).to_owned(), kind, fleet.ready(target))
            })
            .collect();
        Ok(Self {
            kinds,
            targets,
            author: change.author.clone(),
            rollbacks_before: change.rollbacks_before,
            policy: serde_json::to_string(&change.policy)?,
            settings: serde_json::to_string(&change.settings)?,
            packs: setup.guard.packs().to_vec(),
        })
    }

    /// How many targets, for dumps.
    pub(crate) const fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Makes again what the change was made from. The plan and the rules must be the ones that the header names.
    pub(crate) fn setup(self, header: Header) -> Result<Setup, String> {
        let damaged =
            |what: &str, error: &dyn std::fmt::Display| format!("the change's {what} cannot be read: {error}");
        let mut builder = Fleet::builder();
        for (id, kind, ready) in self.targets {
            let kind = self
                .kinds
                .get(kind as usize)
                .ok_or_else(|| format!("target {id} is of a kind that is not there"))?;
            let target = Target {
                id,
                app: kind.app.clone(),
                labels: kind.labels.clone(),
                ready,
                capacity: kind.capacity,
                load: kind.load,
                tier: kind.tier,
            };
            builder.add(&target).map_err(|error| damaged("fleet", &error))?;
        }
        let fleet = Arc::new(builder.build().map_err(|error| damaged("fleet", &error))?);
        let policy: Policy = serde_json::from_str(&self.policy).map_err(|error| damaged("policy", &error))?;
        let settings: Settings = serde_json::from_str(&self.settings).map_err(|error| damaged("settings", &error))?;
        let guard = if self.packs.is_empty() {
            Guard::empty()
        } else {
            Guard::from_packs(self.packs).map_err(|error| damaged("rules", &error))?
        };
        let plan = Plan::build(&fleet, &policy, header.seed).map_err(|error| damaged("plan", &error))?;
        let proof = verify(&fleet, &policy, &plan).map_err(|error| damaged("plan", &error))?;
        let mut change = Change::new(
            header.change.clone(),
            self.author,
            header.from.as_str().into(),
            header.to.as_str().into(),
            fleet,
        )
        .policy(policy)
        .settings(settings)
        .seed(header.seed)
        .rollbacks_before(self.rollbacks_before);
        change.declared = header.declared.clone();
        let again = [
            ("plan", &header.plan, Header::plan_of(&plan, &change.policy)),
            ("rules", &header.rules, guard.digest().to_owned()),
        ];
        for (what, journal, made) in again {
            if *journal != made {
                return Err(format!(
                    "the change's {what} cannot be made again: the journal has {journal}, this program makes {made}"
                ));
            }
        }
        Ok(Setup {
            change,
            plan,
            proof,
            guard: Arc::new(guard),
            header,
        })
    }
}
