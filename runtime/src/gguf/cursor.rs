//! A bounds-checked reader of little-endian fields.

use super::{ARRAY_ELEMENTS_MAX, GgufError};

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    array_elements_left: u64,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, array_elements_left: ARRAY_ELEMENTS_MAX }
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn position(&self) -> u64 {
        self.position as u64
    }

    fn left(&self) -> u64 {
        (self.bytes.len() - self.position) as u64
    }

    pub(super) fn take(&mut self, what: &'static str, count: u64) -> Result<&'a [u8], GgufError> {
        let left = self.left();
        let truncated = GgufError::Truncated { what, needed: count, left };
        let Ok(wanted) = usize::try_from(count) else { return Err(truncated) };
        match self.bytes[self.position..].get(..wanted) {
            Some(taken) => {
                self.position += wanted;
                Ok(taken)
            }
            None => Err(truncated),
        }
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let taken = self.take(what, N as u64)?;
        Ok(taken.try_into().expect("take returns as many bytes as asked"))
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    pub(super) fn string(&mut self, what: &'static str, limit: u64) -> Result<String, GgufError> {
        let length = self.u64(what)?;
        if length > limit {
            return Err(GgufError::AboveLimit { what, claimed: length, limit });
        }
        let bytes = self.take(what, length)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| GgufError::NotUtf8 { what })
    }

    /// Refuses a claimed number of items that is above `limit` or cannot fit into what is left.
    pub(super) fn check_count(&self, what: &'static str, claimed: u64, limit: u64, item_bytes_min: u64) -> Result<(), GgufError> {
        if claimed > limit {
            return Err(GgufError::AboveLimit { what, claimed, limit });
        }
        let (needed, left) = (claimed.saturating_mul(item_bytes_min), self.left());
        if needed > left {
            return Err(GgufError::Truncated { what, needed, left });
        }
        Ok(())
    }

    /// As [`Cursor::check_count`], for array elements, whose limit holds for the whole file.
    pub(super) fn check_array(&mut self, claimed: u64, item_bytes_min: u64) -> Result<(), GgufError> {
        self.check_count("array elements", claimed, self.array_elements_left, item_bytes_min)?;
        self.array_elements_left -= claimed;
        Ok(())
    }
}
