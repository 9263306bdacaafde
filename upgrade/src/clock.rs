use async_trait::async_trait;

/// Time, for drivers. Cores take it as an argument.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds that never go back, from an arbitrary start that survives a restart of the controller where the
    /// platform's deadlines do (a machine's boot clock, or the virtual clock of a simulation).
    fn now(&self) -> u64;

    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn wall(&self) -> i64;

    /// Returns when [`now`](Self::now) is at least `at_ms`.
    async fn sleep_until(&self, at_ms: u64);
}
