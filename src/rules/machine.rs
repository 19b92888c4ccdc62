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
    /// The instance stays and a copy moves: the edge opens an operator, or it answers a `BEFORE`,
    /// where what precedes serves every trigger.
    pub stays: bool,
    /// How the window of `to` is set.
    pub enter: Enter,
    /// What else happens.
    pub effect: Effect,
}

/// A `BEFORE`, or a `THEN` whose trigger may come first, at its place in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Number of the operator at this place.
    pub operator: u8,
    /// Depth of operators that run as triggers of others where it stands.
    pub depth: u8,
    /// Events of what has to precede: bit N for event N.
    pub events: u64,
}

/// What happens beside the move when an edge is taken, or a window passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effect {
    /// Set of looks ([`Machine::looks`]) that are answered: what has to precede has preceded.
    pub answers: u8,
    /// Set of looks, of one at most, that must not have been answered by the same event: else the
    /// attempt comes to nothing, as it counts only if nothing preceded it.
    pub unless: u8,
    /// The wait whose trigger came, or 0: all attempts end that wait for it in the same place. A
    /// wait has the depth of what runs in it as its number, from 1.
    pub ends: u8,
}

/// A state of the machine.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Bounds of the delay, for pending states.
    pub window: Window,
    /// Where to go when the window has passed.
    pub timeout: StateId,
    /// What else happens then.
    pub effect: Effect,
    /// Depth of operators that run as triggers of others, from 0: the place of this state's cap.
    pub depth: u8,
    /// What is under way here counts only if it is not answered: it is tried after all else.
    pub is_late: bool,
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
    /// Sets of looks, by number; the first is empty.
    looks: Vec<Vec<Look>>,
}

/// More states than an index holds: only reachable with some 60 nested `AND` operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operators of this property need more than {} states", u8::MAX)]
pub struct TooComplex;

struct Builder {
    states: Vec<State>,
    edges: Vec<Edge>,
    looks: Vec<Vec<Look>>,
    /// Operators that look back so far.
    operators: u8,
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
    /// It leaves the instance where it is.
    stays: bool,
    /// What happens when the node holds.
    effect: Effect,
    /// The rule is decided when the node holds.
    is_last: bool,
    is_late: bool,
}

/// The whole tree.
const ROOT: Place = Place {
    entry: INIT,
    exit: PASS,
    timeout: FAIL,
    depth: 0,
    opens: false,
    stays: false,
    effect: NOTHING_ELSE,
    is_last: true,
    is_late: false,
};

const NOTHING_ELSE: Effect = Effect {
    answers: 0,
    unless: 0,
    ends: 0,
};

const FIXED: State = State {
    window: NO_WINDOW,
    timeout: INCONCLUSIVE,
    effect: NOTHING_ELSE,
    depth: 0,
    is_late: false,
};

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
        let mut builder = Builder {
            states: vec![FIXED; 4],
            edges: Vec::new(),
            looks: vec![Vec::new()],
            operators: 0,
            mode,
            full: false,
        };
        builder.node(&property.root, ROOT);
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
            looks: builder.looks,
        })
    }

    /// A state by index; the machine's own indices are all valid.
    pub fn state(&self, id: StateId) -> State {
        self.states.get(usize::from(id)).copied().unwrap_or(FIXED)
    }

    /// A set of looks by number.
    pub fn looks(&self, set: u8) -> &[Look] {
        let looks = self.looks.get(usize::from(set));
        looks.map_or(&[], Vec::as_slice)
    }

    /// Is it one of the three in which an instance ends?
    pub const fn is_final(state: StateId) -> bool {
        matches!(state, PASS | FAIL | INCONCLUSIVE)
    }
}

impl Builder {
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
                stays: place.stays && (self.is_standard() || !Machine::is_final(place.exit)),
                enter: self.enter(place),
                effect: place.effect,
            }),
            Node::Operator(operator) => self.operator(operator, place),
        }
    }

    fn is_standard(&self) -> bool {
        self.mode == Mode::Standard
    }

    fn operator(&mut self, operator: &OperatorNode, place: Place) {
        let (left, right, window) = (&operator.left, &operator.right, operator.window);
        match operator.operator {
            Operator::Then => self.then(operator, place),
            Operator::And => {
                self.sequence(left, right, window, place, NOTHING_ELSE);
                self.sequence(right, left, window, place, NOTHING_ELSE);
            }
            Operator::Or => {
                self.node(left, place);
                self.node(right, place);
            }
            Operator::Not => {
                let middle = self.opened(window, (place.exit, place.effect), place);
                self.node(left, context(place, middle, NOTHING_ELSE));
                // The unwanted event under way is an attempt of its own; when it comes to nothing
                // the wait goes on.
                let ends = Effect {
                    ends: self.wait_of(place),
                    ..NOTHING_ELSE
                };
                let unwanted = Place {
                    exit: place.timeout,
                    timeout: INCONCLUSIVE,
                    effect: ends,
                    ..trigger(place, middle)
                };
                self.node(right, unwanted);
            }
            // What holds on one packet has no order.
            Operator::Before if window.immediate && self.is_standard() => {
                self.sequence(left, right, window, place, NOTHING_ELSE);
            }
            Operator::Before => {
                let look = self.look(right, place);
                self.preceded(left, right, window, (place, look));
                self.unpreceded(left, place, look);
            }
        }
    }

    fn then(&mut self, operator: &OperatorNode, place: Place) {
        let (left, right, window) = (&operator.left, &operator.right, operator.window);
        if window.min_us >= 0 || !self.is_standard() {
            return self.sequence(left, right, window, place, NOTHING_ELSE);
        }
        // Negative delays: the trigger may, or must, have been seen before its context.
        let look = self.look(right, place);
        let earlier = Window {
            min_us: window.max_us.min(0).saturating_neg(),
            max_us: window.min_us.saturating_neg(),
            ..window
        };
        self.preceded(left, right, earlier, (place, look));
        if window.max_us > 0 {
            let later = Window {
                min_us: 0,
                ..window
            };
            let unless = Effect {
                unless: self.with(0, look),
                ..NOTHING_ELSE
            };
            self.sequence(left, right, later, place, unless);
        } else {
            self.unpreceded(left, place, look);
        }
    }

    /// `first` opens the window, which has an effect of its own; `second` inside it passes.
    fn sequence(
        &mut self,
        first: &Node,
        second: &Node,
        window: Window,
        place: Place,
        opening: Effect,
    ) {
        let middle = self.opened(window, (place.timeout, NOTHING_ELSE), place);
        self.node(first, context(place, middle, opening));
        let ends = match place.effect.ends {
            0 if place.is_last => self.wait_of(place),
            ends => ends,
        };
        let effect = Effect {
            ends,
            ..place.effect
        };
        self.node(
            second,
            Place {
                effect,
                ..trigger(place, middle)
            },
        );
    }

    /// The wait of an operator at a place. The published engine lets attempts wait on.
    fn wait_of(&self, place: Place) -> u8 {
        match self.mode {
            Mode::Standard => place.depth.saturating_add(1),
            Mode::Compat => 0,
        }
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

    /// An operator at a place looks back for `right`.
    fn look(&mut self, right: &Node, place: Place) -> Look {
        self.operators = self.operators.saturating_add(1);
        Look {
            operator: self.operators,
            depth: place.depth,
            events: events_of(right),
        }
    }

    /// A set of looks and one more.
    fn with(&mut self, set: u8, look: Look) -> u8 {
        let mut looks = self
            .looks
            .get(usize::from(set))
            .cloned()
            .unwrap_or_default();
        looks.push(look);
        let Ok(number) = u8::try_from(self.looks.len()) else {
            self.full = true;
            return 0;
        };
        self.looks.push(looks);
        number
    }

    /// `right` opens the window, and `left` inside it answers.
    fn preceded(
        &mut self,
        left: &Node,
        right: &Node,
        window: Window,
        (place, look): (Place, Look),
    ) {
        let middle = self.opened(window, (INCONCLUSIVE, NOTHING_ELSE), place);
        self.node(right, context(place, middle, NOTHING_ELSE));
        let answers = match self.mode {
            Mode::Standard => self.with(place.effect.answers, look),
            Mode::Compat => 0,
        };
        let effect = Effect {
            answers,
            ..place.effect
        };
        self.node(
            left,
            Place {
                timeout: INCONCLUSIVE,
                stays: self.is_standard(),
                effect,
                ..trigger(place, middle)
            },
        );
    }

    /// `left` fails, unless it answers.
    fn unpreceded(&mut self, left: &Node, place: Place, look: Look) {
        let unless = match self.mode {
            Mode::Standard => self.with(0, look),
            Mode::Compat => 0,
        };
        let is_standard = self.is_standard();
        self.node(
            left,
            Place {
                exit: place.timeout,
                timeout: INCONCLUSIVE,
                opens: is_standard || place.opens,
                stays: is_standard || place.stays,
                effect: Effect {
                    unless,
                    ..NOTHING_ELSE
                },
                is_last: false,
                is_late: is_standard,
                ..place
            },
        );
    }

    /// The state between context and trigger of an operator.
    fn opened(
        &mut self,
        window: Window,
        (timeout, effect): (StateId, Effect),
        place: Place,
    ) -> StateId {
        let Ok(id) = StateId::try_from(self.states.len()) else {
            self.full = true;
            return INCONCLUSIVE;
        };
        self.states.push(State {
            window,
            timeout,
            effect,
            depth: place.depth,
            is_late: place.is_late,
        });
        id
    }
}

/// Events of a part of the tree: bit N for event N.
fn events_of(node: &Node) -> u64 {
    match node {
        Node::Event(event) => 1 << event,
        Node::Operator(operator) => events_of(&operator.left) | events_of(&operator.right),
    }
}

/// Place of the left child: it leads to the state that waits for the right one.
fn context(place: Place, middle: StateId, effect: Effect) -> Place {
    Place {
        exit: middle,
        timeout: INCONCLUSIVE,
        opens: true,
        stays: true,
        effect,
        is_last: false,
        is_late: place.is_late || effect.unless != 0,
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
        stays: false,
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
            .map(|e| (e.from, e.event, e.to, e.stays, e.enter))
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
