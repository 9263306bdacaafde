//! Intervals as bytes: LEB128 varints, strata as differences, a version byte in front.
//!
//! ```text
//! interval = version, index, end_ms, coverage ×2, #rows row*, #samples sample*, #totals total*,
//!            #splits split*, #signatures signature*
//! row      = zigzag(stratum − previous stratum), head, [canary.bad, control.bad], [canary.total, control.total], [missing], [level]
//! head     = metric << 5 | level above 0 << 4 | something is missing << 3 | no bad events << 2 | totals as in the row before << 1 | fresh
//! sample   = zigzag(stratum − previous), metric << 2 | fresh << 1 | control, #hosts (host, level, distinct, bad − distinct, total)*
//! total    = class, canary.bad, canary.total, control.bad, control.total
//! split    = zigzag(stratum − previous), canary, control
//! signature = #bytes UTF-8, canary.bad, canary.total, control.bad, control.total
//! ```

use crate::row::MAX_SAMPLE_HOSTS;
use crate::{
    Arm, ClassTotals, Counts, Coverage, FaultClass, HostCounts, HostSample, Interval, PlannedSplit, Row,
    SignatureCounts,
};

const VERSION: u8 = 2;
const FRESH: u64 = 1;
const SAME_TOTALS: u64 = 2;
const NO_BAD: u64 = 4;
const MISSING: u64 = 8;
const LEVEL: u64 = 16;

/// Why bytes are not an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end in the middle of a value.
    #[error("the bytes end at {at}, in the middle of an interval; the record was cut")]
    Truncated {
        /// Offset at which more was expected.
        at: usize,
    },
    /// Written by a later version, or not an interval.
    #[error(
        "version byte {found} is unknown, this program reads {VERSION}; read the record with the version that wrote it"
    )]
    Version {
        /// The byte found.
        found: u8,
    },
    /// A value is outside the range of its field.
    #[error("the {field} before offset {at} is out of range; the record is damaged")]
    Range {
        /// Which field.
        field: &'static str,
        /// Offset after the value.
        at: usize,
    },
    /// Bytes are left after the interval.
    #[error("bytes are left at offset {at} after a whole interval; the record is damaged")]
    Trailing {
        /// Offset of the first byte left.
        at: usize,
    },
}

impl Interval {
    /// Appends the interval to `out`: about 4 to 10 bytes a row when rows are sorted by stratum. Any order is
    /// kept as it is.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(32 + self.rows.len() * 8);
        out.push(VERSION);
        put(out, self.index);
        put(out, self.end_ms);
        for coverage in [self.canary_hosts, self.control_hosts] {
            put(out, coverage.reported.into());
            put(out, coverage.expected.into());
        }
        put(out, self.rows.len() as u64);
        let (mut stratum, mut totals) = (0_u32, (0, 0));
        for row in &self.rows {
            put(out, zigzag(row.stratum, stratum));
            stratum = row.stratum;
            let mut head = u64::from(row.metric) << 5;
            if row.fresh {
                head |= FRESH;
            }
            let these = (row.canary.total, row.control.total);
            if these == totals {
                head |= SAME_TOTALS;
            }
            let clean = row.canary.bad == 0 && row.control.bad == 0;
            if clean {
                head |= NO_BAD;
            }
            if row.missing > 0 {
                head |= MISSING;
            }
            if row.level > 0 {
                head |= LEVEL;
            }
            put(out, head);
            if !clean {
                put(out, row.canary.bad);
                put(out, row.control.bad);
            }
            if these != totals {
                put(out, these.0);
                put(out, these.1);
                totals = these;
            }
            if row.missing > 0 {
                put(out, row.missing);
            }
            if row.level > 0 {
                put(out, row.level.into());
            }
        }
        put(out, self.samples.len() as u64);
        let mut stratum = 0;
        for sample in &self.samples {
            put(out, zigzag(sample.stratum, stratum));
            stratum = sample.stratum;
            put(
                out,
                u64::from(sample.metric) << 2 | u64::from(sample.fresh) << 1 | u64::from(sample.arm == Arm::Control),
            );
            put(out, sample.hosts.len() as u64);
            for host in &sample.hosts {
                put(out, host.host.into());
                put(out, host.level.into());
                put(out, host.distinct);
                // Wrapping keeps even an invalid host (distinct above bad) readable, so that it is refused by name later.
                put(out, host.bad.wrapping_sub(host.distinct));
                put(out, host.total);
            }
        }
        put(out, self.totals.len() as u64);
        for total in &self.totals {
            put(out, total.class.index() as u64);
            for counts in [total.canary, total.control] {
                put(out, counts.bad);
                put(out, counts.total);
            }
        }
        put(out, self.splits.len() as u64);
        let mut stratum = 0;
        for split in &self.splits {
            put(out, zigzag(split.stratum, stratum));
            stratum = split.stratum;
            put(out, split.canary.into());
            put(out, split.control.into());
        }
        put(out, self.signatures.len() as u64);
        for one in &self.signatures {
            put(out, one.signature.len() as u64);
            out.extend_from_slice(one.signature.as_bytes());
            for counts in [one.canary, one.control] {
                put(out, counts.bad);
                put(out, counts.total);
            }
        }
    }

    /// Reads exactly one interval from `bytes`. Never panics; allocates at most a constant times `bytes.len()`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when the bytes are cut, damaged, followed by others, or of an unknown version. The counts
    /// themselves are checked by [`Judge::observe`](crate::Judge::observe).
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader { bytes, at: 0 };
        let version = from.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version { found: version });
        }
        let index = from.varint()?;
        let end_ms = from.varint()?;
        let canary_hosts = from.coverage()?;
        let control_hosts = from.coverage()?;

        let count = from.length("number of rows", 2)?;
        let mut rows = Vec::with_capacity(count);
        let (mut stratum, mut totals) = (0, (0, 0));
        for _ in 0..count {
            stratum = from.stratum(stratum)?;
            let head = from.varint()?;
            let metric = u8::try_from(head >> 5).map_err(|_| from.range("metric of a row"))?;
            let bad = if head & NO_BAD == 0 {
                (from.varint()?, from.varint()?)
            } else {
                (0, 0)
            };
            if head & SAME_TOTALS == 0 {
                totals = (from.varint()?, from.varint()?);
            }
            let missing = if head & MISSING == 0 { 0 } else { from.varint()? };
            let level = if head & LEVEL == 0 { 0 } else { from.level()? };
            rows.push(Row {
                stratum,
                metric,
                fresh: head & FRESH != 0,
                level,
                canary: Counts::new(bad.0, totals.0),
                control: Counts::new(bad.1, totals.1),
                missing,
            });
        }

        let count = from.length("number of samples", 3)?;
        let mut samples = Vec::with_capacity(count);
        let mut stratum = 0;
        for _ in 0..count {
            stratum = from.stratum(stratum)?;
            let head = from.varint()?;
            let metric = u8::try_from(head >> 2).map_err(|_| from.range("metric of a sample"))?;
            let arm = if head & 1 == 0 { Arm::Canary } else { Arm::Control };
            let fresh = head & 2 != 0;
            let hosts = from.length("number of hosts", 5)?;
            if hosts > MAX_SAMPLE_HOSTS {
                return Err(from.range("number of hosts"));
            }
            let hosts = (0..hosts)
                .map(|_| {
                    let host = from.varint()?;
                    let host = u32::try_from(host).map_err(|_| from.range("number of a host"))?;
                    let level = from.level()?;
                    let distinct = from.varint()?;
                    Ok(HostCounts {
                        host,
                        level,
                        distinct,
                        bad: from.varint()?.wrapping_add(distinct),
                        total: from.varint()?,
                    })
                })
                .collect::<Result<_, DecodeError>>()?;
            samples.push(HostSample {
                stratum,
                metric,
                arm,
                fresh,
                hosts,
            });
        }

        let count = from.length("number of totals", 5)?;
        let mut by_class = Vec::with_capacity(count);
        for _ in 0..count {
            let number = usize::try_from(from.varint()?).unwrap_or(usize::MAX);
            let class = FaultClass::ALL.get(number).copied();
            let class = class.ok_or_else(|| from.range("fault class"))?;
            let canary = Counts::new(from.varint()?, from.varint()?);
            let control = Counts::new(from.varint()?, from.varint()?);
            by_class.push(ClassTotals { class, canary, control });
        }
        let count = from.length("number of splits", 3)?;
        let mut splits = Vec::with_capacity(count);
        let mut stratum = 0;
        for _ in 0..count {
            stratum = from.stratum(stratum)?;
            let (canary, control) = from.pair("part of a split")?;
            splits.push(PlannedSplit {
                stratum,
                canary,
                control,
            });
        }

        let count = from.length("number of signatures", 5)?;
        let mut signatures = Vec::with_capacity(count);
        for _ in 0..count {
            let signature = from.text("signature")?;
            let canary = Counts::new(from.varint()?, from.varint()?);
            let control = Counts::new(from.varint()?, from.varint()?);
            signatures.push(SignatureCounts {
                signature,
                canary,
                control,
            });
        }
        if from.at != bytes.len() {
            return Err(DecodeError::Trailing { at: from.at });
        }
        Ok(Self {
            index,
            end_ms,
            rows,
            samples,
            totals: by_class,
            splits,
            signatures,
            canary_hosts,
            control_hosts,
        })
    }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Difference of two strata, small in either direction: 0, −1, 1, −2, …
fn zigzag(stratum: u32, previous: u32) -> u64 {
    let difference = i64::from(stratum) - i64::from(previous);
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    const fn range(&self, field: &'static str) -> DecodeError {
        DecodeError::Range { field, at: self.at }
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or(DecodeError::Truncated { at: self.at })?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds the one bit that is left.
            if shift == 63 && bits > 1 {
                return Err(self.range("number"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.range("number"))
    }

    /// A number of elements, each of which takes at least `least` bytes: one that cannot fit is refused before anything
    /// is allocated for it.
    fn length(&mut self, field: &'static str, least: usize) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= (self.bytes.len() - self.at) / least)
            .ok_or_else(|| self.range(field))
    }

    fn stratum(&mut self, previous: u32) -> Result<u32, DecodeError> {
        let coded = self.varint()?;
        let difference = (coded >> 1).cast_signed() ^ -((coded & 1).cast_signed());
        i64::from(previous)
            .checked_add(difference)
            .and_then(|stratum| u32::try_from(stratum).ok())
            .ok_or_else(|| self.range("stratum"))
    }

    fn level(&mut self) -> Result<u8, DecodeError> {
        let level = self.varint()?;
        u8::try_from(level).map_err(|_| self.range("level"))
    }

    fn pair(&mut self, field: &'static str) -> Result<(u32, u32), DecodeError> {
        let (first, second) = (self.varint()?, self.varint()?);
        match (u32::try_from(first), u32::try_from(second)) {
            (Ok(first), Ok(second)) => Ok((first, second)),
            _ => Err(self.range(field)),
        }
    }

    fn text(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let length = self.length(field, 1)?;
        let bytes = &self.bytes[self.at..self.at + length];
        let text = core::str::from_utf8(bytes).map_err(|_| self.range(field))?.to_owned();
        self.at += length;
        Ok(text)
    }

    fn coverage(&mut self) -> Result<Coverage, DecodeError> {
        let (reported, expected) = self.pair("number of hosts")?;
        Ok(Coverage { reported, expected })
    }
}
