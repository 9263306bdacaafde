//! What a look shows of the world.
use std::sync::Arc;

use super::world::{Conn, Kind, OTHER, Slot, World, version};
use crate::{ConfigSeen, Ingress, InstanceId, Mode, Moves, Observation, Pair, Phase, SelfCheck, SlotSeen, Which};

impl World {
    pub(super) fn observe(&self) -> Observation {
        let one = self.see(&self.slots[0], self.conn);
        let serves = |slot: &&Slot| slot.foreign || slot.version == Some(self.live);
        let of = if self.mode == Mode::Hot {
            let slot = self.slots.iter().find(serves);
            slot.map_or_else(SlotSeen::empty, |slot| self.see(slot, self.conn))
        } else {
            one
        };
        Observation {
            phase: if self.gone { Phase::Gone } else { of.phase },
            version: of.version,
            instance: of.instance,
            ready: of.ready,
            self_check: of.self_check,
            ingress: if self.open { Ingress::Open } else { Ingress::Closed },
            active: Some(u32::from(self.mode == Mode::Warm && self.conn != Conn::Ended)),
            pair: (self.mode == Mode::Hot).then(|| {
                Box::new(Pair {
                    slots: self.slots.each_ref().map(|slot| self.see(slot, self.conn)),
                    session: self.session,
                    moves: Moves::default(),
                })
            }),
            config: (self.mode == Mode::Config).then(|| {
                Box::new(ConfigSeen {
                    acknowledged: if self.other_config {
                        Some(OTHER.into())
                    } else {
                        self.config.map(version)
                    },
                    refused: self.refused.map(|which| (version(which), Arc::from("no"))),
                })
            }),
        }
    }

    fn see(&self, slot: &Slot, conn: Conn) -> SlotSeen {
        if slot.foreign {
            return SlotSeen {
                version: Some(OTHER.into()),
                phase: Phase::Running,
                instance: slot.instance.map(|instance| InstanceId(instance.into())),
                ready: true,
                self_check: SelfCheck::Passed,
                listeners: true,
                accepting: true,
                committed: true,
                ..SlotSeen::empty()
            };
        }
        let Some(which) = slot.version else {
            return SlotSeen::empty();
        };
        let runs = self.runs(which);
        let good = self.is_good(which);
        SlotSeen {
            version: Some(version(which)),
            phase: match slot.instance {
                None if slot.idle => Phase::Stopped,
                None => Phase::Starting,
                Some(_) if self.crashes(which) => Phase::Crashing,
                Some(_) => Phase::Running,
            },
            instance: slot
                .instance
                .filter(|_| runs)
                .map(|instance| InstanceId(instance.into())),
            ready: good,
            self_check: match (good, runs, self.kind) {
                (true, _, _) => SelfCheck::Passed,
                (false, true, Kind::Failing) => SelfCheck::Failed { check: "disk".into() },
                _ => SelfCheck::Unreported,
            },
            listeners: slot.listeners,
            accepting: slot.accepting && runs,
            accepted: Some(u64::from(slot.accepting)),
            connections: Some(match conn {
                Conn::At(at) => u32::from(at == which),
                Conn::Offered(to) => u32::from(to != which),
                Conn::Ended | Conn::Lost => 0,
            }),
            committed: which == Which::New && self.live == Which::New,
            retired: slot.retired,
        }
    }
}
