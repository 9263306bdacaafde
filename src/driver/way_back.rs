//! Asking the platform, once, whether the change could be taken back.

use std::sync::Arc;

use crate::RunError;
use crate::input::Input;
use crate::machine::{Machine, Setup};
use crate::way_back::Known;

use super::Run;

impl Run {
    /// What is known of it. Silence is not known, and neither is an error.
    pub(super) async fn look_back(&mut self, setup: &Setup) -> Result<Known, RunError> {
        let platform = Arc::clone(&self.world.platform);
        let answer = self
            .within(platform.way_back(&setup.change.from, &setup.change.to))
            .await?;
        let platform = match answer {
            Some(answer) => answer.map_err(|error| error.to_string()),
            None => Err(format!("the platform has not answered within {} ms", self.call_ms)),
        };
        let one_way = setup.change.one_way.clone();
        Ok(Known { one_way, platform })
    }

    pub(super) fn know_way_back(&mut self, machine: &mut Machine, known: Known) -> Result<(), RunError> {
        let input = Input::WayBack(known);
        self.input(&input)?;
        machine.take(&input)
    }
}
