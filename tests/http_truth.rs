//! HTTP requests are those that tshark reads, over every published capture that has some; IP datagrams
//! and TCP streams are those of the captures whose publishers tell them.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "this file is a test throughout, and may stop at the first surprise"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::dissect::application::http;
use wirelynx::dissect::application::stream::{self, Applications};
use wirelynx::dissect::attribute::{AttributeId, Value, View};
use wirelynx::dissect::{Protocol, headers};
use wirelynx::flow::fragments::{self, Fragments};
use wirelynx::flow::{self, Flows};
use wirelynx::packet::{Facts, Frame};

/// The stages that the tests walk, as a worker does.
struct Path_ {
    fragments: Fragments,
    flows: Flows,
    applications: Applications,
}
