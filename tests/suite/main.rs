//! Whole changes, from outside: one program, so that it is linked once and its tests share the cores.

mod around;
mod aside;
mod asking;
mod births;
mod budgets;
mod change;
mod crash;
mod cut;
mod domains;
mod events;
mod heal;
mod laws;
mod levels;
mod notices;
mod orders;
mod outlook;
mod permit;
mod queue;
mod refusals;
mod rehearsal;
mod replay;
mod router;
mod shadow;
mod silence;
mod support;
mod train;
