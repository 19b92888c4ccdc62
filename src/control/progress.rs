//! A progress bar on standard error, where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress through an input of known or unknown length in bytes.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    calls: u32,
}

/// Receives between two looks at the position: the clock is read only then.
const CALLS: u32 = 256;

impl Progress {
    /// For the input of this name. Draws nothing where standard error is no terminal.
    pub fn new(name: &str) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(4);
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(style("{msg} {bytes} ({bytes_per_sec})"));
        bar.set_message(name.to_owned());
        Self { bar, calls: 0 }
    }

    /// Note where the input is.
    pub fn at(&mut self, position: impl FnOnce() -> (u64, Option<u64>)) {
        self.calls += 1;
        if self.calls < CALLS {
            return;
        }
        self.calls = 0;
        let (bytes, total) = position();
        if let (Some(total), None) = (total, self.bar.length()) {
            self.bar.set_length(total);
            self.bar.set_style(style(
                "{msg} [{bar:30}] {percent:>3} % {bytes_per_sec} {eta}",
            ));
        }
        self.bar.set_position(bytes);
    }

    /// Take the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
