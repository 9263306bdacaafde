//! Budgets and spans of time from the command line.

use unattended::Budget;

/// `90s`, `30m`, `36h`, `7d` in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let fault = || format!("`{text}` is no span of time: write a whole number with s, m, h or d, as in `36h`");
    let unit_ms = match text.chars().last() {
        Some('s') => 1_000,
        Some('m') => 60_000,
        Some('h') => 3_600_000,
        Some('d') => 24 * 3_600_000,
        _ => return Err(fault()),
    };
    let number = text[..text.len() - 1].parse::<u64>().map_err(|_| fault())?;
    number.checked_mul(unit_ms).filter(|&ms| ms > 0).ok_or_else(fault)
}

/// `KEY=VALUE,...`; what is not named keeps its default.
pub(crate) fn budget(text: &str) -> Result<Budget, String> {
    let mut budget = Budget::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("`{part}` is no budget: write KEY=VALUE, as in `starts-per-day=500`"))?;
        let whole = || {
            value
                .parse::<u32>()
                .map_err(|_| format!("`{part}`: write a whole number, as in `{key}=4`"))
        };
        match key {
            "starts-per-day" => match whole()? {
                0 => {
                    return Err(format!(
                        "`{part}`: nothing would ever start; write at least 1, or take `--level 1` or `--level 2`, where nothing starts \
                         without a person's word"
                    ));
                }
                most => budget.starts_per_day = Some(u64::from(most)),
            },
            "resumes-per-day" => budget.resumes_per_day = whole()?,
            "rollbacks-per-day" => budget.rollbacks_per_day = whole()?,
            "heals-per-day" => budget.heals_per_day = whole()?,
            "rollback-share" => budget.rollback_share_ppm = share_ppm(part, value)?,
            "exposure-share" => match share_ppm(part, value)? {
                0 => {
                    return Err(format!(
                        "`{part}`: nothing would ever start; write a share above 0, of which at least one target is \
                         exposed, or take `--level 1`, where nothing starts without a person's word"
                    ));
                }
                share => budget.exposure_share_ppm = share,
            },
            "longest" => budget.longest_ms = duration_ms(value).map_err(|fault| format!("`{part}`: {fault}"))?,
            _ => {
                return Err(format!(
                    "there is no budget `{key}`: use starts-per-day, resumes-per-day, rollbacks-per-day, heals-per-day, \
                     rollback-share, exposure-share or longest"
                ));
            }
        }
    }
    Ok(budget)
}

/// `25%` or `0.25` in parts per million.
fn share_ppm(part: &str, value: &str) -> Result<u32, String> {
    let fault = || format!("`{part}`: write a share from 0 to 100 %, as in `25%`");
    let (number, whole) = match value.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (value, 1.0),
    };
    let share = number.parse::<f64>().map_err(|_| fault())? / whole;
    if !(0.0..=1.0).contains(&share) {
        return Err(fault());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and a million"
    )]
    let ppm = (share * 1e6).round() as u32;
    Ok(ppm)
}
