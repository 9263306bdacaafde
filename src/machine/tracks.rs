//! How far each lane was, over time. It decides nothing.

use std::cmp::Reverse;

use unattended_batching::AppIndex;

use crate::{ExposurePoint, LanePoint, LaneView};

use super::{Course, Machine};

/// Points that are kept of a lane. When there are more, every second one is dropped.
const MAX_POINTS: usize = 48;
/// Points are no closer to one another than this, to begin with: finer than any picture.
const FINEST_MS: u64 = 60_000;
/// Lanes that are shown.
const SHOWN: usize = 40;

/// One lane's way.
#[derive(Clone, Debug)]
pub(super) struct Track {
    /// Targets on the new version.
    exposed: u32,
    /// When it had nothing more to do; `None` while it has.
    through_ms: Option<u64>,
    /// When that number was what from then on.
    points: Vec<(u64, u32)>,
    gap_ms: u64,
}

impl Track {
    pub(super) const fn new() -> Self {
        Self {
            exposed: 0,
            through_ms: None,
            points: Vec::new(),
            gap_ms: FINEST_MS,
        }
    }

    fn note(&mut self, at_ms: u64, exposed: u32) {
        self.exposed = exposed;
        let before_last = self.points.len().checked_sub(2).map(|at| self.points[at].0);
        match (before_last, self.points.last_mut()) {
            // The last one is too close to the one before it to stay.
            (Some(before), Some(last)) if last.0 < before + self.gap_ms => *last = (at_ms, exposed),
            _ => self.points.push((at_ms, exposed)),
        }
        if self.points.len() > MAX_POINTS {
            let (mut at, newest) = (0, self.points.len() - 1);
            self.points.retain(|_| {
                let keep = at % 2 == 0 || at == newest;
                at += 1;
                keep
            });
            self.gap_ms *= 2;
        }
    }
}

impl Machine {
    /// One target more of the application runs the new version, or one less.
    pub(super) fn note_track(&mut self, app: AppIndex, on_new: bool) {
        let track = &mut self.tracks[app.0 as usize];
        let exposed = if on_new {
            track.exposed + 1
        } else {
            track.exposed.saturating_sub(1)
        };
        track.note(self.now_ms, exposed);
    }

    /// Keeps where it stands, now and then.
    pub(super) fn sample(&mut self) {
        if self.record.wants_sample(self.now_ms) {
            let point = self.exposure_point();
            self.record.sample(point);
        }
    }

    /// Where it stands now.
    pub(super) fn exposure_point(&mut self) -> ExposurePoint {
        let (lanes_begun, lanes_through) = self.count_lanes();
        ExposurePoint {
            at_ms: self.now_ms,
            exposed: self.exposed,
            in_flight: self.in_flight,
            lanes_begun,
            lanes_through,
        }
    }

    /// How many lanes have a target on the new version, and how many have nothing more to do.
    fn count_lanes(&mut self) -> (u64, u64) {
        // On the way back nothing is through before all of it is.
        let forward = !self.back_began && self.course != Course::Back;
        let (mut begun, mut through) = (0, 0);
        for (track, lane) in self.tracks.iter_mut().zip(&self.lanes) {
            begun += u64::from(track.exposed > 0);
            if forward && lane.is_finished() {
                track.through_ms.get_or_insert(self.now_ms);
                through += 1;
            } else {
                track.through_ms = None;
            }
        }
        (begun, through)
    }

    /// The lanes that have most left to do, then those that came through last.
    pub(super) fn lane_views(&self) -> Vec<LaneView> {
        let mut alive = vec![0_u64; self.tracks.len()];
        for target in self.targets.iter().filter(|target| target.alive) {
            alive[self.tables.strata_apps[target.stratum as usize] as usize] += 1;
        }
        let mut lanes: Vec<(u32, &Track, u64)> = (0u32..)
            .zip(&self.tracks)
            .zip(alive)
            .map(|((app, track), alive)| (app, track, alive))
            .filter(|(_, track, alive)| *alive > 0 || !track.points.is_empty())
            .collect();
        lanes.sort_by_key(|(_, track, alive)| {
            let left = alive.saturating_sub(u64::from(track.exposed));
            (track.through_ms.is_some(), Reverse(track.through_ms), Reverse(left))
        });
        lanes.truncate(SHOWN);
        let elapsed = |at: u64| at.saturating_sub(self.setup.header.began_ms);
        let view = |(app, track, targets): (u32, &Track, u64)| LaneView {
            lane: self.setup.change.fleet.app_name(AppIndex(app)).to_owned(),
            targets,
            exposed: u64::from(track.exposed),
            through_ms: track.through_ms.map(elapsed),
            course: track
                .points
                .iter()
                .map(|&(at_ms, exposed)| LanePoint {
                    at_ms: elapsed(at_ms),
                    exposed: u64::from(exposed),
                })
                .collect(),
        };
        lanes.into_iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_way_keeps_its_shape_in_few_points() {
        let mut track = Track::new();
        // One target each ten seconds for ten hours.
        for n in 0..3_600_u32 {
            track.note(u64::from(n) * 10_000, n + 1);
            assert!(track.points.len() <= MAX_POINTS);
        }
        assert_eq!((track.points[0], track.exposed), ((0, 1), 3_600));
        assert_eq!(
            track.points.last(),
            Some(&(35_990_000, 3_600)),
            "the newest is always there"
        );
        assert!(track.points.len() >= MAX_POINTS / 2);
        for pair in track.points.windows(2) {
            assert!(pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        }
        // Straight was the way, and straight is what is kept of it.
        for &(at_ms, exposed) in &track.points {
            assert_eq!(u64::from(exposed), at_ms / 10_000 + 1);
        }
    }
}
