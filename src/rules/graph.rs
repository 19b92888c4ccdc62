//! The machine of a rule as nodes and edges with their words, for text and drawing.

use super::explain::{Part, conditions};
use super::listing::show_window;
use super::machine::{Edge as Way, Enter, FAIL, INCONCLUSIVE, INIT, Machine, PASS, StateId};
use super::program::Program;
use super::{delay, verdict};
use crate::expr::Mode;
use std::collections::VecDeque;

/// States in the order in which an attempt can reach them, the final ones last.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// By the node they leave, events before the time-out.
    pub(super) edges: Vec<Edge>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    /// What is said in a final state.
    pub(super) detail: String,
    pub(super) is_final: bool,
}

#[derive(Debug)]
pub(super) struct Edge {
    /// Places of nodes.
    pub(super) from: usize,
    pub(super) to: usize,
    /// The event and when it must come, or when time is up.
    pub(super) label: String,
    /// What else there is to say, from a comma on.
    pub(super) note: String,
    /// What the packet must show by itself; empty for time-outs.
    pub(super) guard: String,
    pub(super) is_timeout: bool,
}

impl Graph {
    pub(super) fn new(program: &Program) -> Self {
        let order = reached(program);
        let nodes = order.iter().enumerate();
        let nodes = nodes.map(|(place, state)| node(program, place, *state));
        let mut graph = Self {
            nodes: nodes.collect(),
            edges: Vec::new(),
        };
        for (from, state) in order.iter().enumerate() {
            let place = |state: StateId| order.iter().position(|other| *other == state);
            for (_, way) in program.edges_from(*state) {
                if let Some(to) = place(way.to) {
                    graph.edges.push(event_edge(program, (from, to), way));
                }
            }
            if *state == INIT || Machine::is_final(*state) {
                continue;
            }
            if let Some(to) = place(program.machine.state(*state).timeout) {
                let time_out = time_out(program, (from, to), *state);
                graph.edges.extend(time_out);
            }
        }
        graph
    }
}

/// Every state that can be reached, breadth first, the final ones behind the others.
fn reached(program: &Program) -> Vec<StateId> {
    let mut found = vec![INIT];
    let mut queue = VecDeque::from([INIT]);
    while let Some(state) = queue.pop_front() {
        let events = program.edges_from(state).iter().map(|(_, way)| way.to);
        let timeout = (state != INIT && !Machine::is_final(state))
            .then(|| program.machine.state(state).timeout);
        for next in events.chain(timeout) {
            if !found.contains(&next) {
                found.push(next);
                queue.push_back(next);
            }
        }
    }
    found.sort_by_key(|state| match Machine::is_final(*state) {
        true => *state,
        false => 0,
    });
    found
}

fn node(program: &Program, place: usize, state: StateId) -> Node {
    let is_final = Machine::is_final(state);
    let said = verdict::of(program.property.kind, state);
    let said = said.map_or("nothing is said", |verdict| verdict.name());
    let name = match state {
        INIT => "start".to_owned(),
        PASS => "pass".to_owned(),
        FAIL => "fail".to_owned(),
        INCONCLUSIVE => "inconclusive".to_owned(),
        _ => format!("state {place}"),
    };
    Node {
        name,
        detail: if is_final {
            said.to_owned()
        } else {
            String::new()
        },
        is_final,
    }
}

fn event_edge(program: &Program, (from, to): (usize, usize), way: &Way) -> Edge {
    let window = match way.from {
        INIT => String::new(),
        state => show_window(program.machine.state(state).window),
    };
    let label = format!("event {} {window}", way.event);
    let mut note = String::new();
    if way.stays && way.from != INIT {
        note.push_str(match way.effect.answers {
            0 => ", as a copy: the attempt itself waits on",
            _ => ", as a copy: the attempt itself serves others",
        });
    }
    if way.effect.unless != 0 {
        note.push_str(", unless on the same packet an earlier event answers it");
    }
    match way.enter {
        Enter::Fresh => {}
        Enter::Nested => note.push_str(", within the window that runs"),
        Enter::Resumed => note.push_str(", within the window under which the operator opened"),
    }
    let parts = conditions(program, way.event);
    let guard = parts.into_iter().filter(|(part, _)| *part == Part::Guard);
    let guard: Vec<String> = guard.map(|(_, text)| text).collect();
    Edge {
        from,
        to,
        label: label.trim_end().to_owned(),
        note,
        guard: match guard.is_empty() {
            true => "anything".to_owned(),
            false => guard.join(" && "),
        },
        is_timeout: false,
    }
}

/// What happens when no event has come in time; nothing where there is no end to that.
fn time_out(program: &Program, (from, to): (usize, usize), state: StateId) -> Option<Edge> {
    let window = program.machine.state(state).window;
    let counts_only = window.max_us == 0 && program.mode == Mode::Standard;
    let label = match window.immediate {
        true => "otherwise".to_owned(),
        false if window.max_us == i64::MAX || counts_only => return None,
        false => format!("after {}", delay::show(window.max_us)),
    };
    Some(Edge {
        from,
        to,
        label,
        note: String::new(),
        guard: String::new(),
        is_timeout: true,
    })
}
