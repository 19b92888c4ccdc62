//! The stages before the rules, walked over a capture file as a worker walks them.

use std::path::Path;
use wirelynx::capture::{Burst, Capture, Progress, file};
use wirelynx::dissect::application::stream::{self, Applications};
use wirelynx::dissect::attribute::View;
use wirelynx::dissect::headers;
use wirelynx::flow::fragments::{self, Fragments};
use wirelynx::flow::{self, FlowRecord, Flows};
use wirelynx::packet::{Facts, Frame};

/// Flow table, fragments and applications of one capture.
pub(crate) struct Stages {
    pub(crate) fragments: Fragments,
    pub(crate) applications: Applications,
    flows: Flows,
}

impl Stages {
    pub(crate) fn new() -> Self {
        let flows = flow::Settings {
            flows_max: 1 << 16,
            ..flow::Settings::default()
        };
        Self {
            fragments: Fragments::new(&fragments::Settings::default()),
            applications: Applications::new(&stream::Settings::default()),
            flows: Flows::new(&flows, 1),
        }
    }

    /// Read a file. `packet` sees every packet once for each message it completes, and once when it
    /// completes none; `ended` sees every flow. False when it is not a capture file.
    pub(crate) fn read(
        &mut self,
        path: &Path,
        packet: &mut dyn FnMut(&View<'_>),
        ended: &mut dyn FnMut(&FlowRecord),
    ) -> bool {
        let Ok(mut capture) = file::open(path.to_str().unwrap()) else {
            return false;
        };
        loop {
            let mut burst = Burst::new();
            let Ok(Progress::Frames) = capture.receive(&mut burst) else {
                break;
            };
            self.burst(&burst, packet, ended);
        }
        let applications = &mut self.applications;
        self.flows.drain(&mut |record| {
            applications.release_flow(record.application_slot);
            ended(record);
        });
        true
    }

    fn burst(
        &mut self,
        burst: &[Frame<'_>],
        packet: &mut dyn FnMut(&View<'_>),
        ended: &mut dyn FnMut(&FlowRecord),
    ) {
        let mut facts = vec![Facts::new(); burst.len()];
        for (frame, facts) in burst.iter().zip(&mut facts) {
            headers(frame, facts);
            self.fragments.add(frame, facts, |_, _| true);
        }
        let fragments = &self.fragments;
        let mut frames = burst.to_vec();
        for (frame, facts) in frames.iter_mut().zip(&facts) {
            if let Some(slot) = facts.datagram.checked_sub(1) {
                let (data, wire_length) = fragments.datagram(slot);
                *frame = Frame {
                    data,
                    wire_length,
                    ..*frame
                };
            }
        }
        let applications = &mut self.applications;
        self.flows.track(&frames, &mut facts, &mut |record| {
            applications.release_flow(record.application_slot);
            ended(record);
        });
        for (index, (frame, facts)) in frames.iter().zip(&mut facts).enumerate() {
            let flow = self.flows.flow_mut(facts.flow.index);
            if let Some(flow) = flow.filter(|f| f.id != 0 && f.id == facts.flow.id) {
                applications.parse(index, frame, facts, &mut flow.application);
            }
        }
        for (index, (frame, facts)) in frames.iter().zip(&facts).enumerate() {
            let mut view = View {
                frame,
                facts,
                message: None,
                totals: &[],
            };
            let references = applications.messages_of(index);
            for reference in references {
                view.message = Some(applications.message(reference, frame));
                packet(&view);
            }
            if references.is_empty() {
                packet(&view);
            }
        }
        applications.end_burst();
        self.fragments.release();
    }
}
