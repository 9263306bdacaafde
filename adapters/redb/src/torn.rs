//! A file whose end is torn: cut short, or with something behind its end, as a copy that broke off or a file system
//! that lost its last writes leave it.
//!
//! redb refuses a file that is not exactly as long as its header says. Given that length again it can judge for itself:
//! every page that is in use has a checksum, so a missing one is noticed, and an unused one is not missed.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A copy of the file beside it, as long as it should be; `None` where its length is right, cannot be told, or half of
/// it is missing, which is no torn end.
pub(crate) fn mended_copy(path: &Path) -> std::io::Result<Option<PathBuf>> {
    let mut head = Vec::with_capacity(HEAD);
    File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
    let found = std::fs::metadata(path)?.len();
    let Some(length) = length_by_header(&head).filter(|&length| length != found && length / 2 <= found) else {
        return Ok(None);
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".mending");
    let copy = PathBuf::from(name);
    std::fs::copy(path, &copy)?;
    let file = OpenOptions::new().write(true).open(&copy)?;
    file.set_len(length)?;
    file.sync_all()?;
    Ok(Some(copy))
}

/// The part of redb's header that tells how long the file is.
const HEAD: usize = 32;

/// The length of a redb file by its header: one page, then the full regions, then one that is not full. The layout is
/// the one that redb's page on its file format gives for version 3 of it.
fn length_by_header(head: &[u8]) -> Option<u64> {
    let number = |at: usize| Some(u64::from(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?)));
    let (page, region_head, region_data) = (number(12)?, number(16)?, number(20)?);
    let (full, rest) = (number(24)?, number(28)?);
    let region = page.checked_mul(region_head + region_data)?;
    let last = if rest == 0 {
        0
    } else {
        page.checked_mul(region_head + rest)?
    };
    full.checked_mul(region)?.checked_add(last)?.checked_add(page)
}
