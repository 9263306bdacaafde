//! Change a very large fleet while nobody watches.
