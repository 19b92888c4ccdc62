//! What the senders of a model send, and what the merges must give for it.

use wirelynx::packet::Timestamp;
use wirelynx::ring::{Next, Position};

/// What a thread with a sender to each merge does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send an item from here to the merge of this number.
    Item(Position, usize),
    /// Nothing to send, and time goes on.
    Advance(u64),
}

/// An item for a merge: time, number of the packet.
pub(crate) const fn item(time: u64, packet: u64, merge: usize) -> Step {
    let position = Position {
        time: Timestamp::from_nanos(time),
        packet,
        detail: 0,
    };
    Step::Item(position, merge)
}

/// What the merge of this number must give: by position, then by sender.
pub(crate) fn expected(plan: &[&[Step]], merge: usize) -> Vec<(Position, usize)> {
    let mut all = Vec::new();
    for (sender, steps) in plan.iter().enumerate() {
        let items = steps.iter().filter_map(|step| match step {
            Step::Item(position, to) if *to == merge => Some((*position, sender)),
            _ => None,
        });
        all.extend(items);
    }
    all.sort_unstable();
    all
}

/// What a merge has given so far, checked against what it must give.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Given {
    expected: Vec<(Position, usize)>,
    count: usize,
    until: Timestamp,
    ended: bool,
}

impl Given {
    pub(crate) fn of(plan: &[&[Step]], merge: usize) -> Self {
        Self {
            expected: expected(plan, merge),
            count: 0,
            until: Timestamp::default(),
            ended: false,
        }
    }

    /// Check what came next. Each item carries its own position.
    ///
    /// # Errors
    /// It is not what had to come, or comes after a time before which nothing could come.
    pub(crate) fn take(&mut self, next: &Next<'_, Position>) -> Result<(), String> {
        match next {
            Next::Item(item) => {
                let found = (*item.value, item.sender);
                let expected = self.expected.get(self.count);
                if expected != Some(&found) {
                    return Err(format!(
                        "broken: order: found {found:?}, expected {expected:?}"
                    ));
                }
                if item.position.time < self.until {
                    let until = self.until;
                    return Err(format!(
                        "broken: early deadline: {until:?} before {found:?}"
                    ));
                }
                self.count += 1;
            }
            Next::Until(time) => self.until = self.until.max(*time),
            Next::End if self.count < self.expected.len() => {
                return Err(format!("broken: lost: the end after {} items", self.count));
            }
            Next::End => self.ended = true,
        }
        Ok(())
    }

    pub(crate) const fn ended(&self) -> bool {
        self.ended
    }
}
