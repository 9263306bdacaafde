//! A plan that was made before.

use std::path::Path;

use serde::Deserialize;
use unattended::batching::{Fleet, Plan, Policy, Previous, Proof, verify_repair};

use crate::Failure;
use crate::policy::{PolicyFile, unproved};

/// What `--json` printed, as far as it matters.
#[derive(Debug, Deserialize)]
struct Written {
    schema: u32,
    seed: u64,
    batches: Vec<Batch>,
}

#[derive(Debug, Deserialize)]
struct Batch {
    index: u16,
    targets: Vec<String>,
}

/// A plan that was made before.
#[derive(Debug)]
pub(crate) struct Earlier {
    pub(crate) seed: u64,
    previous: Previous,
    ids: Vec<String>,
}

impl Earlier {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::Input(format!(
                "{name}: the previous plan cannot be read: {error}; fix: name a file that --json printed"
            ))
        })?;
        let written: Written = serde_json::from_str(&text).map_err(|error| {
            Failure::Input(format!(
                "{name}:{}:{}: the previous plan cannot be read: {}; fix: name a file that --json printed, whole",
                error.line(),
                error.column(),
                error.to_string().split(" at line").next().unwrap_or_default()
            ))
        })?;
        if written.schema != 1 {
            return Err(Failure::Input(format!(
                "{name}: schema: {} is not 1; fix: plan with the program that wrote it",
                written.schema
            )));
        }
        let targets = written
            .batches
            .iter()
            .flat_map(|batch| batch.targets.iter().map(|id| (batch.index, id.as_str())));
        let previous = Previous::from_batches(targets).map_err(|error| {
            Failure::Input(format!("{name}: batches: {error}; fix: use the file as it was printed"))
        })?;
        Ok(Self {
            seed: written.seed,
            previous,
            ids: written.batches.into_iter().flat_map(|batch| batch.targets).collect(),
        })
    }

    /// Keeps every remaining target where it was.
    pub(crate) fn repair(
        &self,
        fleet: &Fleet,
        policy: &Policy,
        seed: u64,
        file: &PolicyFile,
    ) -> Result<(Plan, Proof), Failure> {
        let plan = Plan::repair(fleet, policy, seed, &self.previous).map_err(|error| file.refused(&error))?;
        let proof = verify_repair(fleet, policy, &plan, &self.previous).map_err(|found| unproved(&found))?;
        Ok((plan, proof))
    }

    /// How many targets are gone, and how many are new.
    pub(crate) fn changed(&self, fleet: &Fleet) -> (usize, usize) {
        let gone = self.ids.iter().filter(|id| fleet.index_of(id).is_none()).count();
        (gone, fleet.len() - (self.ids.len() - gone))
    }
}
