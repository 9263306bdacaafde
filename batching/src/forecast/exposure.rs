//! What a fault would reach.

/// How many targets a fault is expected to reach before it shows, if each target that has it shows it with probability `p` within its batch's
/// bake: `E = Σ C_k·q_k·Π_{j<k}(1 − q_j) + N·Π(1 − q_k)` with `q_k = 1 − (1 − p)^{n_k}`, over cumulative sizes `C_k` and batches of `n_k`.
///
/// Only a batch's own targets show: those before have been watched and passed. So it errs on the high side where evidence is kept. `p`
/// outside 0 to 1 is taken as the nearer end.
///
/// ```
/// use unattended_batching::expected_exposure;
/// assert_eq!(expected_exposure(&[1, 2, 4], 1.0), 1.0); // the first one shows it
/// assert_eq!(expected_exposure(&[1, 2, 4], 0.0), 4.0); // nobody ever does
/// ```
#[must_use]
pub fn expected_exposure(cumulative: &[u32], p: f64) -> f64 {
    let p = if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) };
    let stays = libm::log1p(-p);
    let (mut hidden, mut expected, mut before) = (1.0, 0.0, 0);
    for &size in cumulative {
        let missed = if p >= 1.0 {
            0.0
        } else {
            libm::exp(stays * f64::from(size.saturating_sub(before)))
        };
        expected += f64::from(size) * hidden * (1.0 - missed);
        hidden *= missed;
        before = size;
    }
    expected + f64::from(before) * hidden
}
