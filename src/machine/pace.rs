//! How many targets may be on their way to the new version at once: by the belief that the next attempt fails. It makes nobody stop.

use super::Machine;

/// Before anything is known, one attempt of so many is believed to fail.
const PRIOR: f64 = 20.0;
/// About so many of the last attempts make the belief: what a fleet has shown long ago does not outweigh what it shows now.
const MEMORY: f64 = 200.0;
/// Of so many living targets, one may be on its way to a failure at a time.
const FAILING_OF: f64 = 1_000.0;
/// In a small fleet, so many. The plan's first batches are no larger than what may start at once before anything is known: who starts
/// first is not to be chosen by the pace, or what the others show comes later than what they are compared with.
const FAILING: f64 = 3.0;

/// The belief in the next attempt: Beta(1 + failed, 19 + succeeded), of which the older attempts are forgotten by and by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    failed: f64,
    ended: f64,
    /// When the last instance on the new version came up: an attempt came to its end, or a target was born.
    pub(super) last_ms: u64,
    /// People have been told that failures hold the change back.
    told: bool,
}

impl Pace {
    fn note(&mut self, failed: bool) {
        let kept = 1.0 - 1.0 / MEMORY;
        self.failed = self.failed * kept + f64::from(u8::from(failed));
        self.ended = self.ended * kept + 1.0;
    }

    /// The chance that the next attempt fails.
    fn fails(self) -> f64 {
        (1.0 + self.failed) / (PRIOR + self.ended)
    }

    /// As many as are expected to bring no more than the failures that a fleet of so many may have at a time.
    fn at_once(self, alive: u64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "a number of targets")]
        let failing = (alive as f64 / FAILING_OF).max(FAILING);
        let most = failing / self.fails();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least three, and a quarter of the fleet or 660 at the most"
        )]
        let whole = most as u64;
        whole
    }
}

impl Machine {
    /// An attempt on a target that was healthy came to its end.
    pub(super) fn note_pace(&mut self, failed: bool) {
        self.pace.note(failed);
    }

    /// No instance is fresh any more, and whoever was has been watched for a bake: nothing that fresh ones show will change.
    pub(super) fn is_settled(&self) -> bool {
        let settings = &self.setup.change.settings;
        self.in_flight == 0 && self.now_ms.saturating_sub(self.pace.last_ms) >= settings.warm_up_ms + settings.bake_ms
    }

    /// How many may be on their way at once; `None` where the decisions of the change know no pace.
    pub(super) fn most_in_flight(&self) -> Option<u64> {
        self.decides_by(3).then(|| self.pace.at_once(self.alive))
    }

    /// How many more may start by that.
    pub(super) fn room_by_belief(&self) -> usize {
        let room = self.most_in_flight().map(|most| most.saturating_sub(self.in_flight));
        room.map_or(usize::MAX, |room| usize::try_from(room).unwrap_or(usize::MAX))
    }

    /// So many could start, and no more by the pace: says so where failures are why, and when they no longer are.
    pub(super) fn tell_pace(&mut self, held_back: bool) {
        let Some(at_once) = self.most_in_flight() else { return };
        let slow = self.pace.failed >= 1.0;
        if slow && held_back && !self.pace.told {
            self.pace.told = true;
            let text = format!(
                "{:.0} of the last {:.0} attempts failed, so at most {at_once} are under way at once",
                self.pace.failed, self.pace.ended
            );
            let otherwise = "attempts that succeed make it faster; the pace alone stops nothing".to_owned();
            self.decide_text("pace.slower", text, Some(otherwise));
        } else if !slow && self.pace.told {
            self.pace.told = false;
            let text = format!("attempts succeed again: up to {at_once} are under way at once");
            self.decide_text("pace.restored", text, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(attempts: impl IntoIterator<Item = bool>) -> Pace {
        let mut pace = Pace::default();
        for failed in attempts {
            pace.note(failed);
        }
        pace
    }

    #[test]
    fn success_makes_it_faster_and_one_failure_slows_everybody() {
        let begin = after([]).at_once(30_000);
        assert_eq!(begin, 600, "one of twenty, and thirty may fail");
        let faster = after([false; 100]).at_once(30_000);
        assert!(faster > 3 * begin, "{faster}");
        // One failure, however many succeeded before it.
        for good in [0, 100, 10_000] {
            let before = after(vec![false; good]);
            let mut pace = before;
            pace.note(true);
            let (before, now) = (before.at_once(30_000), pace.at_once(30_000));
            assert!(now <= before * 11 / 20 + 1, "after {good}: {before}, then {now}");
        }
        // It is made good by those that follow.
        let again = after([true].into_iter().chain([false; 2_000])).at_once(30_000);
        assert_eq!(again, after([false; 2_000]).at_once(30_000));
    }

    #[test]
    fn it_never_comes_to_a_stop_and_does_not_forget_a_burst_in_a_large_fleet() {
        assert_eq!(after([true; 10_000]).at_once(1), 3);
        let burst = after(std::iter::repeat_n(false, 100_000).chain([true; 50]));
        let calm = after([false; 100_000]);
        assert!(burst.at_once(300_000) * 40 < calm.at_once(300_000));
        assert!(calm.at_once(u64::MAX) > calm.at_once(300_000));
    }
}
