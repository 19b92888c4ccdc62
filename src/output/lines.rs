//! Events as lines of text on their way to an output.

use super::latency::Waiting;
use super::limit::Limiter;
use super::queue::AlertMessage;
use super::target::Target;
use super::{alert, flow::write_json};
use crate::flow::FlowRecord;
use crate::ring::Position;
use crate::rules::RuleSet;
use crate::rules::joins::Alert;
use prometheus::Histogram;
use std::io;
use std::sync::Arc;

/// Seed of Community IDs: 0, with which others' can be compared.
const COMMUNITY_ID_SEED: u16 = 0;

/// Lines of one kind of events.
pub(super) trait Lines {
    /// Where they go.
    fn target(&mut self) -> &mut Target;

    /// Let readers see what was written.
    fn flush(&mut self) -> io::Result<()> {
        self.target().flush()
    }

    /// The output has failed: what it may not have taken is lost.
    fn fail(&mut self) {
        self.target().fail();
    }
}

/// Lines of alerts.
pub(super) struct AlertLines {
    target: Target,
    format: alert::Format,
    limiter: Option<Limiter>,
    /// Rules that the alerts of each sender are of.
    rules: Vec<Arc<RuleSet>>,
    /// Alerts of one rule and deadline: their order is that of their text, as it may not depend on
    /// which security worker has found which.
    alike: Vec<(String, Arc<RuleSet>, Alert)>,
    line: String,
    /// Times of the alerts on their way.
    waiting: Waiting,
}

impl AlertLines {
    /// `latency` is where is counted how long alerts take, if it is.
    pub(super) fn new(
        target: Target,
        format: alert::Format,
        (limiter, latency): (Option<Limiter>, Option<Histogram>),
        rules: Vec<Arc<RuleSet>>,
    ) -> Self {
        Self {
            target,
            format,
            limiter,
            rules,
            alike: Vec::new(),
            line: String::new(),
            waiting: Waiting::new(latency),
        }
    }

    /// Take in what a sender has sent; gives the number of alerts that are done with.
    pub(super) fn take(
        &mut self,
        position: Position,
        sender: usize,
        message: AlertMessage,
    ) -> io::Result<u64> {
        let alert = match message {
            AlertMessage::Alert(alert) => alert,
            AlertMessage::Rules(rules) => {
                if let Some(of_sender) = self.rules.get_mut(sender) {
                    *of_sender = rules;
                }
                return Ok(0);
            }
        };
        let mut done = 0;
        let is_alike = |(_, _, other): &(String, Arc<RuleSet>, Alert)| {
            other.position == alert.position && position.packet == 0
        };
        if !self.alike.first().is_some_and(is_alike) {
            done += self.write_alike()?;
        }
        let Some(rules) = self.rules.get(sender).map(Arc::clone) else {
            return Ok(done);
        };
        if position.packet != 0 {
            return Ok(done + self.admit(&rules, alert, None)?);
        }
        let mut text = String::new();
        write(&mut text, self.format, &rules, &alert);
        self.alike.push((text, rules, alert));
        Ok(done)
    }

    /// Nothing comes any more that is before this.
    pub(super) fn before(&mut self, position: Position) -> io::Result<u64> {
        let first = self.alike.first();
        let is_over = first.is_some_and(|(.., alert)| alert.position < position);
        let done = if is_over { self.write_alike()? } else { 0 };
        if let Some(limiter) = &mut self.limiter {
            limiter.advance(position.time);
        }
        self.summaries()?;
        Ok(done)
    }

    /// Nothing comes any more.
    pub(super) fn end(&mut self) -> io::Result<u64> {
        let done = self.write_alike()?;
        if let Some(limiter) = &mut self.limiter {
            limiter.finish();
        }
        self.summaries()?;
        Ok(done)
    }

    fn write_alike(&mut self) -> io::Result<u64> {
        let mut alike = std::mem::take(&mut self.alike);
        alike.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let mut done = 0;
        for (text, rules, alert) in alike.drain(..) {
            done += self.admit(&rules, alert, Some(text))?;
        }
        self.alike = alike;
        Ok(done)
    }

    /// Write an alert, whose text may be known, unless it is limited.
    fn admit(
        &mut self,
        rules: &Arc<RuleSet>,
        alert: Alert,
        text: Option<String>,
    ) -> io::Result<u64> {
        let admitted = match &mut self.limiter {
            Some(limiter) => limiter.admit(rules, alert),
            None => Some(alert),
        };
        self.summaries()?;
        let Some(alert) = admitted else {
            return Ok(1);
        };
        self.line.clear();
        match text {
            Some(text) => self.line.push_str(&text),
            None => write(&mut self.line, self.format, rules, &alert),
        }
        self.line.push('\n');
        self.target.write(self.line.as_bytes())?;
        if self.target.is_open() {
            self.waiting.push(alert.position.time);
        }
        Ok(1)
    }

    /// Write what is to be said of alerts that did not go out.
    fn summaries(&mut self) -> io::Result<()> {
        let Some(limiter) = &mut self.limiter else {
            return Ok(());
        };
        while let Some(summary) = limiter.next_summary() {
            self.line.clear();
            alert::write_summary(&mut self.line, self.format, &summary);
            self.line.push('\n');
            self.target.write(self.line.as_bytes())?;
        }
        Ok(())
    }
}

impl Lines for AlertLines {
    fn target(&mut self) -> &mut Target {
        &mut self.target
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()?;
        self.waiting.taken();
        Ok(())
    }

    fn fail(&mut self) {
        self.waiting.lost();
        self.target.fail();
    }
}

/// Append the text of an alert of these rules.
fn write(line: &mut String, format: alert::Format, rules: &RuleSet, alert: &Alert) {
    let place = usize::try_from(alert.rule).unwrap_or(usize::MAX);
    if let Some(program) = rules.programs.get(place) {
        alert::write(line, format, program, alert);
    }
}

/// Lines of flow records.
pub(super) struct FlowLines {
    target: Target,
    line: Vec<u8>,
}

impl FlowLines {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            line: Vec::new(),
        }
    }

    /// Write a record; gives the number of records that are done with.
    pub(super) fn write(&mut self, flow: Box<FlowRecord>) -> io::Result<u64> {
        self.line.clear();
        write_json(&mut self.line, &flow, COMMUNITY_ID_SEED)?;
        self.target.write(&self.line)?;
        Ok(1)
    }
}

impl Lines for FlowLines {
    fn target(&mut self) -> &mut Target {
        &mut self.target
    }
}
