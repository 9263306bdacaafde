//! Windows and freezes out of the tree: whom they concern, and who says so.

use std::sync::Arc;

use super::fields::{Fields, Reader};
use super::yaml::{At, Node, Value};
use crate::rule::OnUnknown;
use crate::selector::Selector;
use crate::suggest::nearest;
use crate::window::{Rollback, When, Window, WindowKind};
use crate::zone::{Zone, Zones};

const KINDS: [(&str, WindowKind); 2] = [("protected", WindowKind::Protected), ("change", WindowKind::Change)];

const ROLLBACKS: [(&str, Rollback); 2] = [("allowed", Rollback::Allowed), ("forbidden", Rollback::Forbidden)];

/// The fields a window shares with a freeze.
struct Shared<'n> {
    id: Option<(&'n str, At)>,
    zone: Option<Arc<Zone>>,
    selector: Option<Selector>,
    reason: Option<&'n str>,
    rollback: Option<Rollback>,
    unknown: Option<OnUnknown>,
}

impl Reader<'_> {
    pub(super) fn window(&mut self, node: &Node, owner: Option<&str>, scope: &Selector) -> Option<(Window, At)> {
        let known = [
            "id", "kind", "weekly", "cron", "dated", "yearly", "holidays", "zone", "select", "owner", "reason",
            "rollback", "unknown",
        ];
        let fields = self.fields(node, "a window", &known)?;
        let shared = self.shared(&fields, scope, "friday-evening");
        let kind = self
            .require(&fields, "kind", "protected")
            .and_then(|node| self.window_kind(node));
        let own = fields.get("owner").map(|node| self.text(node, "owner"));
        let schedule = self.schedule(&fields, shared.zone.as_ref(), kind);
        let (id, at) = shared.id?;
        let schedule = schedule?;
        let window = Window {
            pack: 0,
            id: id.to_owned(),
            kind: kind?,
            selector: shared.selector?,
            zone: shared.zone?.name().to_owned(),
            when: schedule.when,
            events: schedule.events,
            rollback: shared.rollback?,
            unknown: shared.unknown?,
            owner: own.unwrap_or(owner)?.to_owned(),
            reason: shared.reason?.to_owned(),
        };
        Some((window, at))
    }

    fn window_kind(&mut self, node: &Node) -> Option<WindowKind> {
        if matches!(&node.value, Value::Text(word) if word == "freeze") {
            self.fault(node.at, "a freeze is no window", "put it into the list `freezes`");
            return None;
        }
        self.word(node, "kind", &KINDS)
    }

    pub(super) fn freeze(&mut self, node: &Node, scope: &Selector) -> Option<(Window, At)> {
        let known = [
            "id", "from", "until", "zone", "select", "owner", "reason", "rollback", "unknown",
        ];
        let fields = self.fields(node, "a freeze", &known)?;
        let shared = self.shared(&fields, scope, "singles-day");
        let span = self.span(&fields, shared.zone.as_deref(), WindowKind::Freeze);
        let owner = self.required_text(&fields, "owner", "who may lift it");
        let (id, at) = shared.id?;
        let span = span?;
        let window = Window {
            pack: 0,
            id: id.to_owned(),
            kind: WindowKind::Freeze,
            selector: shared.selector?,
            zone: shared.zone?.name().to_owned(),
            when: When::once(span.from, span.until),
            events: Arc::default(),
            rollback: shared.rollback?,
            unknown: shared.unknown?,
            owner: owner?.to_owned(),
            reason: shared.reason?.to_owned(),
        };
        Some((window, at))
    }

    fn shared<'n>(&mut self, fields: &Fields<'n>, scope: &Selector, id: &str) -> Shared<'n> {
        Shared {
            id: self.id(fields, "id", id),
            zone: self.zone(fields),
            selector: self.select(fields, scope),
            reason: self.required_text(fields, "reason", "why it exists"),
            rollback: fields.get("rollback").map_or(Some(Rollback::Forbidden), |node| {
                self.word(node, "rollback", &ROLLBACKS)
            }),
            unknown: self.on_unknown(fields),
        }
    }

    fn zone(&mut self, fields: &Fields<'_>) -> Option<Arc<Zone>> {
        let node = self.require(fields, "zone", "Europe/Berlin")?;
        let name = self.text(node, "zone")?;
        let found = self.library.zones.get(name);
        if found.is_none() {
            let all = Zones::names();
            self.fault(
                node.at,
                format!("the time zone `{name}` does not exist"),
                nearest(name, all.iter().map(String::as_str)).map_or_else(
                    || "use an IANA name such as Europe/Berlin or UTC".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                ),
            );
        }
        found
    }
}
