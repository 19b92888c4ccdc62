//! A property compiled for running: its machine, and for each event what one packet must show
//! (the guard), what it must share with earlier events (the join), and what is recorded of it.

use super::access::Access;
use super::checks::Check;
use super::either::{Condition, Orders};
use super::guards::Mask;
use super::machine::{Edge, Effect, INIT, Machine, StateId, TooComplex};
use super::partition::Partition;
use super::property::{Kind, Property};
use super::record::{self, Layout, Part};
use super::verdict::{self, Verdict};
use crate::dissect::attribute::{AttributeId, Class};
use crate::dissect::{Protocol, ProtocolSet};
use crate::expr::evaluate::{Code, Comparison, compare};
use crate::expr::{Expr, Mode, Node, Operator};
use crate::limits::ATTRIBUTES_USED_MAX;
use std::collections::{BTreeMap, BTreeSet};

/// Place of an attribute among those that the loaded rules use.
pub type Slot = u8;

/// Where a join finds a value: event (0 is the current one) and field of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Event number, or 0 for the event being matched.
    pub event: u8,
    /// Field in that event's layout; `u8::MAX` when the layout lacks it.
    pub field: u8,
}

/// A value of an earlier event in the record of an instance.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// Event and field.
    pub place: Place,
    /// Where records hold it.
    pub part: Part,
}

/// A value of the packet that an earlier event must have had too.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Field of this event.
    pub field: u8,
    /// Its slot.
    pub slot: Slot,
    /// Its form.
    pub part: Part,
    /// The earlier value.
    pub earlier: Held,
    /// It is only asked where the other event has come: that may come later as well.
    pub is_either: bool,
}

/// A condition on the packet and earlier events.
#[derive(Debug)]
pub struct Residual {
    /// Compiled.
    pub code: Code<Place>,
    /// It is only asked where these events have come, bit N for event N: they may come later.
    pub needs: u64,
    /// The same in short, where it compares a number of the packet with an earlier one.
    pub pair: Option<Pair>,
}

/// A comparison of a number of the packet with one of an earlier event.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    slot: Slot,
    part: Part,
    earlier: Held,
    operator: Operator,
    /// The earlier number stands first.
    is_reversed: bool,
}

impl Pair {
    /// Does it hold for the record of the packet? None where either number is not there.
    #[inline]
    pub fn holds(&self, current: &[u8], earlier: &[u8], bound: u64) -> Option<bool> {
        self.holds_for(self.part.number(current)?, earlier, bound)
    }

    /// Does it certainly not hold for the packet, of which `number` gives what it has?
    #[inline]
    pub fn is_refuted(
        &self,
        number: &mut impl FnMut(Slot) -> Option<u64>,
        earlier: &[u8],
        bound: u64,
    ) -> bool {
        let holds = number(self.slot).and_then(|ours| self.holds_for(ours, earlier, bound));
        holds == Some(false)
    }

    #[inline]
    fn holds_for(&self, ours: u64, earlier: &[u8], bound: u64) -> Option<bool> {
        if bound & 1 << self.earlier.place.event == 0 {
            return None;
        }
        let theirs = self.earlier.part.number(earlier)?;
        Some(match self.is_reversed {
            false => compare(self.operator, &ours, &theirs),
            true => compare(self.operator, &theirs, &ours),
        })
    }
}

/// One event, compiled.
#[derive(Debug)]
pub struct Event {
    /// Attributes without which it cannot hold, in order of use.
    pub mandatory: Vec<Slot>,
    /// The same as a set.
    pub mask: Mask,
    /// Attributes it reads if they are there (`is_exist`).
    pub optional: Vec<Slot>,
    /// Protocols of the mandatory attributes: a packet without them is not looked at further.
    pub protocols: ProtocolSet,
    /// Conditions that an index can answer, each with the protocol of its attribute.
    pub accesses: Vec<(ProtocolSet, Access)>,
    /// Conditions of the guard that compare one number with a constant: the cheapest.
    pub tests: Vec<(Slot, Comparison)>,
    /// The other conditions on the packet alone; all must hold.
    pub guard: Vec<Check>,
    /// Conditions on earlier events other than equalities; all must hold.
    pub residual: Vec<Residual>,
    /// Equalities with earlier events.
    pub keys: Vec<Key>,
    /// Number of its list of key attributes: events of all rules with the same list share it.
    pub key_list: usize,
    /// The other values of earlier events that the residual conditions read.
    pub shared: Vec<Held>,
    /// Events that may come before it or after it: bit N for event N.
    pub either: u64,
    /// A residual condition remembers its calls: instances are then tried one by one.
    pub remembers: bool,
    /// What is recorded, and printed in alerts.
    pub layout: Layout,
    /// Slot of each field of the layout.
    pub fields: Vec<Slot>,
    /// Offset of this event's record in the record of an instance.
    pub offset: usize,
}

impl Event {
    /// Is a packet this event whenever it is the other, as far as it alone decides, and does it
    /// show the same then?
    pub fn is_alike(&self, other: &Self) -> bool {
        !self.is_stateful()
            && !other.is_stateful()
            && (&self.tests, &self.mandatory, &self.optional)
                == (&other.tests, &other.mandatory, &other.optional)
            && self.guard == other.guard
            && (&self.layout, &self.fields) == (&other.layout, &other.fields)
    }

    /// Does one of its conditions remember its calls?
    pub fn is_stateful(&self) -> bool {
        self.remembers || self.guard.iter().any(Check::is_stateful)
    }
}

/// A rule that one packet decides: which event is the context, and what follows.
#[derive(Debug)]
pub struct Single {
    /// Event that must hold for the rule to say anything.
    pub context: u8,
    /// Event that decides.
    pub trigger: u8,
    /// What is said when it holds too.
    pub held: Option<Verdict>,
    /// What is said when it does not.
    pub failed: Option<Verdict>,
    /// Protocols that the packet must have for either.
    pub protocols: ProtocolSet,
}

/// A rule, ready to run.
#[derive(Debug)]
pub struct Program {
    /// As it was written.
    pub property: Property,
    /// Its states.
    pub machine: Machine,
    /// Edges with their numbers, by their event, and by the state they leave.
    by_event: Vec<Vec<(usize, Edge)>>,
    by_state: Vec<Vec<(usize, Edge)>>,
    /// How one packet decides it, if one does.
    pub single: Option<Single>,
    /// Its events; event N is at N-1.
    pub events: Vec<Event>,
    /// Bytes of an instance's record.
    pub record_size: usize,
    /// Some time-out leads to a verdict.
    pub timeout_reports: bool,
    /// Every time-out ends the attempt and says nothing, so that nobody notices when.
    pub expires_quietly: bool,
    /// Every attribute of the rule: a packet with one of them is relevant to it.
    pub attributes: Vec<Slot>,
    /// Where it can run.
    pub partition: Partition,
    /// Events that an operator of one packet asks a packet about that has brought an attempt there:
    /// bit N for event N.
    pub asked: u64,
    /// How it was compiled.
    pub mode: Mode,
}

/// Why a checked property cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// See [`TooComplex`].
    #[error(transparent)]
    TooComplex(#[from] TooComplex),
    /// See [`ATTRIBUTES_USED_MAX`].
    #[error("all rules together use more than {ATTRIBUTES_USED_MAX} attributes")]
    TooManyAttributes,
}

/// The attributes that the loaded rules use; an attribute's [`Slot`] is its place here.
#[derive(Debug, Default, Clone)]
pub struct Attributes {
    /// In order of first use.
    pub ids: Vec<AttributeId>,
}

impl Attributes {
    /// The slot of an attribute, a new one if need be.
    ///
    /// # Errors
    /// There are as many as an index holds.
    pub fn slot(&mut self, id: AttributeId) -> Result<Slot, Error> {
        let place = self
            .ids
            .iter()
            .position(|known| *known == id)
            .unwrap_or_else(|| {
                self.ids.push(id);
                self.ids.len() - 1
            });
        Slot::try_from(place).map_err(|_| Error::TooManyAttributes)
    }
}

/// What an expression uses.
#[derive(Default)]
struct Uses {
    own: Vec<AttributeId>,
    /// Arguments of functions that ask for presence.
    asked: BTreeSet<AttributeId>,
    earlier: BTreeSet<(u8, AttributeId)>,
}

impl Program {
    /// Compile a property, adding the attributes it uses to `attributes`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn new(property: Property, mode: Mode, attributes: &mut Attributes) -> Result<Self, Error> {
        let plain = property.events.iter().map(|event| event.expression.clone());
        let plain: Vec<Expr> = plain.collect();
        let mut program = Self::compile(property, &plain, mode, attributes)?;
        program.partition = Partition::of(&program, attributes);
        if mode == Mode::Standard && matches!(program.partition, Partition::Flow(_)) {
            let expressions = program.of_one_flow(&plain);
            let partition = program.partition;
            program = Self::compile(program.property, &expressions, mode, attributes)?;
            program.partition = partition;
        }
        Ok(program)
    }

    /// The expressions of events, each with the condition that it is of one flow with those that it
    /// shares keys with: see [`AttributeId::INNER_FLOW`].
    fn of_one_flow(&self, expressions: &[Expr]) -> Vec<Expr> {
        let all = self.events.iter().zip(expressions);
        let with = all.map(|(event, expression)| {
            let others: BTreeSet<u8> = event.keys.iter().map(|k| k.earlier.place.event).collect();
            let at = |node| Expr {
                node,
                span: expression.span.clone(),
            };
            let flow = |event| at(Node::Attribute(AttributeId::INNER_FLOW, event));
            let equal = |other: &u8| {
                let sides = vec![flow(None), flow(Some(*other))];
                at(Node::Chain(Operator::Equal, sides))
            };
            let mut parts = vec![expression.clone()];
            parts.extend(others.iter().map(equal));
            match others.is_empty() {
                true => expression.clone(),
                false => at(Node::Chain(Operator::And, parts)),
            }
        });
        with.collect()
    }

    fn compile(
        property: Property,
        expressions: &[Expr],
        mode: Mode,
        attributes: &mut Attributes,
    ) -> Result<Self, Error> {
        let machine = Machine::new(&property, mode)?;
        let uses: Vec<Uses> = expressions.iter().map(|e| uses_of(e, mode)).collect();
        let layouts: Vec<Layout> = (1..=property.events.len())
            .map(|n| layout_of(&uses, n))
            .collect();
        let expressions: Vec<&Expr> = expressions.iter().collect();
        let orders = Orders::new(&property.root, &machine, expressions.len(), mode);
        let mut events = Vec::new();
        let mut offset = 0;
        for (index, conditions) in orders.conditions(&expressions).into_iter().enumerate() {
            let compiled = compile_event(
                (index, &conditions),
                &uses,
                &layouts,
                &orders,
                offset,
                mode,
                attributes,
            )?;
            offset += compiled.layout.size;
            events.push(compiled);
        }
        let mut all = BTreeSet::new();
        for event in &events {
            all.extend(event.mandatory.iter().chain(&event.optional).copied());
        }
        let timeout_reports = timeout_reports(&machine, property.kind, mode);
        let quiet = |state| Machine::is_final(state) && verdict::of(property.kind, state).is_none();
        let mut pending = machine.states.iter().skip(4);
        let expires_quietly =
            pending.all(|state| quiet(state.timeout) && state.effect == Effect::default());
        let single = single_of(&machine, property.kind, &events);
        let numbers = |wanted: &dyn Fn(&Edge) -> bool| -> Vec<(usize, Edge)> {
            let numbered = machine.edges.iter().copied().enumerate();
            numbered.filter(|(_, edge)| wanted(edge)).collect()
        };
        let by_event = (0..=u8::MAX)
            .take(events.len() + 1)
            .map(|event| numbers(&|edge| edge.event == event))
            .collect();
        let by_state = (0..=StateId::MAX)
            .take(machine.states.len())
            .map(|state| numbers(&|edge| edge.from == state))
            .collect();
        Ok(Self {
            partition: Partition::Rule,
            asked: asked_at_once(&machine),
            by_event,
            by_state,
            property,
            machine,
            single,
            events,
            record_size: offset,
            timeout_reports,
            expires_quietly,
            attributes: all.into_iter().collect(),
            mode,
        })
    }

    /// Let its conditions remember what those of `other`, the same rule compiled in another rule
    /// set, remember, and the other way round.
    pub fn share_memory(&mut self, other: &Self) {
        for (event, other) in self.events.iter_mut().zip(&other.events) {
            for (check, other) in event.guard.iter_mut().zip(&other.guard) {
                check.code.share_memory(&other.code);
            }
            for (condition, other) in event.residual.iter_mut().zip(&other.residual) {
                condition.code.share_memory(&other.code);
            }
        }
    }

    /// Event by number, from 1.
    pub fn event(&self, number: u8) -> Option<&Event> {
        self.events.get(usize::from(number).checked_sub(1)?)
    }

    /// Edges that this event takes, with their numbers.
    pub fn edges_of(&self, event: u8) -> &[(usize, Edge)] {
        let edges = self.by_event.get(usize::from(event));
        edges.map_or(&[], Vec::as_slice)
    }

    /// Edges that leave this state, with their numbers.
    pub fn edges_from(&self, state: StateId) -> &[(usize, Edge)] {
        let edges = self.by_state.get(usize::from(state));
        edges.map_or(&[], Vec::as_slice)
    }
}

/// Number the lists of key attributes of all events; returns how many there are.
pub fn number_key_lists(programs: &mut [Program]) -> usize {
    let mut numbers: BTreeMap<Vec<Slot>, usize> = BTreeMap::new();
    for event in programs.iter_mut().flat_map(|program| &mut program.events) {
        let list = event.keys.iter().map(|key| key.slot).collect();
        let next = numbers.len();
        event.key_list = *numbers.entry(list).or_insert(next);
    }
    numbers.len()
}

/// Events that lead out of the states that one packet goes through.
fn asked_at_once(machine: &Machine) -> u64 {
    let leads_out = |edge: &&Edge| machine.state(edge.from).window.immediate;
    let edges = machine.edges.iter().filter(leads_out);
    edges.fold(0, |events, edge| events | 1 << edge.event)
}

fn single_of(machine: &Machine, kind: Kind, events: &[Event]) -> Option<Single> {
    let first = machine
        .edges
        .iter()
        .find(|edge| edge.from == INIT)
        .filter(|_| machine.single)?;
    let second = machine.edges.iter().find(|edge| edge.from == first.to)?;
    let none = ProtocolSet::default();
    Some(Single {
        context: first.event,
        trigger: second.event,
        held: verdict::of(kind, second.to),
        failed: verdict::of(kind, machine.state(first.to).timeout),
        protocols: events
            .iter()
            .fold(none, |all, event| all.union(event.protocols)),
    })
}

/// Can a time-out lead to output? In compat mode a time-out that leads on counts as one that can.
fn timeout_reports(machine: &Machine, kind: Kind, mode: Mode) -> bool {
    let reports = |state| {
        verdict::of(kind, state).is_some() || (mode == Mode::Compat && !Machine::is_final(state))
    };
    machine
        .states
        .iter()
        .skip(4)
        .any(|state| reports(state.timeout))
}

fn uses_of(expr: &Expr, mode: Mode) -> Uses {
    let mut uses = Uses::default();
    collect_uses(expr, mode, false, &mut uses);
    uses
}

fn collect_uses(expr: &Expr, mode: Mode, asked: bool, uses: &mut Uses) {
    match &expr.node {
        Node::Attribute(id, None) if asked => {
            uses.asked.insert(*id);
        }
        Node::Attribute(id, None) => {
            if !uses.own.contains(id) {
                uses.own.push(*id);
            }
        }
        Node::Attribute(id, Some(event)) => {
            uses.earlier.insert((*event, *id));
        }
        Node::Call(function, arguments) => {
            let asks = function.asks(mode);
            arguments
                .iter()
                .for_each(|argument| collect_uses(argument, mode, asks, uses));
        }
        Node::Chain(_, operands) => {
            operands
                .iter()
                .for_each(|operand| collect_uses(operand, mode, false, uses));
        }
        Node::Number(_)
        | Node::Text(_)
        | Node::Network(_)
        | Node::List(_)
        | Node::Pattern(_)
        | Node::Protocol(_) => {}
    }
}

/// Attributes that other events read from event `number`.
fn read_by_others(uses: &[Uses], number: usize) -> impl Iterator<Item = AttributeId> {
    uses.iter()
        .flat_map(|uses| uses.earlier.iter())
        .filter(move |(event, _)| usize::from(*event) == number)
        .map(|(_, id)| *id)
}

fn layout_of(uses: &[Uses], number: usize) -> Layout {
    let own = uses.get(number - 1);
    let mut ids: Vec<AttributeId> = own.map_or_else(Vec::new, |uses| uses.own.clone());
    ids.extend(own.iter().flat_map(|uses| uses.asked.iter().copied()));
    ids.extend(read_by_others(uses, number));
    ids.sort_by_key(|id| id.sort_key());
    ids.dedup();
    Layout::new(&ids)
}

/// Attributes that the event at `index` must have, and those that it asks for.
fn needed(uses: &[Uses], index: usize, mode: Mode) -> (Vec<AttributeId>, Vec<AttributeId>) {
    let Some(own) = uses.get(index) else {
        return (Vec::new(), Vec::new());
    };
    // What is asked for may be missing, even where the same expression also uses it.
    let plain = own.own.iter().filter(|id| !own.asked.contains(id));
    let mut mandatory: Vec<AttributeId> = plain.copied().collect();
    for id in read_by_others(uses, index + 1) {
        // In the published engine also where others take it.
        let may_miss = mode == Mode::Compat && own.asked.contains(&id);
        if !may_miss && !mandatory.contains(&id) {
            mandatory.push(id);
        }
    }
    let asked = own.asked.iter().filter(|id| !mandatory.contains(id));
    let optional = asked.copied().collect();
    (mandatory, optional)
}

fn compile_event(
    (index, conditions): (usize, &[Condition]),
    uses: &[Uses],
    layouts: &[Layout],
    orders: &Orders,
    offset: usize,
    mode: Mode,
    attributes: &mut Attributes,
) -> Result<Event, Error> {
    let number = u8::try_from(index + 1).unwrap_or(u8::MAX);
    let layout = layouts.get(index).cloned().unwrap_or_default();
    let (mandatory_ids, optional_ids) = needed(uses, index, mode);
    let mut slots = |ids: &[AttributeId]| -> Result<Vec<Slot>, Error> {
        ids.iter().map(|id| attributes.slot(*id)).collect()
    };
    let mandatory = slots(&mandatory_ids)?;
    let optional = slots(&optional_ids)?;
    let fields = slots(
        &layout
            .fields
            .iter()
            .map(|field| field.attribute)
            .collect::<Vec<_>>(),
    )?;
    let mut protocols = ProtocolSet::default();
    mandatory_ids
        .iter()
        .for_each(|id| protocols.insert(id.protocol));
    protocols.remove(Protocol::Meta);
    let mut event = Event {
        mask: Mask::of(&mandatory),
        mandatory,
        optional,
        protocols,
        accesses: Vec::new(),
        tests: Vec::new(),
        guard: Vec::new(),
        residual: Vec::new(),
        keys: Vec::new(),
        key_list: 0,
        shared: Vec::new(),
        either: orders.either(number),
        remembers: false,
        layout,
        fields,
        offset,
    };
    for condition in conditions {
        let is_key = |other| {
            let is_either = orders.either(number) & 1_u64 << other != 0;
            (!is_either || orders.comes_behind(number, other)).then_some(is_either)
        };
        add_condition(condition, &mut event, layouts, is_key, mode, attributes)?;
    }
    for (id, slot) in mandatory_ids.iter().zip(&event.mandatory) {
        let presence = Access::presence(*id, *slot);
        event
            .accesses
            .extend(presence.map(|access| (protocol_of(&access, attributes), access)));
    }
    sort_keys(&mut event.keys, attributes);
    Ok(event)
}

/// One order for all events, so that more of them share the hash of a packet's values; by attribute
/// and not by slot, as instances outlive the rule set that gave the slots.
fn sort_keys(keys: &mut [Key], attributes: &Attributes) {
    let attribute = |slot: Slot| {
        attributes
            .ids
            .get(usize::from(slot))
            .map(|id| id.sort_key())
    };
    keys.sort_by_key(|key| (attribute(key.slot), key.earlier.place.event));
}

/// Sort a condition of an event into guard, keys and residual. `is_key` says of an earlier event
/// whether an index can answer an equality with it, and whether that may come later as well.
fn add_condition(
    condition: &Condition,
    event: &mut Event,
    layouts: &[Layout],
    is_key: impl Fn(u8) -> Option<bool>,
    mode: Mode,
    attributes: &mut Attributes,
) -> Result<(), Error> {
    let expr = &condition.expr;
    let mut uses = uses_of(expr, mode);
    if uses.earlier.is_empty() && condition.needs == 0 {
        let is_number = uses.own.iter().all(|id| record::is_number(id.kind()));
        // Every slot exists by now: the event's attributes were added before.
        for id in uses.own.drain(..).chain(std::mem::take(&mut uses.asked)) {
            attributes.slot(id)?;
        }
        let code = Code::new(expr, mode, &mut |id, _| {
            attributes.slot(id).unwrap_or(Slot::MAX)
        });
        let access = Access::of(expr, mode, |id| attributes.slot(id).unwrap_or(Slot::MAX));
        // What may be missing reads as 0, which an evaluation knows and a test does not.
        let optional = &event.optional;
        let access = access.filter(|access| !optional.contains(&access.slot));
        let test = code.as_test().filter(|_| is_number);
        let test = test.filter(|(slot, _)| !optional.contains(slot));
        // What remembers its calls is asked as often as everything before it holds.
        let comes_late = event.guard.iter().any(Check::is_stateful);
        if let Some(access) = access.filter(|_| test.is_some() || !comes_late) {
            event
                .accesses
                .push((protocol_of(&access, attributes), access));
        }
        match test {
            Some(test) => event.tests.push(test),
            None => event.guard.push(Check::new(code)),
        }
        return Ok(());
    }
    if let Some(key) = key_of(expr, event, layouts)
        && let Some(is_either) = is_key(key.earlier.place.event)
    {
        event.keys.push(Key { is_either, ..key });
        return Ok(());
    }
    let place = |id, number: Option<u8>| place_of(id, number, &event.layout, layouts);
    let code = Code::new(expr, mode, &mut { place });
    for (number, id) in uses.earlier {
        let place = place_of(id, Some(number), &event.layout, layouts);
        if !event.shared.iter().any(|held| held.place == place) {
            event.shared.extend(held_at(place, layouts));
        }
    }
    event.remembers |= code.is_stateful();
    let pair = code
        .as_pair()
        .and_then(|pair| pair_of(pair, event, layouts));
    event.residual.push(Residual {
        code,
        needs: condition.needs,
        pair,
    });
    Ok(())
}

fn protocol_of(access: &Access, attributes: &Attributes) -> ProtocolSet {
    let mut protocols = ProtocolSet::default();
    if let Some(id) = attributes.ids.get(usize::from(access.slot)) {
        protocols.insert(id.protocol);
    }
    protocols.remove(Protocol::Meta);
    protocols
}

fn place_of(id: AttributeId, event: Option<u8>, own: &Layout, layouts: &[Layout]) -> Place {
    let number = event.unwrap_or(0);
    let layout = match number.checked_sub(1) {
        None => Some(own),
        Some(index) => layouts.get(usize::from(index)),
    };
    let field = layout.and_then(|layout| layout.position(id));
    Place {
        event: number,
        field: field.and_then(|f| u8::try_from(f).ok()).unwrap_or(u8::MAX),
    }
}

/// `attribute == attribute.N` of one class, either way round: an equality that an index can answer.
fn key_of(expr: &Expr, event: &Event, layouts: &[Layout]) -> Option<Key> {
    let Node::Chain(Operator::Equal, operands) = &expr.node else {
        return None;
    };
    let [left, right] = operands.as_slice() else {
        return None;
    };
    let (here, there, number) = match (&left.node, &right.node) {
        (Node::Attribute(here, None), Node::Attribute(there, Some(number)))
        | (Node::Attribute(there, Some(number)), Node::Attribute(here, None)) => {
            (*here, *there, *number)
        }
        _ => return None,
    };
    let classes = (here.kind().class(), there.kind().class());
    let comparable = matches!(
        classes,
        (Class::Numeric, Class::Numeric) | (Class::Text, Class::Text)
    );
    let fraction = crate::dissect::attribute::Type::Float;
    if !comparable || here.kind() == fraction || there.kind() == fraction {
        return None;
    }
    let field = place_of(here, None, &event.layout, layouts).field;
    let earlier = held_at(
        place_of(there, Some(number), &event.layout, layouts),
        layouts,
    )?;
    let part = event.layout.part(usize::from(field), 0)?;
    // Values kept in different forms hash differently though they may be equal.
    let slot = *event.fields.get(usize::from(field))?;
    let is_sure = !event.optional.contains(&slot);
    (is_sure && part.is_like(&earlier.part)).then_some(Key {
        field,
        slot,
        part,
        earlier,
        is_either: false,
    })
}

/// A comparison in short, if one side is of the packet and the other of an earlier event.
fn pair_of(
    (left, operator, right): (Place, Operator, Place),
    event: &Event,
    layouts: &[Layout],
) -> Option<Pair> {
    let is_reversed = left.event != 0;
    let (here, there) = match is_reversed {
        false => (left, right),
        true => (right, left),
    };
    if here.event != 0 {
        return None;
    }
    Some(Pair {
        slot: *event.fields.get(usize::from(here.field))?,
        part: event.layout.part(usize::from(here.field), 0)?,
        earlier: held_at(there, layouts)?,
        operator,
        is_reversed,
    })
}

/// Where instances hold the value at a place: records of events follow each other in order.
fn held_at(place: Place, layouts: &[Layout]) -> Option<Held> {
    let before = usize::from(place.event.checked_sub(1)?);
    let base = layouts.iter().take(before).map(|layout| layout.size).sum();
    let part = layouts.get(before)?.part(usize::from(place.field), base)?;
    Some(Held { place, part })
}
