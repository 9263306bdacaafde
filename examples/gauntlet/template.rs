//! Texts of a scenario with places for what is drawn: `{2..50}` for a number, `{any}` for a value of the fleet.

use serde::Deserialize;

use crate::lots::Lots;

/// One piece of a template.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    /// A number between the two, log-uniform; whole where both bounds are written without a point.
    Number(f64, f64, bool),
    /// A value of the label whose name stands before it.
    Any(String),
}

/// A text with places.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Template(Vec<Piece>);

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (place, after) = after
                .split_once('}')
                .ok_or_else(|| format!("`{text}`: `{{` is never closed; write {{LOW..HIGH}} or {{any}}"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(read(place, before).map_err(|why| format!("`{text}`: {why}"))?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

fn read(place: &str, before: &str) -> Result<Piece, String> {
    if place == "any" {
        let label = before.rsplit('@').next().and_then(|part| part.strip_suffix('='));
        return match label {
            Some(label) if !label.is_empty() && before.contains('@') => Ok(Piece::Any(label.to_owned())),
            _ => Err("`{any}` does not stand for the value of a label; write it as in @stack={any}".to_owned()),
        };
    }
    let bounds = place.split_once("..").and_then(|(low, high)| {
        let (low, high) = (low.trim(), high.trim());
        let whole = !low.contains('.') && !high.contains('.');
        Some((low.parse::<f64>().ok()?, high.parse::<f64>().ok()?, whole))
    });
    match bounds {
        Some((low, high, whole)) if low > 0.0 && low <= high && high.is_finite() => Ok(Piece::Number(low, high, whole)),
        Some(_) => Err(format!(
            "`{{{place}}}` must go from a number above 0 to one that is not below it, as in {{2..50}}"
        )),
        None => Err(format!(
            "`{{{place}}}` is no place; write {{LOW..HIGH}}, as in {{2..50}}, or {{any}}"
        )),
    }
}

impl Template {
    /// Whether it names this value of a label.
    pub(crate) fn names(&self, key: &str, value: &str) -> bool {
        let named = format!("@{key}={value}");
        let in_text = |text: &str| {
            let mut behind = text.match_indices(&named).map(|(at, found)| &text[at + found.len()..]);
            behind.any(|behind| behind.is_empty() || behind.starts_with(['@', ':', '+', ',', ' ']))
        };
        self.0
            .iter()
            .any(|piece| matches!(piece, Piece::Text(text) if in_text(text)))
    }

    /// The labels of which a value is wanted.
    pub(crate) fn labels(&self) -> Vec<&str> {
        let label = |piece: &'_ Piece| matches!(piece, Piece::Any(_));
        let wanted = self.0.iter().filter(|piece| label(piece));
        wanted
            .filter_map(|piece| {
                if let Piece::Any(label) = piece {
                    Some(label.as_str())
                } else {
                    None
                }
            })
            .collect()
    }

    /// The text, with its places filled; `value` gives that of a label.
    pub(crate) fn fill(&self, lots: &mut Lots, value: impl Fn(&str) -> String) -> String {
        self.filled(|low, high| low * (high / low).powf(lots.unit()), value)
    }

    /// The text with the lowest numbers, and that with the highest.
    pub(crate) fn extremes(&self, value: impl Fn(&str) -> String) -> [String; 2] {
        [self.filled(|low, _| low, &value), self.filled(|_, high| high, &value)]
    }

    fn filled(&self, mut number: impl FnMut(f64, f64) -> f64, value: impl Fn(&str) -> String) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Number(low, high, true) => format!("{:.0}", number(*low, *high)),
            Piece::Number(low, high, false) => format!("{:.4}", number(*low, *high))
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned(),
            Piece::Any(label) => value(label),
        };
        self.0.iter().map(text).collect()
    }
}

/// A number of a world: fixed, or `"{LOW..HIGH}"`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub(crate) enum Figure {
    Fixed(f64),
    Drawn(Template),
}

impl TryFrom<serde_json::Value> for Figure {
    type Error = String;

    fn try_from(value: serde_json::Value) -> Result<Self, String> {
        let wrong = |found: &str| {
            format!("{found} is no number; give one, or two between which it is drawn, as in \"{{1..6}}\"")
        };
        match &value {
            serde_json::Value::Number(number) => number
                .as_f64()
                .map(Self::Fixed)
                .ok_or_else(|| wrong(&value.to_string())),
            serde_json::Value::String(text) => {
                let figure = Self::Drawn(Template::try_from(text.clone())?);
                let is_number = figure.extremes().iter().all(|end| end.is_finite());
                is_number.then_some(figure).ok_or_else(|| wrong(&value.to_string()))
            }
            other => Err(wrong(&other.to_string())),
        }
    }
}

impl Figure {
    pub(crate) fn fill(&self, lots: &mut Lots) -> f64 {
        match self {
            Self::Fixed(value) => *value,
            Self::Drawn(template) => template.fill(lots, |_| String::new()).parse().unwrap_or(f64::NAN),
        }
    }

    pub(crate) fn extremes(&self) -> [f64; 2] {
        match self {
            Self::Fixed(value) => [*value; 2],
            Self::Drawn(template) => template
                .extremes(|_| String::new())
                .map(|text| text.parse().unwrap_or(f64::NAN)),
        }
    }
}
