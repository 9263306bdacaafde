//! Time against exposure, in letters.

use unattended::batching::Tradeoff;

const WIDTH: usize = 60;
const HEIGHT: usize = 12;

/// A picture of which way to grow costs what: time to the right, exposure upwards, both logarithmic.
pub(crate) fn picture(points: &[Tradeoff]) -> String {
    let (times, exposures) = (
        Scale::of(points.iter().map(hours), WIDTH),
        Scale::of(points.iter().map(|point| point.exposed), HEIGHT),
    );
    let mut rows = vec![vec![' '; WIDTH + 24]; HEIGHT];
    let place = |point: &Tradeoff| (times.at(hours(point)), HEIGHT - 1 - exposures.at(point.exposed));
    // The plan itself last: it hides what lies under it.
    for point in points.iter().rev() {
        let (x, y) = place(point);
        rows[y][x] = match (point.growth, point.best) {
            (None, _) => '◆',
            (_, true) => '●',
            (_, false) => '○',
        };
    }
    for point in points {
        let ((x, y), label) = (place(point), name(point));
        let letters = label.chars().count();
        // As near to its mark as it finds room.
        let free = (x + 2..rows[y].len().saturating_sub(letters)).find(|&from| {
            let around = &rows[y][from - 1..from + letters];
            around.iter().all(|&cell| cell == ' ')
        });
        for (cell, letter) in free.into_iter().flat_map(|from| from..).zip(label.chars()) {
            rows[y][cell] = letter;
        }
    }
    let mut text = String::from("  exposed targets\n");
    for (at, row) in rows.iter().enumerate() {
        let label = match at {
            0 => exposures.high,
            _ if at == HEIGHT - 1 => exposures.low,
            _ => f64::NAN,
        };
        let label = if label.is_nan() { String::new() } else { short(label) };
        let row: String = row.iter().collect();
        text.push_str(&format!("{label:>9} │{}\n", row.trim_end()));
    }
    text.push_str(&format!("{:>9} └{}\n", "", "─".repeat(WIDTH)));
    let (low, high) = (format!("{} h", short(times.low)), format!("{} h", short(times.high)));
    text.push_str(&format!(
        "{:>11}{low}{:>gap$}\n",
        "",
        high,
        gap = WIDTH - low.chars().count()
    ));
    text.push_str("  ◆ this plan   ● nothing is better in both   ○ beaten by another\n");
    text
}

/// What a point is called.
pub(crate) fn name(point: &Tradeoff) -> String {
    point
        .growth
        .map_or_else(|| "this plan".to_owned(), |growth| format!("×{growth}"))
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
pub(crate) fn hours(point: &Tradeoff) -> f64 {
    point.time_ms as f64 / 3_600_000.0
}

/// A number with as many digits as people read.
pub(crate) fn short(number: f64) -> String {
    if number < 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.0}")
    }
}

/// A logarithmic scale over some cells.
pub(crate) struct Scale {
    pub(crate) low: f64,
    pub(crate) high: f64,
    cells: usize,
}

impl Scale {
    pub(crate) fn of(values: impl Iterator<Item = f64> + Clone, cells: usize) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min).max(1e-3);
        let high = values.fold(low, f64::max);
        Self { low, high, cells }
    }

    /// From 0 to 1; in the middle if there is nothing to tell apart.
    pub(crate) fn share(&self, value: f64) -> f64 {
        let span = libm::log(self.high / self.low);
        if span < 1e-9 {
            return 0.5;
        }
        (libm::log(value.max(self.low) / self.low) / span).clamp(0.0, 1.0)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of few cells"
    )]
    #[expect(clippy::cast_precision_loss, reason = "cells are few")]
    fn at(&self, value: f64) -> usize {
        (self.share(value) * (self.cells - 1) as f64).round() as usize
    }
}
