//! Detection, the center and healing, from outside: one program, so that it is linked once and its tests share the cores.

mod acting;
mod center;
mod detection;
mod fuzzed;
mod limiter;
mod ring;
mod sequential;
mod vectors;
