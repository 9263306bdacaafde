//! Notices over real sockets: a server that takes them, or does not.

mod delivery;
mod pilot;
mod server;
