//! What examples share, from outside: one program, so that it is linked once and its tests share the cores.

mod files;
mod peers;
mod pods;
mod synthetic;
mod tables;
