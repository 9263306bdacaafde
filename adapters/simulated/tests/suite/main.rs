//! The simulated world, from outside: one program, so that it is linked once and its tests share the cores.

mod contract;
mod executor;
mod faults;
mod healing;
mod injection;
mod killed;
mod liars;
mod metrics;
mod platform;
mod restore;
mod self_test;
mod silence;
mod slow_journal;
mod support;
