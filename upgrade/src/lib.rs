//! How one target changes: crash-proof cold and warm upgrades over any platform.
