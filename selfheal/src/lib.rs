//! Which node is bad: an exact ring of time slices and a sequential detector per node.
