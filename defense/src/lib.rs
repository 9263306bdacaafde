//! May it happen now: an admission engine that says why not, and when.
