//! Fixed layouts: what a contract may ever see.
//!
//! Each statement begins with a tag of four bytes that no other statement has, names the network and the channel it is
//! about, and has one length. All numbers are big-endian. A TVM cell holds 127 bytes, and none is longer.

use crate::ids::{ChannelRef, ContractAddress, NetworkId};

/// The bytes that one TVM cell holds.
pub const LAYOUT_BYTES_MAX: usize = 127;

/// Bytes that are not a statement of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Not as long as the layout.
    #[error("{got} bytes where the layout has {want}")]
    Length {
        /// What came.
        got: usize,
        /// What the layout has.
        want: usize,
    },
    /// Another domain tag.
    #[error("the domain tag is not {0:?}")]
    Tag([u8; 4]),
}

/// Lays parts one after the other. Every layout fills its array exactly, which its tests show.
pub fn fill<const N: usize, const PARTS: usize>(parts: [&[u8]; PARTS]) -> [u8; N] {
    let mut out = [0u8; N];
    for (to, from) in out.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    out
}

/// Takes fixed-width fields off bytes whose length was checked once.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], want: usize) -> Result<Self, LayoutError> {
        if bytes.len() == want { Ok(Self(bytes)) } else { Err(LayoutError::Length { got: bytes.len(), want }) }
    }

    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0u8; N];
        let (head, rest) = self.0.split_at(N.min(self.0.len()));
        for (to, from) in field.iter_mut().zip(head) {
            *to = *from;
        }
        self.0 = rest;
        field
    }

    pub(crate) fn channel(&mut self) -> ChannelRef {
        ChannelRef { network: NetworkId(i32::from_be_bytes(self.take())), address: ContractAddress(self.take()) }
    }

    pub(crate) fn tag(&mut self, want: [u8; 4]) -> Result<(), LayoutError> {
        if self.take() == want { Ok(()) } else { Err(LayoutError::Tag(want)) }
    }
}
