//! Envoy as a program of the adapter.
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hyper::Method;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Deserialize;
use unattended_upgrade::{Generation, HandoverOrder, IngressOrder, InstanceId, Moves, Probe, SelfCheck};

use super::bootstrap::{self, Files, HEALTH, IDENTITY, Protocol, clusters, read_clusters};
use super::chain::{self, Link, StandIn};
use super::record::{Handover, Record};
use super::sockets::Sockets;
use super::{BINARY_MS, CLUSTERS, Envoy, InstanceFiles, LINK, binary, check_lengths, sockets};
use crate::TemplateError;
use crate::http::{self, Door, Silence};
use crate::program::{Able, Answer, Filled, Place, Program, SLOT_NAMES, Told, nobody};
use crate::state::{Unwritten, committed, replace_file};

/// For how long somebody stands in for a dead parent: Envoy speaks to it within the first moments of the next start.
const STAND_IN: Duration = Duration::from_secs(60);
/// How long an Envoy may take to poll once its gate is open, before the order is given again.
const JOIN_MS: u64 = 100;

/// What an Envoy says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Live,
    /// Its health endpoint answers with 503.
    Draining,
    /// It has not finished starting.
    Starting,
    /// Its administration is closed, or it does not answer.
    Silent,
}

impl Envoy {
    async fn get(&self, place: &Place, path: &str) -> Option<(u16, String)> {
        let reply = http::ask(&Door::Unix(place.admin()), Method::GET, path, Vec::new(), self.ask_ms)
            .await
            .ok()?;
        let is_it = reply.peer_pid.is_none() || place.pid.is_none() || reply.peer_pid == place.pid;
        is_it.then(|| (reply.status, String::from_utf8_lossy(&reply.body).into_owned()))
    }

    async fn word(&self, place: &Place) -> Word {
        match self.get(place, "/ready").await {
            Some((_, text)) => match text.trim() {
                "LIVE" => Word::Live,
                "DRAINING" => Word::Draining,
                _ => Word::Starting,
            },
            None => Word::Silent,
        }
    }

    /// The sum of its counters or gauges that end so.
    async fn sum(&self, place: &Place, last: &str, counts: impl Fn(&str) -> bool) -> Option<u64> {
        let (_, text) = self.get(place, &format!("/stats?filter={last}")).await?;
        let values = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            (name.ends_with(last) && counts(name)).then(|| value.trim().parse::<u64>().ok())?
        });
        Some(values.sum())
    }

    /// It waits at its gate, and for nothing else.
    async fn waits_at_gate(&self, place: &Place) -> bool {
        let gated = matches!(read_gate(place), Some((true, _)));
        gated && self.sum(place, "cluster_manager.warming_clusters", |_| true).await == Some(1)
    }

    /// Connections that it accepted, as far as it can be asked.
    async fn accepted(&self, place: &Place) -> Option<u64> {
        // Each worker counts for itself as well.
        let at_front = |name: &str| name.starts_with("listener.front_") && name.split('.').count() == 3;
        self.sum(place, "downstream_cx_total", at_front).await
    }

    async fn sockets(&self, place: &Place) -> io::Result<Sockets> {
        let (envoy, place) = (self.clone(), place.clone());
        let seen = tokio::task::spawn_blocking(move || envoy.seen(&place)).await;
        seen.map_err(io::Error::other)?
    }

    fn seen(&self, place: &Place) -> io::Result<Sockets> {
        let Some(pid) = place.pid else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let listeners = self.listeners(place).map_err(io::Error::other)?;
        let addresses: Vec<SocketAddr> = listeners.iter().map(|of| of.listen).collect();
        Sockets::of(pid, &addresses)
    }

    fn probed(&self, place: &Place) -> Option<SocketAddr> {
        let listeners = self.listeners(place).ok()?;
        listeners
            .iter()
            .find(|of| of.protocol == Protocol::Http)
            .map(|of| of.listen)
    }

    async fn identity(&self, place: &Place) -> Option<Identity> {
        let door = Door::Tcp(self.probed(place)?);
        let reply = http::ask(&door, Method::GET, IDENTITY, Vec::new(), self.ask_ms)
            .await
            .ok()?;
        serde_json::from_slice(&reply.body).ok()
    }

    /// Holds a place under a dead parent's name for as long as it may be spoken to.
    fn stand_in(&self, link: &Link, place: &Place) -> Result<(), String> {
        let hears = StandIn::for_parent_of(link, &sockets(&place.directory));
        let Some(hears) = hears.map_err(|error| format!("nobody can stand in for a dead parent: {error}"))? else {
            return Ok(());
        };
        let hears = Arc::new(hears);
        let this = Arc::downgrade(&hears);
        self.stand_ins.lock().push(hears);
        let all = Arc::clone(&self.stand_ins);
        tokio::spawn(async move {
            tokio::time::sleep(STAND_IN).await;
            all.lock().retain(|one| Arc::as_ptr(one) != this.as_ptr());
        });
        Ok(())
    }

    /// Takes away what an instance has left that does not live.
    fn bury(&self, target: &Path, instance: u64) {
        let files = InstanceFiles::numbered(target, instance);
        if let Ok(link) = chain::read_link(&files.link()) {
            if link.lives(&sockets(target)) {
                return;
            }
            // The dead speak to nobody: whoever stands in for its parent need not be taken for one that lives.
            if let Some(parent) = link.parent_socket(&sockets(target)) {
                self.stand_ins.lock().retain(|one| one.path() != parent);
            }
            chain::clear(&link, &sockets(target));
        }
        // What is not there is what is wanted.
        let _ = std::fs::remove_dir_all(&files.directory);
    }

    /// As [`bury`](Self::bury), of all that ended while nobody looked. Those that live have been alive for long enough to be
    /// seen: it is called when one starts alone.
    fn sweep(&self, target: &Path) {
        for entry in std::fs::read_dir(target.join("envoy")).into_iter().flatten().flatten() {
            if let Some(instance) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                self.bury(target, instance);
            }
        }
    }

    /// What the old one has left is cut by what follows.
    async fn count_cut(&self, place: &Place) {
        let mut record = Record::load(&place.directory);
        let Some(handover) = record.handover.as_mut() else {
            return;
        };
        if handover.old != place.instance.0 || handover.ended {
            return;
        }
        if let Ok(seen) = self.sockets(place).await {
            handover.left = seen.connections.min(handover.left);
        }
        handover.ended = true;
        // Where it cannot be written, they count as lost.
        let _ = record.store(&place.directory);
    }

    /// What became of the connections of a hand-over, told by one of the two.
    fn moves(place: &Place, seen: &Sockets) -> Moves {
        let mut record = Record::load(&place.directory);
        let directory = sockets(&place.directory);
        let Some(handover) = record.handover.as_mut() else {
            return Moves::default();
        };
        let lives = chain::read_link(&InstanceFiles::numbered(&place.directory, handover.old).link())
            .is_ok_and(|link| link.lives(&directory));
        if place.instance.0 == handover.old && !handover.ended {
            let left = seen.connections.min(handover.left);
            if left != handover.left {
                handover.left = left;
                let told = handover.moves(true);
                // What cannot be written is seen again at the next look.
                let _ = record.store(&place.directory);
                return told;
            }
            return handover.moves(true);
        }
        let tells = place.instance.0 == handover.new && (handover.ended || !lives);
        if tells { handover.moves(lives) } else { Moves::default() }
    }

    async fn accept(&self, new: &Place, old: Option<&Place>, generation: Generation) -> Answer {
        let Some((waits, open)) = read_gate(new) else {
            return Answer::Failed("it was not started to take over".to_owned());
        };
        if !waits {
            return Answer::AlreadyApplied;
        }
        if !self.waits_at_gate(new).await {
            return Answer::Retry { after_ms: JOIN_MS };
        }
        let mut record = Record::load(&new.directory);
        let had = match old {
            Some(old) => self.sockets(old).await.map_or(0, |seen| seen.connections),
            None => 0,
        };
        record.generation = record.generation.max(generation.0);
        record.handover = Some(Handover {
            old: old.map_or(0, |old| old.instance.0),
            new: new.instance.0,
            had,
            left: had,
            ended: false,
        });
        if let Err(words) = record.store(&new.directory) {
            return Answer::Unknown(words);
        }
        // Should the old one have died, it is spoken to all the same.
        let link = chain::read_link(&InstanceFiles::of(new).link());
        if let Err(words) = link.and_then(|link| self.stand_in(&link, new)) {
            return Answer::Failed(words);
        }
        match write_gate(&InstanceFiles::of(new), false, open) {
            Ok(()) => Answer::Applied,
            Err(words) => Answer::Unknown(words),
        }
    }

    async fn commit(&self, new: &Place, generation: Generation) -> Answer {
        if !matches!(self.word(new).await, Word::Live | Word::Draining) {
            return Answer::Retry { after_ms: JOIN_MS };
        }
        if committed(&new.directory) == Some((new.slot, new.instance.0)) {
            return Answer::AlreadyApplied;
        }
        let line = format!("{} {} {}\n", SLOT_NAMES[new.slot.min(1)], generation.0, new.instance.0);
        match replace_file(&new.directory, "committed", line.as_bytes()) {
            Ok(()) => Answer::Applied,
            Err(Unwritten::Not(error) | Unwritten::Unsure(error)) => Answer::Unknown(error.to_string()),
        }
    }

    /// Ends it at once: an Envoy that is told to end does not drain.
    async fn retire(&self, old: &Place) -> Answer {
        let has_left = |listens: bool| !listens;
        match self.sockets(old).await {
            Ok(seen) if has_left(seen.polls) => {}
            Ok(_) => return Answer::Failed("it still takes connections: nobody has taken over from it".to_owned()),
            Err(_) => return Answer::AlreadyApplied,
        }
        self.count_cut(old).await;
        let _ = self.drain(old).await;
        let Some(pid) = old.pid.and_then(Pid::from_raw) else {
            return Answer::AlreadyApplied;
        };
        let signalled = pidfd_open(pid, PidfdFlags::empty()).and_then(|pidfd| pidfd_send_signal(pidfd, Signal::TERM));
        match signalled {
            Ok(()) => Answer::Applied,
            Err(rustix::io::Errno::SRCH) => Answer::AlreadyApplied,
            Err(error) => Answer::Unknown(error.to_string()),
        }
    }
}

#[derive(Deserialize)]
struct Identity {
    instance: u64,
    version: String,
}

/// Whether the gate of an instance is shut, and whether it was let to new traffic.
fn read_gate(place: &Place) -> Option<(bool, bool)> {
    read_clusters(&std::fs::read(InstanceFiles::of(place).clusters()).ok()?)
}

/// Envoy sees a file that is renamed into its place, and no other.
fn write_gate(files: &InstanceFiles, waits: bool, open: bool) -> Result<(), String> {
    let text = clusters(waits, open).to_string();
    replace_file(&files.directory, CLUSTERS, text.as_bytes()).map_err(
        |(Unwritten::Not(error) | Unwritten::Unsure(error))| format!("{}: {error}", files.clusters().display()),
    )
}

#[async_trait]
impl Program for Envoy {
    fn able(&self) -> Able {
        Able {
            ingress: true,
            hand_over: true,
            config: false,
            probe: self.listeners.iter().any(|(protocol, ..)| *protocol == Protocol::Http),
            ..Able::default()
        }
    }

    fn command(&self, place: &Place) -> Result<Filled, TemplateError> {
        let files = InstanceFiles::of(place);
        // Before it is prepared it has no link, and the rest is checked all the same.
        let link = chain::read_link(&files.link()).unwrap_or(Link { base_id: 0, epoch: 0 });
        Ok(Filled {
            program: self.binary(&place.version)?,
            arguments: self.arguments(place, &link, &files),
            environment: Vec::new(),
        })
    }

    fn check(&self, place: &Place) -> Result<(), TemplateError> {
        let listeners = self.listeners(place)?;
        if listeners.is_empty() {
            return Err(TemplateError::new(
                "http",
                "there is no listener",
                "give one with `http` or `tcp`",
            ));
        }
        if self.concurrency == 0 {
            return Err(TemplateError::new(
                "concurrency",
                "there is no worker",
                "give 1 or more",
            ));
        }
        check_lengths(&place.directory)
    }

    fn binds(&self, place: &Place) -> Result<Vec<(String, SocketAddr)>, TemplateError> {
        let listeners = self.listeners(place)?;
        let field = |protocol| if protocol == Protocol::Http { "http" } else { "tcp" };
        Ok(listeners
            .iter()
            .map(|of| (field(of.protocol).to_owned(), of.listen))
            .collect())
    }

    async fn rehearse(&self, place: &Place, beside: Option<&Place>) -> Result<(), String> {
        let limit_ms = self.ask_ms.max(BINARY_MS);
        let program = self.binary(&place.version).map_err(|error| error.to_string())?;
        if let Some(beside) = beside {
            let (old, new) = (&beside.version, &place.version);
            let of_old = self.hot_restart_version(old).await?;
            let of_new = binary::hot_restart_version(&program, limit_ms).await?;
            if of_old != of_new {
                return Err(format!(
                    "no hot restart: {old} speaks its version {of_old} and {new} speaks {of_new}; change it warm or cold"
                ));
            }
        }
        let files = InstanceFiles::of_rehearsal(place);
        self.write_files(place, &files, false)?;
        let validated = binary::validate(&program, &files.bootstrap(), limit_ms).await;
        let _ = std::fs::remove_dir_all(&files.directory);
        validated
    }

    fn prepare(&self, place: &Place, parent: Option<&Place>) -> Result<(), String> {
        let link = match parent {
            None => {
                self.sweep(&place.directory);
                Link::first(&format!("{} {}", place.directory.display(), place.instance.0))?
            }
            Some(parent) => {
                let link = chain::read_link(&InstanceFiles::of(parent).link())?;
                let seen = self
                    .seen(parent)
                    .map_err(|error| format!("{}: {error}", parent.version))?;
                if !seen.listens {
                    return Err(format!("{} has no listeners to pass on", parent.version));
                }
                // What became of connections before is nothing of this one's.
                let mut record = Record::load(&place.directory);
                if place.passive && record.handover.take().is_some() {
                    record.store(&place.directory)?;
                }
                chain::forget_killed_child(&link)?;
                self.stand_in(&link, place)?;
                link.next()
            }
        };
        let files = InstanceFiles::of(place);
        self.write_files(place, &files, place.passive)?;
        let text = serde_json::to_vec(&link).map_err(|error| error.to_string())?;
        replace_file(&files.directory, LINK, &text).map_err(|(Unwritten::Not(error) | Unwritten::Unsure(error))| {
            format!("{}: {error}", files.link().display())
        })?;
        Ok(())
    }

    fn ended(&self, place: &Place) {
        self.bury(&place.directory, place.instance.0);
    }

    fn waits(&self, place: &Place, _: Option<&Told>) -> bool {
        read_gate(place).is_some_and(|(waits, _)| waits)
    }

    /// The time in which those of the other that is left may end, once the old version serves again.
    fn returning_ms(&self) -> Option<u64> {
        Some(u64::from(self.drain_s) * 1_000)
    }

    async fn ask(&self, place: &Place) -> Result<Told, String> {
        let word = self.word(place).await;
        // After its word, which it may give before it polls.
        let seen = self.sockets(place).await;
        let seen = seen.map_err(|error| format!("its sockets cannot be seen: {error}"))?;
        let ready = match word {
            Word::Live | Word::Draining => seen.polls,
            Word::Starting => self.waits_at_gate(place).await,
            // Closed since another one started: what it serves says whether it can.
            Word::Silent => {
                seen.polls
                    && match self.probed(place) {
                        Some(_) => self
                            .identity(place)
                            .await
                            .is_some_and(|who| who.instance == place.instance.0),
                        None => true,
                    }
            }
        };
        let link = chain::read_link(&InstanceFiles::of(place).link());
        let directory = sockets(&place.directory);
        let session = link.is_ok_and(|link| {
            let follows = link.next().lives(&directory);
            let followed = link.epoch > 0
                && Link {
                    epoch: link.epoch - 1,
                    ..link
                }
                .lives(&directory);
            follows || followed
        });
        let record = Record::load(&place.directory);
        Ok(Told {
            ready,
            self_check: if ready {
                SelfCheck::Passed
            } else {
                SelfCheck::Unreported
            },
            active: Some(seen.connections),
            listeners: seen.listens,
            accepting: seen.polls,
            accepted: if word == Word::Silent {
                None
            } else {
                self.accepted(place).await
            },
            connections: Some(seen.connections),
            committed: committed(&place.directory) == Some((place.slot, place.instance.0)),
            session,
            moves: Self::moves(place, &seen),
            generation: record.generation,
            ..Told::plain(ready, SelfCheck::Unreported)
        })
    }

    async fn ingress(&self, place: &Place, order: IngressOrder) -> Answer {
        let open = order == IngressOrder::Open;
        let mut record = Record::load(&place.directory);
        record.closed = !open;
        if let Err(words) = record.store(&place.directory) {
            return Answer::Unknown(words);
        }
        let waits = read_gate(place).is_some_and(|(waits, _)| waits);
        if let Err(words) = write_gate(&InstanceFiles::of(place), waits, open) {
            return Answer::Unknown(words);
        }
        let path = if open { "/healthcheck/ok" } else { "/healthcheck/fail" };
        let told = http::ask(&Door::Unix(place.admin()), Method::POST, path, Vec::new(), self.ask_ms).await;
        match told {
            Ok(reply) if reply.status == 200 => {}
            Ok(reply) => return Answer::Unknown(format!("`{path}` was answered with {}", reply.status)),
            // Its administration is closed: the file is what it goes by.
            Err(Silence::NotAsked(_)) => {}
            Err(Silence::Unanswered(words)) => return Answer::Unknown(words),
        }
        // The file is read after its renaming is seen: what is not so yet is asked for again.
        match self.health(place).await {
            Some(healthy) if healthy != open => Answer::Retry { after_ms: JOIN_MS },
            _ => Answer::Applied,
        }
    }

    async fn drain(&self, place: &Place) -> Signal {
        self.count_cut(place).await;
        let starting = match self.word(place).await {
            Word::Starting => true,
            Word::Live | Word::Draining => false,
            Word::Silent => read_gate(place).is_some_and(|(waits, _)| waits),
        };
        if starting {
            // One that is told to end while it starts ends its parent with it.
            return Signal::KILL;
        }
        if let Ok(link) = chain::read_link(&InstanceFiles::of(place).link()) {
            // Where nobody can, it takes ten seconds to end.
            let _ = self.stand_in(&link, place);
        }
        Signal::TERM
    }

    async fn fence(&self, place: &Place, generation: Generation) -> Answer {
        let mut record = Record::load(&place.directory);
        match generation.0.cmp(&record.generation) {
            std::cmp::Ordering::Less => Answer::Stale,
            std::cmp::Ordering::Equal => Answer::AlreadyApplied,
            std::cmp::Ordering::Greater => {
                record.generation = generation.0;
                record
                    .store(&place.directory)
                    .map_or_else(Answer::Unknown, |()| Answer::Applied)
            }
        }
    }

    async fn hand_over(
        &self,
        order: HandoverOrder,
        generation: Generation,
        here: &Place,
        peer: Option<&Place>,
    ) -> Answer {
        if generation.0 < Record::load(&here.directory).generation {
            return Answer::Stale;
        }
        match order {
            // The new one has the listeners as soon as it has started; that is seen, not asked for.
            HandoverOrder::Offer => Answer::Applied,
            HandoverOrder::Accept => self.accept(here, peer, generation).await,
            // The old one closes its listeners when the new one polls.
            HandoverOrder::Quiesce => match self.sockets(here).await {
                Ok(seen) if !seen.polls => Answer::AlreadyApplied,
                Ok(_) if peer.is_some_and(|new| read_gate(new).is_some_and(|(waits, _)| waits)) => {
                    Answer::Failed("the new one has not been let in".to_owned())
                }
                Ok(_) => Answer::Retry { after_ms: JOIN_MS },
                Err(error) => Answer::NotAsked(error.to_string()),
            },
            HandoverOrder::Migrate => Answer::Applied,
            HandoverOrder::Commit => self.commit(here, generation).await,
            HandoverOrder::Retire => self.retire(here).await,
            // What has let nobody in still polls, and one of the old version that was started to return is let in now. Else
            // the adapter has started it anew, and asks nobody.
            HandoverOrder::Return if self.waits(here, None) => self.accept(here, peer, generation).await,
            HandoverOrder::Return => Answer::Applied,
        }
    }

    async fn probe(&self, place: &Place) -> Probe {
        self.identity(place).await.map_or_else(nobody, |identity| Probe {
            instance: Some(InstanceId(identity.instance)),
            version: Some(identity.version.as_str().into()),
            self_check: SelfCheck::Passed,
        })
    }
}

impl Envoy {
    /// What balancers hear, if it is this instance that says so.
    async fn health(&self, place: &Place) -> Option<bool> {
        let who = self.identity(place).await?;
        if who.instance != place.instance.0 {
            return None;
        }
        let door = Door::Tcp(self.probed(place)?);
        let reply = http::ask(&door, Method::GET, HEALTH, Vec::new(), self.ask_ms)
            .await
            .ok()?;
        Some(reply.status == 200)
    }

    fn write_files(&self, place: &Place, files: &InstanceFiles, waits: bool) -> Result<(), String> {
        let broken = |error: io::Error| format!("{}: {error}", files.directory.display());
        std::fs::create_dir_all(&files.directory).map_err(broken)?;
        let listeners = self.listeners(place).map_err(|error| error.to_string())?;
        let (file, log) = (files.clusters(), Self::access_log(&place.directory));
        let of = Files {
            clusters: &file,
            access_log: &log,
        };
        let whole = bootstrap::bootstrap(place, &listeners, self.patch_of(&place.version), of);
        let text = serde_json::to_vec_pretty(&whole).map_err(|error| error.to_string())?;
        std::fs::write(files.bootstrap(), text).map_err(broken)?;
        write_gate(files, waits, !Record::load(&place.directory).closed)
    }
}
