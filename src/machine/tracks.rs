//! How far each lane was, over time. It decides nothing.

use std::cmp::Reverse;

use unattended_batching::AppIndex;

use crate::{ExposurePoint, LanePoint, LaneView};

use super::{Course, Machine};

/// Points that are kept of a lane. When there are more, those that are near each other become one.
const MAX_POINTS: usize = 96;
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
        add(&mut self.points, self.gap_ms, (at_ms, exposed));
        while self.points.len() > MAX_POINTS {
            self.gap_ms *= 2;
            let mut kept = Vec::with_capacity(MAX_POINTS);
            for point in self.points.drain(..) {
                add(&mut kept, self.gap_ms, point);
            }
            self.points = kept;
        }
    }
}

/// What comes too soon after the last point takes its place in time, so that no number is drawn later than it was reached, nor earlier than
/// by that gap.
fn add(points: &mut Vec<(u64, u32)>, gap_ms: u64, (at_ms, exposed): (u64, u32)) {
    match points.last_mut() {
        Some(last) if at_ms < last.0.saturating_add(gap_ms) => last.1 = exposed,
        _ => points.push((at_ms, exposed)),
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
        let last = track.points.last().unwrap();
        assert_eq!((track.exposed, last.1), (3_600, 3_600), "the newest is always there");
        assert!(track.points.len() >= MAX_POINTS / 3 && track.gap_ms <= 36_000_000 / 40);
        for pair in track.points.windows(2) {
            assert!(pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        }
        // Straight was the way, and straight is what is kept of it: nothing comes late, and nothing earlier than by the gap.
        for &(at_ms, exposed) in &track.points {
            let early_ms = u64::from(exposed - 1) * 10_000 - at_ms;
            assert!(early_ms <= track.gap_ms, "{at_ms} {exposed}");
        }
    }

    #[test]
    fn what_was_reached_early_is_not_drawn_late_however_long_the_change_lasts() {
        const DAY_MS: u64 = 24 * 3_600_000;
        let mut track = Track::new();
        for n in 0..200_u32 {
            track.note(u64::from(n) * 30_000, n + 1);
        }
        // From then on somebody dies now and then, and somebody is born.
        for day in 1..60_u64 {
            track.note(day * DAY_MS, 199);
            track.note(day * DAY_MS + 3_600_000, 200);
        }
        let half = track.points.iter().find(|point| point.1 >= 100).unwrap();
        assert!(half.0 <= 100 * 30_000, "{:?}", track.points);
        assert!(track.gap_ms <= 60 * DAY_MS / 40 && track.points.len() <= MAX_POINTS);
    }
}
