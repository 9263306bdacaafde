//! What the hand-over does with the program's sockets.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::process::Uid;
use tokio::sync::watch;
use unattended_handover::wire::{Listener, Secret};
use unattended_handover::{ConnectionId, Decline, Frozen, Host};

use crate::clock;
use crate::connection::{self, Parts, Wish};
use crate::files::Ingress;
use crate::listeners::Listeners;
use crate::state::{Event, Sidecar};

/// The program, as the hand-over sees it.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) sidecar: Arc<Sidecar>,
    pub(super) listeners: Listeners,
    /// What is wished of each connection that has a task.
    pub(super) tasks: BTreeMap<ConnectionId, watch::Sender<Wish>>,
    /// Listeners could not be bound when they had to be.
    unbound: bool,
    /// They could not all be polled when they had to be.
    unpolled: bool,
    pub(super) leaves: bool,
    /// The process is about to end: nothing is polled any more.
    pub(super) stops: bool,
    /// Connections that came and could not be kept.
    pub(super) lost: u64,
    /// Connections have come.
    pub(super) has_adopted: bool,
}

impl Program {
    pub(super) const fn new(sidecar: Arc<Sidecar>, listeners: Listeners) -> Self {
        Self {
            sidecar,
            listeners,
            tasks: BTreeMap::new(),
            unbound: false,
            unpolled: false,
            leaves: false,
            stops: false,
            lost: 0,
            has_adopted: false,
        }
    }

    fn wish(&self, id: ConnectionId, wish: impl FnOnce(&mut Wish)) {
        if let Some(task) = self.tasks.get(&id) {
            task.send_modify(wish);
        }
    }

    /// The same of all.
    pub(super) fn wish_all(&self, wish: impl Fn(&mut Wish)) {
        for task in self.tasks.values() {
            task.send_modify(&wish);
        }
    }

    fn go_on(&mut self, id: ConnectionId, parts: Parts) {
        match connection::adopt(&self.sidecar, parts) {
            Ok(task) => drop(self.tasks.insert(id, task)),
            Err(error) => {
                self.lost += 1;
                self.sidecar.log.say(format_args!("{id} is lost: {error}"));
                self.sidecar.tell(Event::Closed(id));
            }
        }
    }

    /// Goes on with what came to rest here.
    fn reopen(&mut self, frozen: Frozen) {
        let id = frozen.id;
        match connection::open(&self.sidecar, frozen) {
            Ok(parts) => self.go_on(id, parts),
            Err(decline) => {
                self.lost += 1;
                self.sidecar.log.say(format_args!("{id} is lost: {decline}"));
                self.sidecar.tell(Event::Closed(id));
            }
        }
    }

    /// Goes on with what came to rest when the process was already about to stop.
    pub(super) fn go_on_stopping(&mut self, frozen: Frozen) {
        let id = frozen.id;
        self.reopen(frozen);
        self.wish(id, |wish| wish.stop = true);
    }

    /// Something has to be tried again.
    pub(super) const fn is_short(&self) -> bool {
        self.unbound || self.unpolled
    }

    /// Tries it.
    pub(super) fn try_again(&mut self) {
        if self.unbound {
            self.bind_all();
        } else {
            self.poll_all();
        }
    }

    /// Binds all listeners; tried again by the conductor if it fails.
    fn bind_all(&mut self) {
        let bound = self.listeners.bind(&self.sidecar.routes);
        self.unbound = bound.is_err();
        match bound {
            Ok(()) => self.poll(true),
            Err(error) => self.sidecar.log.say(error),
        }
    }

    /// Polls all listeners; tried again likewise.
    pub(super) fn poll_all(&mut self) {
        let polled = self.listeners.poll(&self.sidecar, true);
        // Once: it goes on for as long as descriptors are short.
        let before = std::mem::replace(&mut self.unpolled, polled.is_err());
        if let Err(error) = polled
            && !before
        {
            self.sidecar.log.say(error);
        }
    }
}

impl Host for Program {
    type Prepared = Parts;

    fn poll(&mut self, on: bool) {
        if !on || self.stops {
            self.unpolled = false;
            // What is only kept wants nothing.
            let _ = self.listeners.poll(&self.sidecar, false);
            return;
        }
        // The other process may have had the last word on it.
        match Ingress::read(&self.sidecar.options.dir) {
            Ok(ingress) => drop(self.sidecar.ingress.send_replace(ingress)),
            Err(error) => self.sidecar.log.say(error),
        }
        self.poll_all();
    }

    fn bind(&mut self) -> Vec<Listener> {
        self.bind_all();
        self.listeners.describe()
    }

    fn listener(&self, name: &str) -> Option<BorrowedFd<'_>> {
        self.listeners.by_name(name)
    }

    fn claim(&mut self, listeners: Vec<(Listener, OwnedFd)>) -> Result<(), String> {
        let claimed = self.listeners.claim(&self.sidecar.routes, listeners);
        if let Err(error) = &claimed {
            self.sidecar.log.say(format_args!("the hand-over is refused: {error}"));
        }
        claimed
    }

    fn disclaim(&mut self) {
        self.unpolled = false;
        self.listeners.close();
    }

    fn keep(&mut self, _name: &str, _secret: &Secret) {
        // This sidecar ends no TLS: it has no keys, and sends none.
    }

    fn freeze(&mut self, id: ConnectionId) {
        self.wish(id, |wish| wish.freeze = true);
    }

    fn thaw(&mut self, id: ConnectionId, frozen: Option<Frozen>) {
        match frozen {
            None => self.wish(id, |wish| wish.freeze = false),
            Some(frozen) => self.reopen(frozen),
        }
    }

    fn drain(&mut self, id: ConnectionId) {
        self.wish(id, |wish| wish.drain = true);
    }

    fn moved(&mut self, id: ConnectionId) {
        self.tasks.remove(&id);
    }

    fn prepare(&mut self, frozen: Frozen) -> Result<Parts, Decline> {
        connection::open(&self.sidecar, frozen)
    }

    fn own(&mut self, id: ConnectionId, parts: Parts) {
        self.has_adopted = true;
        self.sidecar.meters.paused(parts.at_us, clock::now_us());
        self.go_on(id, parts);
    }

    fn stranger(&mut self, uid: Uid) {
        self.sidecar.log.say(format_args!(
            "user {} has called for a hand-over and was refused: only the user of this process may; close the directory to others",
            uid.as_raw()
        ));
    }

    fn leave(&mut self) {
        self.leaves = true;
    }
}
