//! Varints and short texts, with total decoding.
use std::sync::Arc;

use crate::RecordError;

/// The longest text in a record, in bytes: the longest name of a target, a version or a group.
pub const LONGEST_TEXT: usize = 1024;

/// No attempt and no generation of a journal is numbered higher.
pub(crate) const MOST: u64 = u64::MAX / 2;

pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Writes at most [`LONGEST_TEXT`] bytes of it, ending between characters.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    put_number(out, u64::try_from(end).unwrap_or(0));
    out.extend_from_slice(&text.as_bytes()[..end]);
}

pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8, RecordError> {
        let (&byte, rest) = self.0.split_first().ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, RecordError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            if shift == 63 && low > 1 {
                break;
            }
            number |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(RecordError::Number)
    }

    /// What is counted up by one, and must not come to an end: a journal that says it nearly has is damaged.
    pub(crate) fn counter(&mut self) -> Result<u64, RecordError> {
        let number = self.number()?;
        if number > MOST {
            return Err(RecordError::Number);
        }
        Ok(number)
    }

    pub(crate) fn small(&mut self) -> Result<u32, RecordError> {
        u32::try_from(self.number()?).map_err(|_| RecordError::Number)
    }

    pub(crate) fn text(&mut self) -> Result<Arc<str>, RecordError> {
        let len = usize::try_from(self.number()?).map_err(|_| RecordError::Number)?;
        if len > LONGEST_TEXT {
            return Err(RecordError::Text);
        }
        let bytes: &'a [u8] = self.0.get(..len).ok_or(RecordError::Short)?;
        self.0 = &self.0[len..];
        std::str::from_utf8(bytes).map(Arc::from).map_err(|_| RecordError::Text)
    }

    pub(crate) const fn end(&self) -> Result<(), RecordError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(RecordError::Long {
                left_over: self.0.len(),
            })
        }
    }
}
