//! The rules of admission, from outside: one program, so that it is linked once and its tests share the cores.

mod audit;
mod calendar;
mod checks;
mod conditions;
mod decade;
mod decisions;
mod fuzzed;
mod holidays;
mod house;
mod instants;
mod lattice;
mod laws;
mod leases;
mod more_packs;
mod packs;
mod requests;
mod rules;
mod stricter;
