//! Hints about memory: to the core, that a line will be needed soon; to the kernel, that a table
//! wants large pages. No hint changes what the program computes.
//!
//! A plain load for its own sake holds its place in the reorder buffer until the line is there; a
//! prefetch does not, so that a burst can have the lines of all its flows on their way.

pub mod pool;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Ask for every cache line of the element at `index`; nothing happens when there is none.
#[inline]
pub fn prefetch_element<T>(slice: &[T], index: usize) {
    if let Some(element) = slice.get(index) {
        prefetch(element);
    }
}

/// Ask for every cache line of `value`, as counted from its first byte.
#[inline]
pub fn prefetch<T>(value: &T) {
    let start = std::ptr::from_ref(value).cast::<i8>();
    for offset in (0..size_of::<T>()).step_by(LINE) {
        line(start.wrapping_add(offset));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn line(address: *const i8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint, which reads and writes no memory that the program can see and does not fault
    // whatever the address is; SSE is part of every x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address) }
}

/// No hint elsewhere: the loads of the work itself fetch the lines.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn line(_: *const i8) {}

/// `count` times `value`, in large pages where the kernel has them: tables of many megabytes that
/// are read in random order otherwise wait for the page table as often as for their lines.
pub fn filled<T: Clone>(value: T, count: usize) -> Vec<T> {
    let mut table = Vec::with_capacity(count);
    // Before the first write, because that is when pages are chosen.
    advise(table.spare_capacity_mut());
    table.resize(count, value);
    table
}

/// Bytes of a large page.
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 << 20;

#[cfg(target_os = "linux")]
fn advise<T>(memory: &mut [T]) {
    let range = memory.as_mut_ptr_range();
    let start = range.start.addr().next_multiple_of(LARGE_PAGE);
    let length = range.end.addr().saturating_sub(start) / LARGE_PAGE * LARGE_PAGE;
    if length == 0 {
        return;
    }
    let address = range.start.with_addr(start).cast();
    // SAFETY: the range is whole pages inside `memory`, which is borrowed alone; this advice
    // changes how the kernel maps them and not what they hold. It may refuse, and then nothing
    // happens.
    unsafe { libc::madvise(address, length, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise<T>(_: &mut [T]) {}

#[cfg(test)]
mod tests {
    #[test]
    fn a_filled_table_holds_its_value() {
        for count in [0, 1, 3 << 20] {
            let table = super::filled(7_u32, count);
            assert_eq!(table.len(), count);
            assert!(table.iter().all(|value| *value == 7));
        }
        assert_eq!(super::filled((), 5).len(), 5);
    }

    #[test]
    fn any_place_may_be_asked_for() {
        let numbers = [[0_u8; 100]; 3];
        for index in [0, 2, 3, usize::MAX] {
            super::prefetch_element(&numbers, index);
        }
        super::prefetch(&());
        assert_eq!(numbers, [[0; 100]; 3]);
    }
}
