//! What the ways through a rule's machine mean to an instance on them.

use super::super::machine::{Edge, Enter, INIT, PASS, StateId};
use super::super::program::Program;
use super::super::property::Window;
use super::super::verdict;
use crate::expr::Mode;

/// Does following this edge do nothing but answer, and the same answer from whichever instance?
pub(super) fn only_answers(program: &Program, edge: &Edge) -> bool {
    let effect = edge.effect;
    let is_alone = effect.answers != 0 && effect.unless == 0 && effect.ends == 0;
    is_alone
        && edge.stays
        && edge.to == PASS
        && verdict::of(program.property.kind, PASS).is_none()
        && program
            .machine
            .looks(effect.answers)
            .iter()
            .all(|look| look.depth == 0)
}

/// How a window opens when another one has passed: within the outer one, which the published engine
/// forgets.
pub(super) fn after_time_out(program: &Program) -> Enter {
    match program.mode {
        Mode::Standard => Enter::Resumed,
        Mode::Compat => Enter::Fresh,
    }
}

/// Events that lead out of the start.
pub(super) fn starting(program: &Program) -> u64 {
    let edges = program
        .machine
        .edges
        .iter()
        .filter(|edge| edge.from == INIT);
    edges.fold(0, |events, edge| events | 1 << edge.event)
}

/// The published engine does not record the events of an immediate operator that is a trigger.
pub(super) fn hidden(program: &Program, edge: &Edge) -> bool {
    let nested = |state: StateId| {
        let state = program.machine.state(state);
        state.window.immediate && state.depth > 0
    };
    program.mode == Mode::Compat && (nested(edge.to) || nested(edge.from))
}

/// Times between which the next event must come.
pub(super) fn bounds(window: Window, mode: Mode, now_us: u64) -> (u64, u64) {
    let earliest = now_us.saturating_add_signed(window.min_us);
    let counts_only = window.max_us == 0 && window.min_us == 0 && !window.immediate;
    let counters = window.counter_min != 0 || window.counter_max != 0;
    if mode == Mode::Standard && counts_only && counters {
        return (earliest, u64::MAX);
    }
    (earliest, now_us.saturating_add_signed(window.max_us))
}
