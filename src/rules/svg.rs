//! The automaton of a rule as a drawing: one SVG file that needs nothing else.
//!
//! States stand in columns, each one right of all that lead to it, and the final ones in the last.
//! Events are solid lines with their conditions, time-outs are dashed and run to a final state
//! below all others. Titles hold what is too long to be shown.

use super::graph::{Edge, Graph};
use std::fmt::Write as _;

const MARGIN: i32 = 40;
const COLUMN: i32 = 300;
const ROW: i32 = 110;
const WIDTH: i32 = 130;
const HEIGHT: i32 = 48;
const LINE: i32 = 18;

/// Characters of a condition that have room between two columns.
const GUARD_MAX: usize = 27;

/// Characters of a line below the drawing.
const LEGEND_MAX: usize = 180;

const STYLE: &str = "<style>
text { font: 13px sans-serif; fill: #1a1a1a; text-anchor: middle }
.small { font-size: 11px; fill: #444 }
.title { font-weight: bold }
.detail { font-size: 11px; font-weight: normal }
.start { text-anchor: start }
.under { fill: #fff; fill-opacity: .85 }
.state { fill: #eef3fa; stroke: #30507a; stroke-width: 1.5 }
.final { fill: #fbf3e4; stroke: #8a6116 }
.edge path { fill: none; stroke: #30507a; stroke-width: 1.5 }
.edge circle { fill: #30507a }
.timeout path { stroke-dasharray: 5 4 }
</style>";

const ARROW: &str = "<defs><marker id=\"arrow\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" \
markerWidth=\"8\" markerHeight=\"8\" orient=\"auto-start-reverse\">\
<path d=\"M0 0L10 5L0 10z\" fill=\"#30507a\"/></marker></defs>";

/// Where things stand.
struct Layout {
    /// Upper left corner of each node.
    places: Vec<(i32, i32)>,
    columns: Vec<usize>,
    width: i32,
    height: i32,
}

/// Draw the graph under a title, with lines of text below it.
pub(super) fn draw(title: &str, graph: &Graph, legend: &[String]) -> String {
    let layout = Layout::new(graph);
    let lines = i32::try_from(legend.len()).unwrap_or(0);
    let below = layout.height + MARGIN;
    let widest = legend.iter().map(|line| line.chars().count()).max();
    let widest = i32::try_from(widest.unwrap_or(0).min(LEGEND_MAX)).unwrap_or(0);
    let width = layout.width.max(2 * MARGIN + 6 * widest);
    let height = below + lines * LINE + MARGIN / 2;
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">"
    );
    let shown = escaped(title);
    let _ = writeln!(out, "<title>{shown}</title>\n{STYLE}\n{ARROW}");
    out.push_str("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n");
    let _ = writeln!(
        out,
        "<text class=\"title start\" x=\"{MARGIN}\" y=\"28\">{shown}</text>"
    );
    for (number, edge) in graph.edges.iter().enumerate() {
        layout.edge(&mut out, graph, number, edge);
    }
    layout.nodes(&mut out, graph);
    for (number, line) in (0..).zip(legend) {
        let y = below + number * LINE;
        let _ = writeln!(
            out,
            "<text class=\"small start\" x=\"{MARGIN}\" y=\"{y}\"><title>{}</title>{}</text>",
            escaped(line),
            escaped(&shortened(line, LEGEND_MAX))
        );
    }
    out.push_str("</svg>\n");
    out
}

impl Layout {
    fn new(graph: &Graph) -> Self {
        let columns = columns(graph);
        let last = columns.iter().copied().max().unwrap_or(0);
        let mut filled = vec![0; last + 1];
        let is_final = |place: usize| graph.nodes.get(place).is_some_and(|node| node.is_final);
        let mut places = Vec::new();
        for (place, column) in columns.iter().enumerate() {
            let row = filled.get(*column).copied().unwrap_or(0);
            if let Some(count) = filled.get_mut(*column) {
                *count += 1;
            }
            places.push((
                scaled(*column, COLUMN),
                if is_final(place) { 0 } else { row },
            ));
        }
        let rows = places.iter().map(|(_, row)| *row + 1).max().unwrap_or(1);
        // The first final state stands in line with the others, what time-outs lead to below.
        let mut finals = 0;
        let top = MARGIN + ROW * 3 / 4;
        for (place, (x, y)) in places.iter_mut().enumerate() {
            let row = match is_final(place) {
                true if finals == 0 => 0,
                true => rows * ROW + (finals - 1) * (HEIGHT + 24),
                false => *y * ROW,
            };
            finals += i32::from(is_final(place));
            (*x, *y) = (*x + MARGIN, row + top);
        }
        let lowest = places.iter().map(|(_, y)| *y + HEIGHT).max().unwrap_or(0);
        Self {
            places,
            width: scaled(last, COLUMN) + WIDTH + 2 * MARGIN,
            height: lowest,
            columns,
        }
    }

    fn place(&self, node: usize) -> (i32, i32) {
        self.places.get(node).copied().unwrap_or_default()
    }

    fn nodes(&self, out: &mut String, graph: &Graph) {
        for (place, node) in graph.nodes.iter().enumerate() {
            let (x, y) = self.place(place);
            let class = if node.is_final {
                "state final"
            } else {
                "state"
            };
            let name = escaped(&node.name);
            let id = name.replace(' ', "-");
            let _ = writeln!(
                out,
                "<g class=\"node\" id=\"{id}\"><rect class=\"{class}\" x=\"{x}\" y=\"{y}\" \
                 width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\"/>"
            );
            let (middle, up) = (x + WIDTH / 2, if node.detail.is_empty() { 29 } else { 21 });
            text(out, "title", (middle, y + up), &node.name);
            if !node.detail.is_empty() {
                text(out, "title detail", (middle, y + 37), &node.detail);
            }
            out.push_str("</g>\n");
        }
    }

    fn edge(&self, out: &mut String, graph: &Graph, number: usize, edge: &Edge) {
        let name = |node: usize| graph.nodes.get(node).map_or("", |node| &node.name);
        let class = if edge.is_timeout {
            "edge timeout"
        } else {
            "edge"
        };
        let guard = match edge.guard.is_empty() {
            true => String::new(),
            false => format!(", if {}", edge.guard),
        };
        let (from, to) = (name(edge.from), name(edge.to));
        let title = format!("{from} to {to}: {}{}{guard}", edge.label, edge.note);
        let _ = writeln!(
            out,
            "<g class=\"{class}\" id=\"edge-{number}\"><title>{}</title>",
            escaped(&title)
        );
        let ((_, y1), (_, y2)) = (self.place(edge.from), self.place(edge.to));
        match edge.is_timeout && y2 > y1 {
            true => self.fall(out, graph, edge),
            false => self.curve(out, graph, number, edge),
        }
        out.push_str("</g>\n");
    }

    /// A time-out: down from the state, and right to a final one, or into the line of another one
    /// that goes there.
    fn fall(&self, out: &mut String, graph: &Graph, edge: &Edge) {
        let (x, bottom) = self.fall_from(edge);
        let (x2, y2) = self.place(edge.to);
        let y2 = y2 + HEIGHT / 2;
        let others = graph.edges.iter();
        let same = others.filter(|other| other.is_timeout && other.to == edge.to);
        let first = same.map(|other| self.fall_from(other).0).min();
        let _ = match first == Some(x) {
            true => writeln!(
                out,
                "<path d=\"M{x} {bottom}V{y2}H{x2}\" marker-end=\"url(#arrow)\"/>"
            ),
            false => writeln!(
                out,
                "<path d=\"M{x} {bottom}V{y2}\"/><circle cx=\"{x}\" cy=\"{y2}\" r=\"3\"/>"
            ),
        };
        text(out, "small start", (x + 6, bottom + 18), &edge.label);
    }

    /// Where it starts: those of states above each other go down side by side.
    fn fall_from(&self, edge: &Edge) -> (i32, i32) {
        let (x, y) = self.place(edge.from);
        (x + 20 + (y / ROW) * 12, y + HEIGHT)
    }

    /// From the right of one state to the left of another; over what stands between them, and
    /// beside others between the same two.
    fn curve(&self, out: &mut String, graph: &Graph, number: usize, edge: &Edge) {
        let ((x1, y1), (x2, y2)) = (self.place(edge.from), self.place(edge.to));
        let (x1, y1, y2) = (x1 + WIDTH, y1 + HEIGHT / 2, y2 + HEIGHT / 2);
        let same = |other: &Edge| (other.from, other.to) == (edge.from, edge.to);
        let before = graph.edges.iter().take(number).filter(|e| same(e)).count();
        let all = graph.edges.iter().filter(|other| same(other)).count();
        let column = |node: usize| self.columns.get(node).copied().unwrap_or(0);
        let skips = column(edge.to) > column(edge.from) + 1 && y1 == y2;
        let bend = scaled(2 * before + 1, 36) - scaled(all, 36) - if skips { 110 } else { 0 };
        let reach = ((x2 - x1) / 2).max(60);
        let _ = writeln!(
            out,
            "<path d=\"M{x1} {y1}C{} {} {} {} {x2} {y2}\" marker-end=\"url(#arrow)\"/>",
            x1 + reach,
            y1 + bend,
            x2 - reach,
            y2 + bend
        );
        let middle = (x1.midpoint(x2), y1.midpoint(y2) + bend * 3 / 4);
        let up = |by: i32| (middle.0, middle.1 - by);
        match edge.guard.is_empty() {
            true => text(out, "small", up(6), &edge.label),
            false => {
                text(out, "", up(20), &edge.label);
                text(out, "small", up(6), &shortened(&edge.guard, GUARD_MAX));
            }
        }
    }
}

/// Columns of the nodes: the longest way to each, and the final ones behind all others.
fn columns(graph: &Graph) -> Vec<usize> {
    let mut columns = vec![0_usize; graph.nodes.len()];
    // No way is longer than there are nodes, whatever the edges.
    for _ in 0..graph.nodes.len() {
        for edge in &graph.edges {
            let next = columns.get(edge.from).map_or(0, |column| column + 1);
            let next = next.min(graph.nodes.len());
            if let Some(column) = columns.get_mut(edge.to) {
                *column = next.max(*column);
            }
        }
    }
    let last = columns.iter().copied().max().unwrap_or(0);
    let nodes = columns.iter_mut().zip(&graph.nodes);
    nodes.for_each(|(column, node)| {
        if node.is_final {
            *column = last;
        }
    });
    columns
}

/// Text around a point, or from it on for the class `start`, on a ground of its own.
fn text(out: &mut String, class: &str, (x, y): (i32, i32), text: &str) {
    let width = scaled(text.chars().count(), 6) + 8;
    let left = match class.ends_with("start") {
        true => x - 4,
        false => x - width / 2,
    };
    let text = escaped(text);
    if !class.starts_with("title") {
        let _ = writeln!(
            out,
            "<rect class=\"under\" x=\"{left}\" y=\"{}\" width=\"{width}\" height=\"15\"/>",
            y - 11
        );
    }
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>"
    );
}

fn scaled(count: usize, by: i32) -> i32 {
    i32::try_from(count).unwrap_or(0).saturating_mul(by)
}

/// The first characters, with points where some are missing.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default().trim_end()),
        None => text.to_owned(),
    }
}

/// Text that means itself in XML. What XML cannot hold at all is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
