//! The format of a pack, version 1.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::error::PackError;
use super::fields::{Fields, Reader};
use super::yaml::{self, At, Node, Value};
use super::{KeyUse, scalar};
use crate::bound::never_open;
use crate::digest::Digest;
use crate::rule::{Pack, Rollback, Rule, RuleKind, When};
use crate::selector::Selector;
use crate::suggest::nearest;
use crate::time::{DAY_MS, in_range, zone};
use crate::weekly::{Occurrence, Weekly, first_instant, last_instant};

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

/// One file without fault.
#[derive(Debug)]
pub(super) struct File {
    pub(super) file: String,
    /// Where the pack is named.
    pub(super) at: At,
    pub(super) pack: Pack,
    /// Sorted by id.
    pub(super) rules: Vec<Rule>,
}

/// Decodes one file. `None` when it has faults, which are all in `errors` then.
pub(super) fn file(name: &str, text: &str, errors: &mut Vec<PackError>, keys: &mut Vec<KeyUse>) -> Option<File> {
    let before = errors.len();
    let root = match yaml::parse(name, text) {
        Ok(root) => root,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    let mut reader = Reader {
        file: name,
        errors,
        keys,
    };
    let decoded = reader.pack(&root, text);
    if errors.len() > before { None } else { decoded }
}

impl Reader<'_> {
    fn pack(&mut self, root: &Node, text: &str) -> Option<File> {
        // A file of another version may look quite different, so its version is read before anything else.
        if let Value::Map(entries) = &root.value {
            let is_version = |(key, _): &&(Node, Node)| matches!(&key.value, Value::Text(k) if k == "version");
            if let Some((_, version)) = entries.iter().find(is_version)
                && !matches!(&version.value, Value::Number(n) if n == "1")
            {
                self.fault(
                    version.at,
                    "this is not version 1 of the pack format, the only one this program reads",
                    "write `version: 1`, or use a newer program",
                );
                return None;
            }
        }
        let fields = self.fields(
            root,
            "a pack",
            &["version", "pack", "owner", "scope", "windows", "freezes"],
        )?;
        self.require(&fields, "version", "1");
        let name = self.id(&fields, "pack", "payments");
        let owner = self.required_text(&fields, "owner", "team-payments");
        let scope = self.require(&fields, "scope", "all").and_then(|node| self.scope(node));
        let mut rules: Vec<(Rule, At)> = Vec::new();
        // A faulty scope is noted above; the rules are read all the same, for their own faults.
        let scope_or_all = scope.clone().unwrap_or_default();
        for node in self.list(&fields, "windows") {
            if let Some(rule) = self.window(node, owner, &scope_or_all) {
                rules.push(rule);
            }
        }
        for node in self.list(&fields, "freezes") {
            if let Some(rule) = self.freeze(node, &scope_or_all) {
                rules.push(rule);
            }
        }
        let mut ids: BTreeMap<&str, At> = BTreeMap::new();
        let mut twice = Vec::new();
        for (rule, at) in &rules {
            if let Some(first) = ids.get(rule.id.as_str()) {
                twice.push((*at, rule.id.clone(), first.line));
            } else {
                ids.insert(&rule.id, *at);
            }
        }
        for (at, id, line) in twice {
            self.fault(
                at,
                format!("the id `{id}` is taken already, in line {line}"),
                "give each window and freeze of the pack an id of its own",
            );
        }
        let (name, at) = name?;
        let pack = Pack {
            name: name.to_owned(),
            version: Digest::new("pack/1").text(text).hex(),
            scope: scope?,
        };
        let (mut rules, places): (Vec<Rule>, Vec<At>) = rules.into_iter().unzip();
        if let Some(closing) = never_open(&rules, &pack)
            && let Some(at) = rules
                .iter()
                .zip(places)
                .find(|(rule, _)| rule.id == closing.id)
                .map(|(_, at)| at)
        {
            self.fault(
                at,
                format!(
                    "with `{}` the windows of this pack never leave its scope open, in no week",
                    closing.id
                ),
                "shorten a protected window, or let a change window lie outside of them",
            );
        }
        rules.sort_by(|a, b| a.id.cmp(&b.id));
        Some(File {
            file: self.file.to_owned(),
            at,
            pack,
            rules,
        })
    }

    fn window(&mut self, node: &Node, owner: Option<&str>, scope: &Selector) -> Option<(Rule, At)> {
        let known = ["id", "kind", "weekly", "zone", "select", "owner", "reason", "rollback"];
        let fields = self.fields(node, "a window", &known)?;
        let id = self.id(&fields, "id", "friday-evening");
        let kind = self.require(&fields, "kind", "protected").and_then(|node| {
            self.word(
                node,
                "kind",
                &[("protected", RuleKind::Protected), ("change", RuleKind::Change)],
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
        let rule = Rule {
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

    fn freeze(&mut self, node: &Node, scope: &Selector) -> Option<(Rule, At)> {
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
        let rule = Rule {
            pack: 0,
            id: id.to_owned(),
            kind: RuleKind::Freeze,
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

    fn scope(&mut self, node: &Node) -> Option<Selector> {
        if let Value::Text(text) = &node.value {
            if text == "all" {
                return Some(Selector::default());
            }
            self.fault(
                node.at,
                format!("`scope: {text}` is not a scope"),
                "write labels, `{business: payments}`, or `all` for a pack that speaks for everything",
            );
            return None;
        }
        self.selector(node, "scope").map(|(selector, _)| selector)
    }

    /// The selection of a rule, narrowed to the scope of its pack.
    fn select(&mut self, fields: &Fields<'_>, scope: &Selector) -> Option<Selector> {
        let Some(node) = fields.get("select") else {
            return Some(scope.clone());
        };
        let (selector, places) = self.selector(node, "select")?;
        let mut sound = true;
        for (key, at) in places {
            if let (Some(mine), Some(granted)) = (selector.values(key), scope.values(key))
                && let Some(beyond) = mine.difference(granted).next()
            {
                sound = false;
                self.fault(
                    at,
                    format!("`{key}: {beyond}` lies outside the scope of the pack"),
                    "a pack speaks only for its scope: widen `scope`, or narrow `select`",
                );
            }
        }
        sound.then(|| scope.and(&selector))
    }

    fn selector<'n>(&mut self, node: &'n Node, what: &str) -> Option<(Selector, Vec<(&'n str, At)>)> {
        let Value::Map(entries) = &node.value else {
            self.fault(
                node.at,
                format!("`{what}` is {}, not a mapping", node.value.kind()),
                "write labels with a value or a list of values, `{tier: [gold]}`",
            );
            return None;
        };
        if entries.is_empty() {
            self.fault(
                node.at,
                format!("`{what}` is empty"),
                "name a label, or remove it (a scope may be `all`)",
            );
            return None;
        }
        let mut terms = BTreeMap::new();
        let mut places = Vec::new();
        let mut sound = true;
        for (key, value) in entries {
            let key_text = self.text(key, "label");
            let nodes = if let Value::List(nodes) = &value.value {
                nodes
            } else {
                std::slice::from_ref(value)
            };
            if nodes.is_empty() {
                self.fault(
                    value.at,
                    "a label without a value selects nothing",
                    "name a value, or remove the label",
                );
                sound = false;
            }
            let mut values = BTreeSet::new();
            for node in nodes {
                match self.text(node, key_text.unwrap_or("label")) {
                    Some(text) => {
                        values.insert(text.to_owned());
                    }
                    None => sound = false,
                }
            }
            let Some(key_text) = key_text else {
                sound = false;
                continue;
            };
            self.keys.push(KeyUse {
                key: key_text.to_owned(),
                file: self.file.to_owned(),
                line: key.at.line,
                column: key.at.column,
            });
            places.push((key_text, value.at));
            terms.insert(key_text.to_owned(), values);
        }
        sound.then(|| (Selector::new(terms), places))
    }
}
