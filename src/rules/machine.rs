//! The operator tree of a property as a state machine.
//!
//! States are entered by events; each pending state has a window that the next event must fall
//! into, and a place to go when the window passes. An edge that opens an operator leaves its
//! instance where it is and moves a copy, so that one context can start many attempts.

use super::property::{Node, Operator, OperatorNode, Property, Window};
use crate::expr::Mode;

/// Index of a state in its machine.
pub type StateId = u8;

/// The states that every machine has.
pub const INIT: StateId = 0;
/// The trigger was reached.
pub const PASS: StateId = 1;
/// The window of the property passed without its trigger.
pub const FAIL: StateId = 2;
/// A context was not completed: nothing can be said.
pub const INCONCLUSIVE: StateId = 3;

/// How the window of a state is set when the state is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enter {
    /// From the current packet alone: the operator runs under no other.
    Fresh,
    /// From the current packet, within the window of the state before: a nested operator opens as
    /// the trigger of the one that runs.
    Nested,
    /// From the current packet, within the window under which the completed operator had opened.
    Resumed,
}

/// A way from one state to another.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    /// Where it starts.
    pub from: StateId,
    /// Event that takes it, from 1.
    pub event: u8,
    /// Where it leads.
    pub to: StateId,
    /// It opens an operator: the instance stays and a copy moves.
    pub opens: bool,
    /// How the window of `to` is set.
    pub enter: Enter,
    /// Not taken when, on the same packet, an instance took an edge with `answers`: the trigger of
    /// a `BEFORE` counts as failed only if nothing preceded it.
    pub unless_answered: bool,
    /// The instance stays although it passes: what precedes in `BEFORE` serves every trigger.
    pub answers: bool,
}

/// A state of the machine.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Bounds of the delay, for pending states.
    pub window: Window,
    /// Where to go when the window has passed.
    pub timeout: StateId,
    /// Depth of operators that run as triggers of others, from 0: the place of this state's cap.
    pub depth: u8,
}

/// A property as states and edges.
#[derive(Debug, Clone)]
pub struct Machine {
    /// States; the first four are the fixed ones.
    pub states: Vec<State>,
    /// Edges, by event number, then in order of the tree.
    pub edges: Vec<Edge>,
    /// One packet decides: two events under one immediate operator.
    pub single: bool,
    /// Greatest depth of nested triggers, plus 1.
    pub depths: u8,
}

/// More states than an index holds: only reachable with some 60 nested `AND` operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operators of this property need more than {} states", u8::MAX)]
pub struct TooComplex;

struct Builder {
    states: Vec<State>,
    edges: Vec<Edge>,
    mode: Mode,
    full: bool,
}

/// Where a node of the tree is being placed.
#[derive(Clone, Copy)]
struct Place {
    entry: StateId,
    exit: StateId,
    /// Where time-outs of this node lead.
    timeout: StateId,
    /// Depth of running operators at `entry`.
    depth: u8,
    /// An event here opens an operator.
    opens: bool,
    unless_answered: bool,
    answers: bool,
}

const NO_WINDOW: Window = Window {
    min_us: 0,
    max_us: i64::MAX,
    immediate: false,
    counter_min: 0,
    counter_max: 0,
};

impl Machine {
    /// Build the machine of a property.
    ///
    /// # Errors
    /// [`TooComplex`] when the tree needs more states than an index holds.
    pub fn new(property: &Property, mode: Mode) -> Result<Self, TooComplex> {
        let fixed = State {
            window: NO_WINDOW,
            timeout: INCONCLUSIVE,
            depth: 0,
        };
        let mut builder = Builder {
            states: vec![fixed; 4],
            edges: Vec::new(),
            mode,
            full: false,
        };
        builder.node(
            &property.root,
            Place {
                entry: INIT,
                exit: PASS,
                timeout: FAIL,
                depth: 0,
                opens: false,
                unless_answered: false,
                answers: false,
            },
        );
        if builder.full {
            return Err(TooComplex);
        }
        let mut edges = builder.edges;
        edges.sort_by_key(|edge| edge.event);
        let immediate =
            matches!(&property.root, Node::Operator(operator) if operator.window.immediate);
        let from_init = edges.iter().filter(|edge| edge.from == INIT).count();
        let single = property.events.len() == 2 && immediate && from_init == 1;
        let depths = builder
            .states
            .iter()
            .map(|state| state.depth)
            .max()
            .unwrap_or(0)
            + 1;
        Ok(Self {
            states: builder.states,
            edges,
            single,
            depths,
        })
    }

    /// A state by index; the machine's own indices are all valid.
    pub fn state(&self, id: StateId) -> State {
        let fallback = State {
            window: NO_WINDOW,
            timeout: INCONCLUSIVE,
            depth: 0,
        };
        self.states
            .get(usize::from(id))
            .copied()
            .unwrap_or(fallback)
    }

    /// Is it one of the three in which an instance ends?
    pub const fn is_final(state: StateId) -> bool {
        matches!(state, PASS | FAIL | INCONCLUSIVE)
    }
}

impl Builder {
    fn state(&mut self, window: Window, timeout: StateId, depth: u8) -> StateId {
        let Ok(id) = StateId::try_from(self.states.len()) else {
            self.full = true;
            return INCONCLUSIVE;
        };
        self.states.push(State {
            window,
            timeout,
            depth,
        });
        id
    }

    fn node(&mut self, node: &Node, place: Place) {
        if self.full || self.edges.len() > 4 * usize::from(StateId::MAX) {
            self.full = true;
            return;
        }
        match node {
            Node::Event(event) => self.edges.push(Edge {
                from: place.entry,
                event: *event,
                to: place.exit,
                opens: place.opens,
                enter: self.enter(place),
                unless_answered: place.unless_answered,
                answers: place.answers,
            }),
            Node::Operator(operator) => self.operator(operator, place),
        }
    }

    fn operator(&mut self, operator: &OperatorNode, place: Place) {
        let (left, right) = (&operator.left, &operator.right);
        match operator.operator {
            Operator::Then => self.then(operator, place),
            Operator::And => {
                self.sequence(left, right, operator.window, place.timeout, place);
                self.sequence(right, left, operator.window, place.timeout, place);
            }
            Operator::Or => {
                self.node(left, place);
                self.node(right, place);
            }
            Operator::Not => {
                let middle = self.opened(operator.window, place.exit, place);
                self.node(left, context(place, middle));
                // The unwanted event under way is an attempt of its own; when it comes to nothing
                // the wait goes on.
                let unwanted = Place {
                    exit: place.timeout,
                    timeout: INCONCLUSIVE,
                    ..trigger(place, middle)
                };
                self.node(right, unwanted);
            }
            Operator::Before => self.before(left, right, operator.window, place),
        }
    }

    fn then(&mut self, operator: &OperatorNode, place: Place) {
        let window = operator.window;
        if window.min_us >= 0 || self.mode == Mode::Compat {
            return self.sequence(
                &operator.left,
                &operator.right,
                window,
                place.timeout,
                place,
            );
        }
        // Negative delays: the trigger may, or must, have been seen before its context.
        let earlier = Window {
            min_us: window.max_us.min(0).saturating_neg(),
            max_us: window.min_us.saturating_neg(),
            ..window
        };
        self.before_edges(&operator.left, &operator.right, earlier, place);
        if window.max_us > 0 {
            let later = Window {
                min_us: 0,
                ..window
            };
            let place = Place {
                unless_answered: true,
                ..place
            };
            self.sequence(&operator.left, &operator.right, later, place.timeout, place);
        } else {
            self.unpreceded(&operator.left, place);
        }
    }

    /// `first` opens the window, `second` inside it passes.
    fn sequence(
        &mut self,
        first: &Node,
        second: &Node,
        window: Window,
        timeout: StateId,
        place: Place,
    ) {
        let middle = self.opened(window, timeout, place);
        let unless_answered = place.unless_answered;
        self.node(
            first,
            Place {
                unless_answered,
                ..context(place, middle)
            },
        );
        self.node(
            second,
            Place {
                unless_answered: false,
                ..trigger(place, middle)
            },
        );
    }

    /// How an edge to `place.exit` sets its window. The published engine forgets the outer window
    /// when a completed operator starts the window of its parent.
    fn enter(&self, place: Place) -> Enter {
        let depth = self
            .states
            .get(usize::from(place.exit))
            .map_or(0, |state| state.depth);
        match (depth, place.opens, self.mode) {
            (0, _, _) => Enter::Fresh,
            (_, true, _) => Enter::Nested,
            (_, false, Mode::Standard) => Enter::Resumed,
            (_, false, Mode::Compat) => Enter::Fresh,
        }
    }

    /// `left` fails unless `right` was seen within the window before it.
    fn before(&mut self, left: &Node, right: &Node, window: Window, place: Place) {
        self.before_edges(left, right, window, place);
        self.unpreceded(left, place);
    }

    fn before_edges(&mut self, left: &Node, right: &Node, window: Window, place: Place) {
        let middle = self.opened(window, INCONCLUSIVE, place);
        self.node(right, context(place, middle));
        let answers = self.mode == Mode::Standard;
        self.node(
            left,
            Place {
                timeout: INCONCLUSIVE,
                answers,
                ..trigger(place, middle)
            },
        );
    }

    fn unpreceded(&mut self, left: &Node, place: Place) {
        let unless_answered = self.mode == Mode::Standard;
        self.node(
            left,
            Place {
                exit: place.timeout,
                timeout: INCONCLUSIVE,
                unless_answered,
                ..place
            },
        );
    }

    /// The state between context and trigger of an operator.
    fn opened(&mut self, window: Window, timeout: StateId, place: Place) -> StateId {
        self.state(window, timeout, place.depth)
    }
}

/// Place of the left child: it leads to the state that waits for the right one.
fn context(place: Place, middle: StateId) -> Place {
    Place {
        exit: middle,
        timeout: INCONCLUSIVE,
        opens: true,
        unless_answered: false,
        answers: false,
        ..place
    }
}

/// Place of the right child: it starts where the left one led.
fn trigger(place: Place, middle: StateId) -> Place {
    let depth = place.depth.saturating_add(1);
    Place {
        entry: middle,
        depth,
        opens: false,
        ..place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        min_us: 1,
        max_us: 5,
        immediate: false,
        counter_min: 0,
        counter_max: 0,
    };

    fn operator(operator: Operator, left: Node, right: Node) -> Node {
        Node::Operator(Box::new(OperatorNode {
            operator,
            window: WINDOW,
            left,
            right,
        }))
    }

    fn machine(root: Node, mode: Mode) -> Machine {
        let property = Property {
            id: 1,
            kind: crate::rules::property::Kind::Attack,
            description: String::new(),
            root,
            events: Vec::new(),
            if_satisfied: None,
            file: String::new(),
            line: 1,
        };
        Machine::new(&property, mode).unwrap()
    }

    fn edges(machine: &Machine) -> Vec<(StateId, u8, StateId, bool, Enter)> {
        machine
            .edges
            .iter()
            .map(|e| (e.from, e.event, e.to, e.opens, e.enter))
            .collect()
    }

    #[test]
    fn two_nested_operators_copy_where_one_opens() {
        let left = operator(Operator::Then, Node::Event(1), Node::Event(2));
        let right = operator(Operator::Then, Node::Event(3), Node::Event(4));
        let machine = machine(operator(Operator::Then, left, right), Mode::Compat);
        // 4 waits for event 3, 5 for event 2, 6 for event 4.
        assert_eq!(
            edges(&machine),
            [
                (INIT, 1, 5, true, Enter::Fresh),
                (5, 2, 4, false, Enter::Fresh),
                (4, 3, 6, true, Enter::Nested),
                (6, 4, PASS, false, Enter::Fresh),
            ]
        );
        assert_eq!(machine.state(5).timeout, INCONCLUSIVE);
        assert_eq!(machine.state(4).timeout, FAIL);
        assert_eq!(machine.state(6).timeout, FAIL);
    }

    #[test]
    fn not_passes_when_its_window_does() {
        let machine = machine(
            operator(Operator::Not, Node::Event(1), Node::Event(2)),
            Mode::Standard,
        );
        assert_eq!(machine.state(4).timeout, PASS);
        assert_eq!(machine.edges[1].to, FAIL);
    }

    #[test]
    fn an_operator_under_a_trigger_resumes_its_window_under_the_outer_one() {
        let inner = operator(Operator::Then, Node::Event(2), Node::Event(3));
        let trigger = operator(Operator::Then, inner, Node::Event(4));
        let tree = || operator(Operator::Then, Node::Event(1), trigger.clone());
        let standard = machine(tree(), Mode::Standard);
        assert_eq!(standard.edges[2].enter, Enter::Resumed);
        assert_eq!(machine(tree(), Mode::Compat).edges[2].enter, Enter::Fresh);
    }
}
