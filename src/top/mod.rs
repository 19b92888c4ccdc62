//! The terminal view of a running appliance, made from what it shows under `/metrics`.
//!
//! ```text
//! client (HTTP) -> text (samples) -> window (rates between two) -> pages (lines) -> screen
//! ```
//!
//! Whatever the appliance does not show is left out, so that one program can look at another of an
//! earlier or later version.

pub mod client;
pub mod grid;
pub mod pages;
pub mod screen;
pub mod text;
pub mod window;
