//! What an init forgets: memory that is a copy of the service's.
//!
//! Async-signal-safe, as all that an init does. Must not touch what code of this process still needs.

use std::{ffi::c_void, os::fd::RawFd};

use crate::{launch::Launch, syscall};

/// Gives back the memory that we have as a copy of the service: its heap and its other threads' stacks. Otherwise every
/// page that the service changes later would be kept here in its old state, for as long as the program runs.
///
/// Kept are what belongs to files (and the zeroed data behind them), our stack, the C library's data of our thread, and
/// what the launch consists of.
pub(crate) fn forget_the_service(maps: RawFd, launch: &Launch) {
    /// Smaller ones are not worth the risk.
    const WORTHWHILE_BYTES: usize = 64 * 1024;
    const AT_ONCE: usize = 128;

    let stack = std::ptr::from_ref(&maps) as usize;
    // SAFETY: takes no arguments.
    let thread = unsafe { libc::__errno_location() } as usize;
    // Collected first: the list must not change while it is read.
    let mut unwanted = [(0_usize, 0_usize); AT_ONCE];
    let mut count = 0;
    let mut end_of_file_mapping = 0;
    read_maps(maps, |mapping| {
        let Mapping { start, end, anonymous, heap } = mapping;
        if !anonymous && !heap {
            end_of_file_mapping = end;
            return;
        }
        let ours = launch.memory().chain([stack, thread]).any(|place| (start..end).contains(&place));
        let zeroed_data = start == end_of_file_mapping && !heap;
        if !ours
            && !zeroed_data
            && end - start >= WORTHWHILE_BYTES
            && let Some(place) = unwanted.get_mut(count)
        {
            *place = (start, end);
            count += 1;
        }
    });
    syscall::close(maps);
    for &(start, end) in unwanted.iter().take(count) {
        // SAFETY: from here on, only code of this module's caller runs, on this stack, with the launch and with values.
        unsafe { libc::munmap(start as *mut c_void, end - start) };
    }
}

/// A line of `/proc/self/maps`.
#[derive(Clone, Copy, Default)]
struct Mapping {
    start: usize,
    end: usize,
    /// Without a name.
    anonymous: bool,
    heap: bool,
}

/// Calls `found` for every mapping. Lines may be as long as paths are, so they are read byte by byte.
fn read_maps(maps: RawFd, mut found: impl FnMut(Mapping)) {
    let mut buffer = [0_u8; 4096];
    let mut mapping = Mapping::default();
    // Fields: range, permissions, offset, device, inode, name.
    let (mut field, mut in_field, mut second_half) = (0, false, false);
    let mut name = [0_u8; 6];
    let mut name_length = 0;
    loop {
        // SAFETY: pointer and length are of one buffer.
        let count = unsafe { libc::read(maps, buffer.as_mut_ptr().cast(), buffer.len()) };
        let Some(text @ [_, ..]) = buffer.get(..count.max(0) as usize) else { return };
        for &byte in text {
            match byte {
                b'\n' => {
                    mapping.anonymous = name_length == 0;
                    mapping.heap = name_length == 6 && &name == b"[heap]";
                    found(mapping);
                    mapping = Mapping::default();
                    (field, in_field, second_half, name_length) = (0, false, false, 0);
                }
                b' ' if field < 5 => {
                    if in_field {
                        field += 1;
                        in_field = false;
                    }
                }
                _ => {
                    in_field = true;
                    if field == 0 {
                        let digit = char::from(byte).to_digit(16);
                        match (digit, second_half) {
                            (Some(digit), false) => mapping.start = mapping.start << 4 | digit as usize,
                            (Some(digit), true) => mapping.end = mapping.end << 4 | digit as usize,
                            (None, _) => second_half = true,
                        }
                    } else if field == 5 {
                        if let Some(place) = name.get_mut(name_length) {
                            *place = byte;
                        }
                        name_length += 1;
                    }
                }
            }
        }
    }
}
