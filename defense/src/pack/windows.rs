//! Windows and freezes out of the tree.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::fields::{Fields, Reader};
use super::scalar;
use super::yaml::{At, Node, Value};
use crate::selector::Selector;
use crate::suggest::nearest;
use crate::time::{DAY_MS, in_range, zone};
use crate::window::{Occurrence, Rollback, Weekly, When, Window, WindowKind, first_instant, last_instant};

/// The longest weekly window: a week.
const LONGEST_MS: i64 = 7 * DAY_MS;

const DAYS: [(&str, u8); 7] = [
    ("mon", 1),
    ("tue", 2),
    ("wed", 4),
    ("thu", 8),
    ("fri", 16),
    ("sat", 32),
    ("sun", 64),
];

const ROLLBACKS: [(&str, Rollback); 2] = [("allowed", Rollback::Allowed), ("forbidden", Rollback::Forbidden)];

impl Reader<'_> {
    pub(super) fn window(&mut self, node: &Node, owner: Option<&str>, scope: &Selector) -> Option<(Window, At)> {
        let known = ["id", "kind", "weekly", "zone", "select", "owner", "reason", "rollback"];
        let fields = self.fields(node, "a window", &known)?;
        let id = self.id(&fields, "id", "friday-evening");
        let kind = self.require(&fields, "kind", "protected").and_then(|node| {
            self.word(
                node,
                "kind",
                &[("protected", WindowKind::Protected), ("change", WindowKind::Change)],
            )
        });
        let zone = self.zone(&fields);
        let weekly = self
            .require(&fields, "weekly", "{days: [fri], from: \"18:00\", for: 14h}")
            .and_then(|node| self.weekly(node, zone.as_ref().map(|(zone, _)| zone)));
        let selector = self.select(&fields, scope);
        let own = fields.get("owner").map(|node| self.text(node, "owner"));
        let reason = self.required_text(&fields, "reason", "why it exists");
        let rollback = self.rollback(&fields);
        let (id, at) = id?;
        let rule = Window {
            pack: 0,
            id: id.to_owned(),
            kind: kind?,
            selector: selector?,
            zone: zone?.1,
            when: When::Weekly(weekly?),
            rollback: rollback?,
            owner: own.unwrap_or(owner)?.to_owned(),
            reason: reason?.to_owned(),
        };
        Some((rule, at))
    }

    pub(super) fn freeze(&mut self, node: &Node, scope: &Selector) -> Option<(Window, At)> {
        let known = ["id", "from", "until", "zone", "select", "owner", "reason", "rollback"];
        let fields = self.fields(node, "a freeze", &known)?;
        let id = self.id(&fields, "id", "singles-day");
        let zone = self.zone(&fields);
        let tz = zone.as_ref().map(|(zone, _)| zone);
        let from = self.dated(&fields, "from", "2026-11-10T00:00", tz, first_instant);
        let until = self.dated(&fields, "until", "2026-11-12T00:00", tz, last_instant);
        if let (Some((from, _)), Some((until, at))) = (from, until)
            && from >= until
        {
            self.fault(
                at,
                "the freeze ends before it begins, or at once",
                "let `until` be later than `from`",
            );
        }
        let selector = self.select(&fields, scope);
        let owner = self.required_text(&fields, "owner", "who may lift it");
        let reason = self.required_text(&fields, "reason", "why it exists");
        let rollback = self.rollback(&fields);
        let (id, at) = id?;
        let rule = Window {
            pack: 0,
            id: id.to_owned(),
            kind: WindowKind::Freeze,
            selector: selector?,
            zone: zone?.1,
            when: When::Once(Occurrence {
                from: from?.0,
                until: until?.0,
            }),
            rollback: rollback?,
            owner: owner?.to_owned(),
            reason: reason?.to_owned(),
        };
        Some((rule, at))
    }

    fn weekly(&mut self, node: &Node, zone: Option<&TimeZone>) -> Option<Weekly> {
        let fields = self.fields(node, "`weekly`", &["days", "from", "for"])?;
        let days = self
            .require(&fields, "days", "[fri, sat]")
            .and_then(|node| self.days(node));
        let at = self.require(&fields, "from", "\"18:00\"").and_then(|node| {
            let text = self.text(node, "from")?;
            let time = scalar::time_of_day(text);
            if time.is_none() {
                self.fault(
                    node.at,
                    format!("`from: {text}` is not a time of day"),
                    "write hours and minutes in quotes, from \"00:00\" to \"23:59\"",
                );
            }
            time
        });
        let duration_ms = self.require(&fields, "for", "14h").and_then(|node| self.length(node));
        Some(Weekly {
            days: days?,
            at: at?,
            duration_ms: duration_ms?,
            zone: zone?.clone(),
        })
    }

    fn days(&mut self, node: &Node) -> Option<u8> {
        if let Value::Text(text) = &node.value
            && text == "daily"
        {
            return Some(0b111_1111);
        }
        let one = std::slice::from_ref(node);
        let days = if let Value::List(days) = &node.value { days } else { one };
        if days.is_empty() {
            self.fault(node.at, "the window has no day", "name days, or write `daily`");
        }
        let mut mask = 0;
        let mut sound = !days.is_empty();
        for day in days {
            match self.word(day, "days", &DAYS) {
                Some(bit) if mask & bit != 0 => {
                    self.fault(day.at, "this day is named twice", "name each day once");
                    sound = false;
                }
                Some(bit) => mask |= bit,
                None => sound = false,
            }
        }
        sound.then_some(mask)
    }

    fn length(&mut self, node: &Node) -> Option<i64> {
        const FIX: &str = "write a length such as 90m, 14h, 1h30m or 2d, above zero and at most 7d";
        if let Value::Number(number) = &node.value {
            self.fault(node.at, format!("`for: {number}` has no unit"), FIX);
            return None;
        }
        let text = self.text(node, "for")?;
        let what = match scalar::length(text) {
            Some(ms) if (1..=LONGEST_MS).contains(&ms) => return Some(ms),
            Some(0) => "is empty",
            Some(_) => "is longer than a week",
            None => "is not a length",
        };
        self.fault(node.at, format!("`for: {text}` {what}"), FIX);
        None
    }

    fn dated(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        example: &str,
        zone: Option<&TimeZone>,
        instant: fn(&TimeZone, jiff::civil::DateTime) -> Option<i64>,
    ) -> Option<(i64, At)> {
        let node = self.require(fields, key, example)?;
        let text = self.text(node, key)?;
        let Some(civil) = scalar::dated(text) else {
            self.fault(
                node.at,
                format!("`{key}: {text}` is not a date with a time"),
                format!("write it like {example}, without an offset: the zone is a field of its own"),
            );
            return None;
        };
        let ms = instant(zone?, civil).filter(|ms| in_range(*ms));
        if ms.is_none() {
            self.fault(
                node.at,
                format!("`{key}: {text}` is out of range"),
                "use a date from 1970 to 2199",
            );
        }
        ms.map(|ms| (ms, node.at))
    }

    fn zone(&mut self, fields: &Fields<'_>) -> Option<(TimeZone, String)> {
        let node = self.require(fields, "zone", "Europe/Berlin")?;
        let name = self.text(node, "zone")?;
        let found = zone(name);
        if found.is_none() {
            let all: Vec<String> = TimeZoneDatabase::bundled()
                .available()
                .map(|zone| zone.to_string())
                .collect();
            self.fault(
                node.at,
                format!("the time zone `{name}` does not exist"),
                nearest(name, all.iter().map(String::as_str)).map_or_else(
                    || "use an IANA name such as Europe/Berlin or UTC".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                ),
            );
        }
        found.map(|zone| (zone, name.to_owned()))
    }

    fn rollback(&mut self, fields: &Fields<'_>) -> Option<Rollback> {
        fields.get("rollback").map_or(Some(Rollback::Forbidden), |node| {
            self.word(node, "rollback", &ROLLBACKS)
        })
    }
}
