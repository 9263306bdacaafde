//! Who changes when: batches that are generated, proved, and obeyed.
