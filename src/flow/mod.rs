//! Packets to flows.

pub mod blocks;
pub mod fragments;
pub mod reassembly;
