//! One number for every target, at the narrowest width.

use crate::index::NONE;

/// Numbers, or indices of values. Of the latter `u8::MAX` and `u16::MAX` in narrow columns mean "none", as `NONE` does in wide ones.
#[derive(Clone, Debug)]
pub(crate) enum Column {
    Same(u32),
    Bytes(Vec<u8>),
    Shorts(Vec<u16>),
    Words(Vec<u32>),
    /// Labels, which may be missing.
    ByteLabels(Vec<u8>),
    ShortLabels(Vec<u16>),
}

impl Column {
    /// A label's values; `NONE` for no label.
    pub(super) fn of_labels(wide: Vec<u32>, values: u32) -> Self {
        if values < u32::from(u8::MAX) {
            Self::ByteLabels(wide.into_iter().map(|v| u8::try_from(v).unwrap_or(u8::MAX)).collect())
        } else if values < u32::from(u16::MAX) {
            Self::ShortLabels(wide.into_iter().map(|v| u16::try_from(v).unwrap_or(u16::MAX)).collect())
        } else {
            Self::Words(wide)
        }
    }

    /// Numbers of any size.
    pub(super) fn of_numbers(mut wide: Vec<u32>) -> Self {
        let most = wide.iter().copied().max().unwrap_or(0);
        if wide.iter().all(|&number| number == most) {
            Self::Same(most)
        } else if u8::try_from(most).is_ok() {
            Self::Bytes(wide.into_iter().map(|v| u8::try_from(v).unwrap_or(u8::MAX)).collect())
        } else if u16::try_from(most).is_ok() {
            Self::Shorts(wide.into_iter().map(|v| u16::try_from(v).unwrap_or(u16::MAX)).collect())
        } else {
            wide.shrink_to_fit();
            Self::Words(wide)
        }
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> u32 {
        match self {
            Self::Same(number) => *number,
            Self::Bytes(column) => u32::from(column[at]),
            Self::Shorts(column) => u32::from(column[at]),
            Self::Words(column) => column[at],
            Self::ByteLabels(column) => match column[at] {
                u8::MAX => NONE,
                value => u32::from(value),
            },
            Self::ShortLabels(column) => match column[at] {
                u16::MAX => NONE,
                value => u32::from(value),
            },
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Same(_) => 0,
            Self::Bytes(column) | Self::ByteLabels(column) => column.len(),
            Self::Shorts(column) | Self::ShortLabels(column) => column.len() * 2,
            Self::Words(column) => column.len() * 4,
        }
    }
}
