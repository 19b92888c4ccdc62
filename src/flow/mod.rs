//! Packets to flows.
