//! Randomness of a simulated thread: everything that asks the operating system is answered from the seed.
//!
//! The node's libraries draw from `rand`, and `std`'s hash maps from their own keys; both end in the C function
//! `getrandom`. This module defines that symbol. On a thread that has called [`seed`] it yields a ChaCha stream; on all
//! other threads it asks the kernel. The build script exports the symbol, because some callers look it up by name.

use std::cell::RefCell;
use std::ffi::c_void;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

thread_local! {
    static STREAM: RefCell<Option<ChaCha8Rng>> = const { RefCell::new(None) };
}

/// From here on this thread's randomness follows from `seed`. Call it first on a fresh thread: generators that were
/// seeded before keep their state.
pub fn seed(seed: u64) {
    STREAM.set(Some(ChaCha8Rng::seed_from_u64(seed)));
}

/// Fills `buffer` from the thread's stream, if it has one.
fn fill(buffer: &mut [u8]) -> bool {
    STREAM.try_with(|stream| stream.borrow_mut().as_mut().map(|rng| rng.fill_bytes(buffer)).is_some()).unwrap_or(false)
}

/// Asks the kernel, as the C library's own function would.
fn kernel(buffer: *mut c_void, length: usize, flags: u32) -> isize {
    // SAFETY: the arguments are those of the caller of `getrandom`, whose contract is the system call's.
    let written = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    isize::try_from(written).unwrap_or(-1)
}

/// The C library's `getrandom`, replaced in simulator binaries only.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: u32) -> isize {
    if length == 0 || buffer.is_null() {
        return kernel(buffer, length, flags);
    }
    // SAFETY: the caller promises `length` writable bytes; u8 has no invalid values.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    if fill(bytes) { isize::try_from(length).unwrap_or(isize::MAX) } else { kernel(buffer, length, flags) }
}
