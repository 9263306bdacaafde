//! What the examples share: fleet inventories from CSV, JSON lines, Kubernetes and synthesis.
