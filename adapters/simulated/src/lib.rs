//! A deterministic fleet on virtual time: faults, traffic, births and deaths from one seed.
