//! Orders to heal, carried out; and which target a host is that was named.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::{BoxFuture, Either, select};
use unattended_batching::TargetIndex;
use unattended_selfheal::{HealOrder, HealOutcome, Healer, NodeId, carry_out};
use unattended_upgrade::{Clock, EffectOutcome, TargetId};

use crate::RunError;
use crate::events::Happened;
use crate::input::Input;
use crate::machine::{HealJob, Machine};

use super::Run;

/// Orders that are under way at once, of those given for the first time and of those given again.
const MOST: usize = 64;

/// The number by which a target is healed and counted.
pub(crate) type NodeOf = dyn Fn(&TargetId) -> Option<NodeId> + Send + Sync;

/// Who heals, and how targets are called there.
#[derive(Clone)]
pub(crate) struct Hospital {
    pub(crate) healer: Arc<dyn Healer>,
    pub(crate) node: Arc<NodeOf>,
}

/// What came of an order.
pub(super) enum Answer {
    /// `None`: the target has no number, and nothing was sent.
    Of(Option<HealOutcome>),
    /// Somebody has frozen the change: it was not sent.
    Frozen,
    /// The permit does not let it be sent.
    Refused(String),
}

impl Run {
    /// Writes down that this run has somebody who heals, and its term: the moment at which it begins, or one more than the last. So terms
    /// grow from run to run and from change to change.
    pub(super) fn begin_to_heal(&mut self, machine: &mut Machine) -> Result<(), RunError> {
        if self.world.hospital.is_none() {
            return Ok(());
        }
        let wall_ms = u64::try_from(self.world.clock.wall()).unwrap_or(0);
        let term = wall_ms.max(machine.last_term().saturating_add(1));
        self.input(&Input::Healer { term })?;
        machine.heals_in(term);
        Ok(())
    }

    /// Says which targets the hosts are that were named.
    pub(super) fn name_hosts(&mut self) -> Result<(), RunError> {
        let Some(hospital) = self.world.hospital.clone() else {
            return Ok(());
        };
        for host in self.with(|machine| machine.unnamed())? {
            let target = self.with(|machine| {
                let mut members = machine.members_of(host.stratum);
                let is_it = |name: &&str| (hospital.node)(&TargetId::from(*name)) == Some(NodeId(host.host));
                members.find(is_it).map(ToOwned::to_owned)
            })?;
            let (stratum, number) = (host.stratum, host.host);
            self.input(&Input::Named {
                stratum,
                host: number,
                target: target.clone(),
            })?;
            self.with(|machine| machine.named(host, target.as_deref()))?;
        }
        Ok(())
    }

    /// Takes what became of orders, and gives those that are due. Each is in the journal before, the permit is read before each, and what
    /// became of it is an input. No order is waited for: the next turn takes what has come by then.
    pub(super) async fn heal(&mut self) -> Result<(), RunError> {
        let Some(hospital) = self.world.hospital.clone() else {
            return Ok(());
        };
        self.take_healed().await?;
        if self.was_away {
            // They are looked at again when words have been heard.
            return Ok(());
        }
        if self.kept_back > 0 && !self.heals_due()?.is_empty() {
            self.turn().await?;
        }
        let due = self.heals_due()?;
        if due.is_empty() {
            return Ok(());
        }
        let until_ms = self.world.clock.now().saturating_add(self.call_ms);
        for job in &due {
            let call = self.send_order(&hospital, job, until_ms)?;
            self.heals.add(call);
            self.heals_sent.insert(job.target, job.sent());
        }
        self.take_healed().await
    }

    fn heals_due(&self) -> Result<Vec<HealJob>, RunError> {
        let now_ms = self.world.clock.now();
        self.with(|machine| machine.heals_due(now_ms, MOST, &self.heals_sent))
    }

    async fn take_healed(&mut self) -> Result<(), RunError> {
        let (mut is_answered, mut withheld) = (false, None);
        while let Some((target, id, answer)) = self.heals.next_now().await {
            is_answered = true;
            self.heals_sent.remove(&target);
            match answer {
                Answer::Of(outcome) => {
                    let at_ms = self.world.clock.now();
                    self.input(&Input::Healed { id, outcome, at_ms })?;
                    self.with(|machine| machine.healed(id, outcome, at_ms))?;
                    // There may be room for others now.
                    self.received = true;
                }
                // It is tried again at a later turn, as long as it is wanted.
                Answer::Frozen => {}
                Answer::Refused(why) => withheld = Some(why),
            }
        }
        if !is_answered {
            return Ok(());
        }
        self.watch_permit(withheld)?;
        // Outcomes are durable before anything else is sent.
        self.turn().await
    }

    /// One order on its way; no answer in time is an answer.
    fn send_order(
        &self,
        hospital: &Hospital,
        job: &HealJob,
        until_ms: u64,
    ) -> Result<BoxFuture<'static, (TargetIndex, u64, Answer)>, RunError> {
        let about = job.target;
        let target = self.with(|machine| TargetId::from(machine.name(about)))?;
        let (hospital, shared, clock) = (
            hospital.clone(),
            Arc::clone(&self.shared),
            Arc::clone(&self.world.clock),
        );
        let permit = Arc::clone(&self.world.permit);
        let (id, term, remedy) = (job.id, job.term, job.remedy);
        let key = format!("heal/{term}/{id}");
        Ok(Box::pin(async move {
            let Some(node) = (hospital.node)(&target) else {
                return (about, id, Answer::Of(None));
            };
            if shared.frozen.load(Ordering::Acquire) {
                return (about, id, Answer::Frozen);
            }
            match permit.may_act() {
                Ok(true) => {}
                Ok(false) => return (about, id, Answer::Refused("it says no".to_owned())),
                Err(error) => return (about, id, Answer::Refused(error.to_string())),
            }
            shared.events.flush();
            shared.events.tell(|| Happened::Effect {
                target: target.to_string(),
                act: remedy.as_str().to_owned(),
                version: None,
                key: Some(key.clone()),
            });
            let order = HealOrder::new(id, term, remedy.of(node));
            let call = pin!(carry_out(hospital.healer.as_ref(), &order));
            let outcome = match select(call, pin!(clock.sleep_until(until_ms))).await {
                Either::Left((outcome, _)) => outcome,
                Either::Right(_) => HealOutcome::Failed,
            };
            shared.events.tell(|| Happened::EffectAnswered {
                target: target.to_string(),
                act: remedy.as_str().to_owned(),
                key: Some(key),
                outcome: match outcome {
                    HealOutcome::Done => EffectOutcome::Applied,
                    HealOutcome::Unsupported => EffectOutcome::Unsupported,
                    HealOutcome::Failed => EffectOutcome::Unknown {
                        reason: "it failed, or nobody knows".into(),
                    },
                },
            });
            (about, id, Answer::Of(Some(outcome)))
        }))
    }
}
