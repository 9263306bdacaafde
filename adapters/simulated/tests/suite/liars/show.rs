//! What is shown instead of what is.
use unattended_upgrade::*;

use super::Lie;
use super::platform::Liar;

impl Liar {
    /// What is shown instead of what is.
    pub(crate) fn show(&self, target: &TargetId, seen: &mut Observation, asked: usize) {
        let now = self.now();
        let mut state = self.state.lock();
        // For how long, and until when.
        let closed = state.closed.get(target);
        let closed = closed.map_or((0, u64::MAX), |(since, until)| (now - since, *until));
        match self.lie {
            Lie::ReadyWhileStarting if seen.phase == Phase::Starting => seen.ready = true,
            Lie::RunsWhileStarting if seen.phase == Phase::Starting => {
                seen.instance = Some(InstanceId(now << 8));
                (seen.phase, seen.ready, seen.self_check) = (Phase::Running, true, SelfCheck::Passed);
                for slot in seen.pair.iter_mut().flat_map(|pair| &mut pair.slots) {
                    if slot.version == seen.version {
                        (slot.phase, slot.ready, slot.self_check) = (Phase::Running, true, SelfCheck::Passed);
                        slot.instance = seen.instance;
                    }
                }
            }
            Lie::ShowsWhatWasOrdered => {
                let old = state.shown.get(target).map(|(_, seen)| seen.clone());
                match old {
                    Some(mut old) if seen.phase != Phase::Running => {
                        old.version.clone_from(&seen.version);
                        for slot in old.pair.iter_mut().flat_map(|pair| &mut pair.slots) {
                            if slot.instance == old.instance {
                                slot.version.clone_from(&seen.version);
                            }
                        }
                        *seen = old;
                    }
                    _ => drop(state.shown.insert(target.clone(), (now, seen.clone()))),
                }
            }
            Lie::ShowsManyFromACache => match state.shown.get(target) {
                _ if asked == 1 => {}
                Some((at, old)) if now < at + 30_000 => *seen = old.clone(),
                _ => drop(state.shown.insert(target.clone(), (now, seen.clone()))),
            },
            Lie::MixesTargets if state.asked % 5 == 4 => {
                seen.version = Some(
                    if seen.version == Some("old".into()) {
                        "new"
                    } else {
                        "old"
                    }
                    .into(),
                );
            }
            Lie::UsesInstancesAgain => {
                let narrow = |instance: &mut Option<InstanceId>| {
                    *instance = instance.map(|instance| InstanceId(instance.0 & !0xffff_fffe));
                };
                narrow(&mut seen.instance);
                if let Some(pair) = &mut seen.pair {
                    pair.slots.iter_mut().for_each(|slot| narrow(&mut slot.instance));
                }
            }
            Lie::OneBalancerSendsOn if seen.ingress == Ingress::Closed => {
                seen.active = seen.active.map(|active| active.max(1))
            }
            Lie::OneBalancerComesBack if seen.ingress == Ingress::Closed && closed.0 > 450_000 => seen.active = Some(1),
            Lie::OpensOntoAnything if now >= closed.1 => seen.ingress = Ingress::Open,
            Lie::LosesTheConfiguration if state.config_lost.contains(target) => {
                if let Some(config) = &mut seen.config {
                    config.acknowledged = Some("config-2".into());
                }
            }
            Lie::InventsAVersion if seen.phase == Phase::Starting => seen.version = Some("latest".into()),
            Lie::SlotsAreShownOtherwise => {
                if let Some(pair) = &mut seen.pair {
                    pair.slots.iter_mut().for_each(|slot| slot.ready = true);
                }
            }
            Lie::LosesConnections => {
                if let Some(pair) = &mut seen.pair {
                    pair.moves.lost = pair.moves.moved / 10 + u32::from(pair.moves.moved > 0);
                }
            }
            Lie::SomeConnectionsVanish => {
                if let Some(pair) = &mut seen.pair {
                    let gone = pair.moves.moved / 10 + u32::from(pair.moves.moved > 0);
                    pair.moves.moved -= gone;
                    let mut slots = pair.slots.iter_mut().filter_map(|slot| slot.connections.as_mut());
                    if let Some(most) = slots.find(|has| **has > gone) {
                        *most -= gone;
                    }
                }
            }
            // It was started again, and does not know that another one has taken its place.
            Lie::OldServesAgainAfterTheCommit => {
                if let Some(pair) = &mut seen.pair
                    && let [a, b] = &mut pair.slots
                    && (a.committed || b.committed)
                {
                    let (new, old) = if a.committed { (a, b) } else { (b, a) };
                    let fell = state
                        .fell
                        .iter()
                        .any(|(name, of)| name == target && old.version.as_ref() == Some(of));
                    if fell && old.phase == Phase::Stopped {
                        *old = SlotSeen {
                            version: old.version.clone(),
                            instance: Some(InstanceId(u64::MAX - 1)),
                            committed: false,
                            ..new.clone()
                        };
                    }
                }
            }
            // From the moment they are to move, nobody has them and nobody says so.
            Lie::ConnectionsVanish => {
                if let Some(pair) = &mut seen.pair {
                    if pair.moves.moved > 0 {
                        pair.slots.iter_mut().for_each(|slot| slot.connections = Some(0));
                    }
                    pair.moves = Moves::default();
                }
            }
            Lie::SpawnsAreForgottenOverARestart | Lie::CommitsAreForgottenOverARestart if self.restarted => {
                let lost = self.is(Lie::SpawnsAreForgottenOverARestart);
                for slot in seen.pair.iter_mut().flat_map(|pair| &mut pair.slots) {
                    if lost && !slot.committed && !slot.accepting {
                        *slot = SlotSeen::empty();
                    }
                    slot.committed &= lost;
                }
            }
            Lie::CountsBackwards => {
                if let Some(pair) = &mut seen.pair {
                    pair.moves.moved = pair.moves.moved.saturating_sub(pair.moves.declined * 4);
                }
            }
            _ => {}
        }
        let Some(pair) = &mut seen.pair else { return };
        for slot in &mut pair.slots {
            let Some(version) = &slot.version else { continue };
            let here = |list: &[(TargetId, Version)]| list.iter().any(|(name, of)| name == target && of == version);
            slot.accepting &= !here(&state.mute);
            if here(&state.left) {
                (slot.accepting, slot.retired, slot.connections) = (false, true, Some(0));
            }
        }
    }
}
