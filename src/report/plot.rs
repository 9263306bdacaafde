//! The paper that charts are drawn on: scales, axes, patterns, and numbers that are always finite.

use maud::{Markup, PreEscaped, html};

use super::format::{Clock, real};

/// A chart is drawn twice, and the style sheet shows the one that fits: text in a drawing that only shrinks would be
/// unreadable on a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Wide,
    Narrow,
}

impl Size {
    pub(super) const BOTH: [Self; 2] = [Self::Wide, Self::Narrow];

    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }

    /// How many marks fit on the time axis.
    const fn marks(self) -> u64 {
        match self {
            Self::Wide => 12,
            Self::Narrow => 5,
        }
    }

    /// A city short enough for the corner of an axis.
    fn abridged(self, city: &str) -> String {
        let most = if self == Self::Wide { 11 } else { 7 };
        if city.chars().count() > most {
            city.chars().take(most - 1).chain(['\u{2026}']).collect()
        } else {
            city.to_owned()
        }
    }

    /// The width of a letter of a label, in pixels, generously.
    pub(super) const fn letter(self) -> f64 {
        6.6
    }
}

/// A coordinate. Not a number and infinities become 0: a drawing must never carry them.
pub(super) fn px(value: f64) -> String {
    if !value.is_finite() || value.abs() < 0.05 {
        return "0".to_owned();
    }
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// A rectangle of the drawing with a time axis and a vertical scale of `low..high`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plot {
    pub(super) size: Size,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) until_ms: u64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Plot {
    pub(super) fn new(size: Size, height: f64, until_ms: u64, low: f64, high: f64, local: bool) -> Self {
        let (width, left, right) = match size {
            Size::Wide => (1120.0, 84.0, 66.0),
            Size::Narrow => (358.0, 56.0, 10.0),
        };
        let high = if high > low { high } else { low + 1.0 };
        let bottom = if local { 38.0 } else { 24.0 };
        Self {
            size,
            width,
            height,
            left,
            right,
            top: 26.0,
            bottom,
            until_ms: until_ms.max(60_000),
            low,
            high,
        }
    }

    pub(super) fn x(&self, at_ms: u64) -> f64 {
        let part = (real(at_ms) / real(self.until_ms)).clamp(0.0, 1.0);
        self.left + part * (self.width - self.left - self.right)
    }

    /// The height of a value; what lies outside the scale is drawn at its edge.
    pub(super) fn y(&self, value: f64) -> f64 {
        let value = if value.is_nan() {
            self.low
        } else {
            value.clamp(self.low, self.high)
        };
        let part = (value - self.low) / (self.high - self.low);
        self.floor() - part * (self.floor() - self.top)
    }

    pub(super) fn floor(&self) -> f64 {
        self.height - self.bottom
    }

    pub(super) fn end(&self) -> f64 {
        self.width - self.right
    }

    /// The points of a line; not-a-number values are left out.
    pub(super) fn line(&self, points: impl Iterator<Item = (u64, f64)>) -> String {
        let mut out = String::new();
        for (at, value) in points.filter(|(_, value)| !value.is_nan()) {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(&px(self.x(at)));
            out.push(',');
            out.push_str(&px(self.y(value)));
        }
        out
    }

    /// The frame of the drawing with the time axis below.
    pub(super) fn drawing(&self, id: &str, title: &str, description: &str, clock: &Clock, inside: &Markup) -> Markup {
        let id = format!("{id}-{}", self.size.class());
        let (marks, whole_days) = clock.ticks(0, self.until_ms, self.size.marks());
        let first_row = self.floor() + 16.0;
        // A phone's margin is too narrow to end a city's name where the labels of the scale end.
        let (corner, anchor) = if self.size == Size::Wide {
            (self.left - 8.0, "end")
        } else {
            (0.0, "start")
        };
        html! {
            svg class={"chart " (self.size.class())} viewBox={"0 0 " (px(self.width)) " " (px(self.height))} role="img"
                aria-labelledby={(id) "-title " (id) "-desc"} {
                title id={(id) "-title"} { (title) }
                desc id={(id) "-desc"} { (description) }
                defs {
                    pattern id={(id) "-hatch"} width="7" height="7" patternUnits="userSpaceOnUse"
                        patternTransform="rotate(45)" { path.hatch d="M0 0v7" {} }
                }
                (inside)
                path.axis d={"M" (px(self.left)) " " (px(self.floor())) "H" (px(self.end()))} {}
                @for at in marks {
                    @let (utc, local) = clock.tick(at, whole_days);
                    // A label this close to the corner would run into the names of the zones.
                    @let free = self.x(at) >= self.left + 14.0;
                    path.axis d={"M" (px(self.x(at))) " " (px(self.floor())) "v4"} {}
                    @if free {
                        @let (x, anchor) = self.under(at, &utc);
                        text x=(px(x)) y=(px(first_row)) text-anchor=(anchor) { (utc) }
                    }
                    @if let Some(local) = local.filter(|_| free) {
                        @let (x, anchor) = self.under(at, &local);
                        text.local x=(px(x)) y=(px(first_row + 14.0)) text-anchor=(anchor) { (local) }
                    }
                }
                text x=(px(corner)) y=(px(first_row)) text-anchor=(anchor) { "UTC" }
                @if let Some(city) = clock.city().filter(|_| !whole_days) {
                    text.local x=(px(corner)) y=(px(first_row + 14.0)) text-anchor=(anchor) { (self.size.abridged(city)) }
                }
            }
        }
    }

    /// Where a label below the time axis stands: in the middle under its mark, unless it would be cut off at the edge.
    fn under(&self, at_ms: u64, label: &str) -> (f64, &'static str) {
        let (x, letters) = (self.x(at_ms), label.chars().count());
        if x + real(letters as u64) * self.size.letter() / 2.0 > self.width {
            (self.width, "end")
        } else {
            (x, "middle")
        }
    }

    /// The fill that hatches an area of this drawing.
    pub(super) fn hatch(&self, id: &str) -> String {
        format!("url(#{id}-{}-hatch)", self.size.class())
    }

    /// A horizontal line of the grid with its label.
    pub(super) fn grid(&self, value: f64, label: &str) -> Markup {
        let y = px(self.y(value));
        html! {
            path.grid d={"M" (px(self.left)) " " (y) "H" (px(self.end()))} {}
            text x=(px(self.left - 8.0)) y=(y) dy="4" text-anchor="end" { (label) }
        }
    }
}

/// Both sizes of a drawing, of which the style sheet shows one.
pub(super) fn both(draw: impl Fn(Size) -> Markup) -> Markup {
    let drawings: String = Size::BOTH.into_iter().map(|size| draw(size).into_string()).collect();
    PreEscaped(drawings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinate_is_always_a_short_finite_number() {
        assert_eq!([12.0, 12.34, -0.01, 0.0].map(px), ["12", "12.3", "0", "0"]);
        assert_eq!([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(px), ["0", "0", "0"]);
    }

    #[test]
    fn what_lies_outside_a_scale_is_drawn_at_its_edge() {
        let plot = Plot::new(Size::Wide, 300.0, 100 * 60_000, 0.0, 10.0, false);
        assert_eq!(px(plot.y(99.0)), px(plot.top));
        assert_eq!(px(plot.y(f64::NEG_INFINITY)), px(plot.floor()));
        assert_eq!(px(plot.y(f64::NAN)), px(plot.floor()));
        assert_eq!(px(plot.y(5.0)), px((plot.top + plot.floor()) / 2.0));
        assert_eq!(px(plot.x(u64::MAX)), px(plot.end()));
        assert_eq!(px(plot.x(50 * 60_000)), px((plot.left + plot.end()) / 2.0));
    }
}
