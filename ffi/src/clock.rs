//! The time stamp counter.

use crate::eal::Eal;
use crate::sys;

/// Current value of the time stamp counter.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: reads a register, has no preconditions.
    unsafe { sys::shim_tsc() }
}

/// Its frequency, as EAL measured it at start; good to some parts in a million.
pub fn tsc_hz(_eal: &Eal) -> u64 {
    // SAFETY: a plain getter; EAL is initialised, as the argument proves.
    unsafe { sys::rte_get_tsc_hz() }
}
