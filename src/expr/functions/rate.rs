//! Rates: functions that remember earlier calls.

use super::{Argument, Body, Function, Parameter, Presence, argument};
use crate::expr::Mode;

pub(super) static FIVE_G: Function = Function {
    name: "em_5g_check_msg_throughput",
    summary: "1 from the limit of calls in one millisecond on; the limit is an environment variable",
    parameters: &[Parameter::Time],
    lists: &[],
    presence: Presence::Needs,
    body: Body::Stateful(five_g),
    standard_only: false,
};

const LIMIT_VARIABLE: &str = "MMT_SEC_5G_DOS_NGAP_INITIALUEMESSAGE_MS_LIMIT";

/// What one call site remembers.
#[derive(Debug, Clone)]
pub struct State {
    millisecond: i128,
    calls: u64,
    limit: u64,
}

impl State {
    /// Nothing remembered; limits from the environment, where an absent one is always reached.
    pub fn new() -> Self {
        let limit = std::env::var(LIMIT_VARIABLE).ok();
        Self::with_limit(limit.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
    }

    /// Nothing remembered, and this limit of calls in a millisecond.
    pub const fn with_limit(limit: u64) -> Self {
        Self {
            millisecond: i128::MIN,
            calls: 0,
            limit,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

const MICROS_PER_MILLISECOND: i128 = 1_000;

fn five_g(state: &mut State, arguments: &[Argument<'_>], _: Mode) -> i64 {
    let Some(micros) = argument(arguments, 0).number() else {
        return 0;
    };
    let millisecond = micros.div_euclid(MICROS_PER_MILLISECOND);
    if millisecond != state.millisecond {
        state.millisecond = millisecond;
        state.calls = 0;
    }
    state.calls = state.calls.saturating_add(1);
    i64::from(state.calls >= state.limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_millisecond_are_counted() {
        for mode in [Mode::Standard, Mode::Compat] {
            let mut state = State::with_limit(3);
            let mut call = |micros| FIVE_G.call(&mut state, &[Argument::Number(micros)], mode);
            let found = [5_000, 5_500, 5_999, 5_999, 6_000, 6_001].map(&mut call);
            assert_eq!(found, [0, 0, 1, 1, 0, 0]);
            let mut none = State::with_limit(0);
            assert_eq!(FIVE_G.call(&mut none, &[Argument::Number(1)], mode), 1);
        }
        assert!(FIVE_G.is_stateful());
    }
}
