//! Rules as trees that can be made smaller, and the XML of them.

use std::collections::BTreeSet;

/// A rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) kind: &'static str,
    pub(crate) root: Part,
}

/// An event, or an operator with its context and trigger.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Event(Event),
    Operator(Box<Operator>),
}

/// An event: its conditions, all of which must hold.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Events are numbered in the order of these.
    pub(crate) name: usize,
    pub(crate) conditions: Vec<Condition>,
}

/// A condition, with `{name}` for the numbers of other events.
pub(crate) type Condition = String;

#[derive(Debug, Clone)]
pub(crate) struct Operator {
    pub(crate) value: &'static str,
    pub(crate) bounds: Bounds,
    pub(crate) left: Part,
    pub(crate) right: Part,
}

/// Attributes of an operator, as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) units: &'static str,
    pub(crate) delay_min: String,
    pub(crate) delay_max: String,
    pub(crate) counter_min: usize,
    pub(crate) counter_max: usize,
}

impl Rule {
    pub(crate) fn xml(&self, id: usize) -> String {
        let names: Vec<usize> = names(&self.root).into_iter().collect();
        let kind = self.kind;
        let common = format!("property_id=\"{id}\" type_property=\"{kind}\" description=\"d\"");
        match &self.root {
            Part::Event(event) => {
                let event = event.xml(&names, "  ");
                format!("<property value=\"COMPUTE\" {common}>\n{event}</property>\n")
            }
            Part::Operator(operator) => {
                let (value, bounds) = (operator.value, operator.bounds.xml());
                let parts = [&operator.left, &operator.right].map(|part| part.xml(&names, "  "));
                let parts = parts.concat();
                format!("<property value=\"{value}\" {bounds}{common}>\n{parts}</property>\n")
            }
        }
    }

    /// Rules that say less: an operator less, an event less, a condition less.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let rule = |root| Self {
            root,
            kind: self.kind,
        };
        let mut rules: Vec<Self> = self.root.smaller().into_iter().map(rule).collect();
        for rule in &mut rules {
            let left = names(&rule.root);
            rule.root.forget_all_but(&left);
        }
        rules
    }
}

impl Part {
    fn xml(&self, names: &[usize], indent: &str) -> String {
        match self {
            Self::Event(event) => event.xml(names, indent),
            Self::Operator(operator) => {
                let (value, bounds) = (operator.value, operator.bounds.xml());
                let inner = format!("{indent}  ");
                let parts = [&operator.left, &operator.right].map(|part| part.xml(names, &inner));
                let parts = parts.concat();
                let bounds = bounds.trim_end();
                format!(
                    "{indent}<operator value=\"{value}\" {bounds}>\n{parts}{indent}</operator>\n"
                )
            }
        }
    }

    fn smaller(&self) -> Vec<Self> {
        match self {
            Self::Event(event) => (0..event.conditions.len())
                .map(|place| {
                    let mut event = event.clone();
                    event.conditions.remove(place);
                    Self::Event(event)
                })
                .collect(),
            Self::Operator(operator) => {
                let mut parts = vec![operator.left.clone(), operator.right.clone()];
                let with = |change: &dyn Fn(&mut Operator)| {
                    let mut operator = operator.clone();
                    change(&mut operator);
                    Self::Operator(operator)
                };
                for part in operator.left.smaller() {
                    parts.push(with(&|operator| operator.left = part.clone()));
                }
                for part in operator.right.smaller() {
                    parts.push(with(&|operator| operator.right = part.clone()));
                }
                let bounds = &operator.bounds;
                if (bounds.counter_min, bounds.counter_max) != (0, 0) {
                    parts.push(with(&|operator| {
                        operator.bounds.counter_min = 0;
                        operator.bounds.counter_max = 0;
                    }));
                }
                parts
            }
        }
    }

    /// Drop conditions on events that are gone.
    fn forget_all_but(&mut self, left: &BTreeSet<usize>) {
        match self {
            Self::Event(event) => event.conditions.retain(|condition| {
                let mut named = references(condition).into_iter();
                named.all(|name| left.contains(&name))
            }),
            Self::Operator(operator) => {
                operator.left.forget_all_but(left);
                operator.right.forget_all_but(left);
            }
        }
    }
}

fn names(part: &Part) -> BTreeSet<usize> {
    match part {
        Part::Event(event) => [event.name].into(),
        Part::Operator(operator) => {
            let mut all = names(&operator.left);
            all.extend(names(&operator.right));
            all
        }
    }
}

/// The events that a condition names.
fn references(condition: &str) -> Vec<usize> {
    let after = condition.split('{').skip(1);
    let name = |text: &str| text.split('}').next().and_then(|name| name.parse().ok());
    after.filter_map(name).collect()
}

impl Event {
    fn xml(&self, names: &[usize], indent: &str) -> String {
        let number = |name: usize| names.iter().position(|n| *n == name).map_or(0, |n| n + 1);
        let mut text = match self.conditions.as_slice() {
            [] => "true".to_owned(),
            [condition] => condition.clone(),
            conditions => format!("({})", conditions.join(" && ")),
        };
        for name in references(&text) {
            text = text.replace(&format!("{{{name}}}"), &number(name).to_string());
        }
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let id = number(self.name);
        format!("{indent}<event event_id=\"{id}\" boolean_expression=\"{text}\"/>\n")
    }
}

impl Bounds {
    fn xml(&self) -> String {
        let mut text = String::new();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() && value != "0" {
                text.push_str(&format!("{name}=\"{value}\" "));
            }
        };
        add("delay_units", self.units);
        add("delay_min", &self.delay_min);
        add("delay_max", &self.delay_max);
        add("counter_min", &self.counter_min.to_string());
        add("counter_max", &self.counter_max.to_string());
        text
    }
}
