//! Hints to the core that memory will be needed soon.
//!
//! A plain load for its own sake holds its place in the reorder buffer until the line is there; a
//! prefetch does not, so that a burst can have the lines of all its flows on their way.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Ask for every cache line of the element at `index`; nothing happens when there is none.
#[inline]
pub fn element<T>(slice: &[T], index: usize) {
    if let Some(element) = slice.get(index) {
        value(element);
    }
}

/// Ask for every cache line of `value`, as counted from its first byte.
#[inline]
pub fn value<T>(value: &T) {
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

#[cfg(test)]
mod tests {
    #[test]
    fn any_place_may_be_asked_for() {
        let numbers = [[0_u8; 100]; 3];
        for index in [0, 2, 3, usize::MAX] {
            super::element(&numbers, index);
        }
        super::value(&());
        assert_eq!(numbers, [[0; 100]; 3]);
    }
}
