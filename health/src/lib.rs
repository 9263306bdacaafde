//! Is it healthy: self-checks before traffic, evidence with error budgets after.
