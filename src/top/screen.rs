//! The screen: one frame of it, and the loop that answers keys.

use super::client::Client;
use super::grid::{Line, Tone, clipped};
use super::pages::{self, AlertRates, Page};
use super::text::Scrape;
use super::window::{Timed, Window};
use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::Widget;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// How often the loop looks for keys, signals and answers.
const LOOK: Duration = Duration::from_millis(100);

/// Lines above and below a page.
const FRAME: u16 = 3;

/// Columns of a frame without a terminal.
const WIDTH: u16 = 100;

const KEYS: &str = " q quit  p pause  tab, 1-5 page  s sort  up, down scroll  ? help";

const HELP: [&str; 16] = [
    "Keys",
    "  q, Ctrl-C         quit",
    "  p                 pause: keep what is shown; once more: go on",
    "  tab, 1 to 5       page",
    "  s                 sort tables by the next column, then by name again",
    "  up, down          scroll; page up and page down by a screen",
    "  ?                 this page",
    "",
    "Numbers",
    "  .../s             change per second, between the latest two answers",
    "  busy              share of its time that a worker has spent on packets",
    "  no room/s         packets for which the port had no free buffer",
    "  attempts          open attempts to match a rule",
    "  evicted/s         attempts given up because a bound was reached",
    "  limited           alerts counted in a summary instead of being written",
    "All metrics: docs/metrics.md",
];

/// What came back when the appliance was asked, and when.
type Answer = (Duration, Result<Scrape, String>);

/// What is shown, and how.
#[derive(Debug)]
pub struct View {
    page: Page,
    sort: usize,
    scroll: usize,
    is_paused: bool,
    is_help: bool,
    has_colour: bool,
    address: String,
    interval: Duration,
    window: Option<Window>,
    alerts: AlertRates,
    /// When the last good answer came; before the first, the start.
    answered: Duration,
    /// Why there is none now.
    trouble: Option<String>,
}

impl View {
    /// Of the appliance at `address`, asked once in an interval.
    pub fn new(client: &Client, interval: Duration, page: Page) -> Self {
        Self {
            page,
            sort: 0,
            scroll: 0,
            is_paused: false,
            is_help: false,
            // https://no-color.org
            has_colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            address: client.address().to_string(),
            interval,
            window: None,
            alerts: AlertRates::default(),
            answered: Duration::ZERO,
            trouble: None,
        }
    }

    /// Take an answer.
    fn take(&mut self, (at, answer): Answer) {
        match answer {
            Ok(scrape) => {
                self.answered = at;
                self.trouble = None;
                if !self.is_paused {
                    self.show((at, scrape));
                }
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    fn show(&mut self, next: Timed) {
        let window = match self.window.take() {
            Some(window) => window.moved(next),
            None => Window::new(None, next),
        };
        self.alerts.note(&window);
        self.window = Some(window);
    }

    /// Do what a key asks for; `false` to quit.
    fn press(&mut self, key: KeyEvent, height: u16) -> bool {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        let screen = usize::from(height.saturating_sub(FRAME)).max(1);
        match key.code {
            KeyCode::Char('q') => return false,
            KeyCode::Char('c') if is_control => return false,
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Char('s') => self.sort = self.sort.wrapping_add(1),
            KeyCode::Char('?') => self.is_help = !self.is_help,
            KeyCode::Esc => self.is_help = false,
            KeyCode::Tab => self.turn(self.page.next()),
            KeyCode::Char(digit @ '1'..='9') => {
                let number = digit.to_digit(10).and_then(|n| usize::try_from(n).ok());
                let page = number.and_then(|n| Page::ALL.get(n.checked_sub(1)?));
                if let Some(page) = page {
                    self.turn(*page);
                }
            }
            KeyCode::Up => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Down => self.scroll += 1,
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(screen),
            KeyCode::PageDown => self.scroll += screen,
            KeyCode::Home => self.scroll = 0,
            _ => {}
        }
        true
    }

    fn turn(&mut self, page: Page) {
        self.page = page;
        self.scroll = 0;
        self.sort = 0;
        self.is_help = false;
    }

    /// The page as lines.
    fn body(&self, width: u16) -> Vec<Line> {
        if self.is_help {
            return HELP
                .iter()
                .map(|text| Line::new(Tone::Plain, *text))
                .collect();
        }
        match &self.window {
            Some(window) => {
                let shape = (self.sort, usize::from(width));
                pages::lines(self.page, window, &self.alerts, shape)
            }
            None => {
                let text = format!("Waiting for http://{}/metrics", self.address);
                vec![Line::new(Tone::Plain, text)]
            }
        }
    }

    /// The top line.
    fn status(&self, now: Duration) -> String {
        let build = match &self.window {
            Some(window) => pages::build(window.latest()),
            None => "wirelynx".to_owned(),
        };
        let paused = if self.is_paused { "  PAUSED" } else { "" };
        let state = match &self.trouble {
            Some(trouble) => {
                let seconds = now.saturating_sub(self.answered).as_secs();
                format!("no answer since {seconds} s: {trouble}")
            }
            None => format!("every {} s", self.interval.as_secs_f64()),
        };
        format!(" {build}  {}{paused}  {state}", self.address)
    }

    /// The line with the pages; the one shown is in brackets.
    fn tabs(&self) -> String {
        let names = (1..).zip(Page::ALL).map(|(number, page)| {
            let name = format!("{number} {}", page.name());
            match page == self.page && !self.is_help {
                true => format!("[{name}]"),
                false => format!(" {name} "),
            }
        });
        names.collect()
    }

    /// Scroll no further than to the last line.
    fn bound(&mut self, area: Rect) {
        let lines = self.body(area.width).len();
        let screen = usize::from(area.height.saturating_sub(FRAME));
        self.scroll = self.scroll.min(lines.saturating_sub(screen));
    }

    fn style(&self, tone: Tone) -> Style {
        match tone {
            Tone::Title => Style::new().add_modifier(Modifier::BOLD),
            Tone::Head => Style::new().add_modifier(Modifier::UNDERLINED),
            Tone::Plain => Style::new(),
            Tone::Bad if self.has_colour => Style::new().fg(Color::Red),
            Tone::Bad => Style::new().add_modifier(Modifier::BOLD),
        }
    }
}

/// One frame: the view at a moment.
struct Shot<'a>(&'a View, Duration);

impl Widget for Shot<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self(view, now) = self;
        let width = usize::from(area.width);
        let mut put = |row: u16, text: &str, style: Style| {
            if row < area.height {
                let text = format!("{:<width$}", clipped(text, width));
                buffer.set_stringn(area.x, area.y + row, text, width, style);
            }
        };
        let bar = Style::new().add_modifier(Modifier::REVERSED);
        let alarm = match view.trouble.is_some() && view.has_colour {
            true => bar.fg(Color::Red),
            false => bar,
        };
        put(0, &view.status(now), alarm);
        put(1, &view.tabs(), Style::new().add_modifier(Modifier::BOLD));
        let body = view.body(area.width);
        let rows = 2..area.height.saturating_sub(1);
        for (row, line) in rows.zip(body.iter().skip(view.scroll)) {
            put(row, &line.text, view.style(line.tone));
        }
        put(area.height.saturating_sub(1), KEYS, bar);
    }
}

/// One frame as text, from two answers an interval apart.
///
/// # Errors
/// There is no answer.
pub fn once(client: &Client, mut view: View) -> Result<String, String> {
    let start = Instant::now();
    view.take((start.elapsed(), Ok(client.ask()?)));
    std::thread::sleep(view.interval);
    view.take((start.elapsed(), Ok(client.ask()?)));
    let lines = u16::try_from(view.body(WIDTH).len()).unwrap_or(u16::MAX);
    let area = Rect::new(0, 0, WIDTH, lines.saturating_add(FRAME));
    let mut buffer = Buffer::empty(area);
    Shot(&view, start.elapsed()).render(area, &mut buffer);
    // Without the keys: there are none.
    let rows = (0..area.height.saturating_sub(1)).map(|row| {
        let cells = (0..area.width).filter_map(|column| buffer.cell((column, row)));
        let text: String = cells.map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", text.trim_end())
    });
    Ok(rows.collect())
}

/// Show the view on the terminal until a key or `stop` ends it.
///
/// # Errors
/// The terminal fails.
pub fn run(client: Client, view: View, stop: &Arc<AtomicBool>) -> io::Result<()> {
    let start = Instant::now();
    let answers = ask(client, view.interval, start)?;
    on_terminal(|terminal| watch(terminal, view, &answers, (start, stop)))
}

/// Take the terminal for what is to be done there. It is put back as it was, by a panic too.
///
/// # Errors
/// The terminal fails, or what is done there.
pub fn on_terminal(work: impl FnOnce(&mut DefaultTerminal) -> io::Result<()>) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let result = work(&mut terminal);
    ratatui::try_restore()?;
    result
}

/// A thread that asks once in an interval. It ends with its receiver.
fn ask(client: Client, interval: Duration, start: Instant) -> io::Result<Receiver<Answer>> {
    let (sender, answers) = mpsc::channel();
    std::thread::Builder::new()
        .name("client".to_owned())
        .spawn(move || {
            loop {
                let begin = Instant::now();
                let answer = client.ask();
                if sender.send((start.elapsed(), answer)).is_err() {
                    return;
                }
                std::thread::sleep(interval.saturating_sub(begin.elapsed()));
            }
        })?;
    Ok(answers)
}

fn watch(
    terminal: &mut DefaultTerminal,
    mut view: View,
    answers: &Receiver<Answer>,
    (start, stop): (Instant, &AtomicBool),
) -> io::Result<()> {
    let mut drawn = None;
    while !stop.load(Ordering::Relaxed) {
        let mut is_new = false;
        for answer in answers.try_iter() {
            view.take(answer);
            is_new = true;
        }
        let second = start.elapsed().as_secs();
        if is_new || drawn != Some(second) {
            terminal.draw(|frame| {
                let area = frame.area();
                view.bound(area);
                frame.render_widget(Shot(&view, start.elapsed()), area);
            })?;
            drawn = Some(second);
        }
        if event::poll(LOOK)? {
            let event = event::read()?;
            if let Event::Key(key) = event
                && key.kind != KeyEventKind::Release
                && !view.press(key, terminal.size()?.height)
            {
                return Ok(());
            }
            // A key or a new size: draw at once.
            drawn = None;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let client = Client::new("127.0.0.1:9477".parse().unwrap(), None);
        View::new(&client, Duration::from_secs(1), Page::Overview)
    }

    fn scrape(flows: u32) -> Result<Scrape, String> {
        Scrape::parse(&format!("wirelynx_flows {flows}\n"))
    }

    fn shot(view: &View, now: u64, (width, height): (u16, u16)) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        Shot(view, Duration::from_secs(now)).render(area, &mut buffer);
        let row = |row| -> String {
            let cells = (0..width).filter_map(|column| buffer.cell((column, row)));
            cells.map(ratatui::buffer::Cell::symbol).collect()
        };
        (0..height)
            .map(|at| row(at).trim_end().to_owned())
            .collect()
    }

    fn press(view: &mut View, code: KeyCode) -> bool {
        view.press(KeyEvent::new(code, KeyModifiers::NONE), 24)
    }

    #[test]
    fn an_appliance_that_goes_away_and_comes_back_is_seen() {
        let mut view = view();
        let at = Duration::from_secs;
        assert_eq!(
            shot(&view, 0, (80, 24))[2],
            "Waiting for http://127.0.0.1:9477/metrics"
        );
        view.take((at(1), scrape(5)));
        assert!(shot(&view, 1, (80, 24))[0].ends_with("every 1 s"));
        view.take((at(2), Err("refused".to_owned())));
        let gone = shot(&view, 8, (80, 24));
        assert!(
            gone[0].ends_with("no answer since 7 s: refused"),
            "{}",
            gone[0]
        );
        assert_eq!(gone[3], "  flows 5", "the last numbers stay");
        view.take((at(9), scrape(6)));
        let back = shot(&view, 9, (80, 24));
        assert!(!back[0].contains("no answer") && back[3] == "  flows 6");
    }

    #[test]
    fn keys_turn_pages_pause_and_quit() {
        let mut view = view();
        view.take((Duration::from_secs(1), scrape(5)));
        assert!(press(&mut view, KeyCode::Char('4')));
        assert!(shot(&view, 1, (80, 24))[1].contains("[4 losses]"));
        press(&mut view, KeyCode::Tab);
        assert_eq!(view.page, Page::Rules);
        press(&mut view, KeyCode::Tab);
        press(&mut view, KeyCode::Char('9'));
        assert_eq!(view.page, Page::Overview);
        press(&mut view, KeyCode::Char('p'));
        view.take((Duration::from_secs(2), scrape(6)));
        let paused = shot(&view, 2, (80, 24));
        assert!(paused[0].contains("PAUSED") && paused[3] == "  flows 5");
        press(&mut view, KeyCode::Char('?'));
        assert_eq!(shot(&view, 2, (80, 24))[2], "Keys");
        assert!(!press(&mut view, KeyCode::Char('q')));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(!view.press(interrupt, 24));
    }

    #[test]
    fn scrolling_ends_at_the_last_line() {
        let mut view = view();
        press(&mut view, KeyCode::Char('?'));
        for _ in 0..99 {
            press(&mut view, KeyCode::Down);
        }
        let area = Rect::new(0, 0, 80, 10);
        view.bound(area);
        assert_eq!(shot(&view, 0, (80, 10))[8], HELP[HELP.len() - 1]);
        press(&mut view, KeyCode::PageUp);
        press(&mut view, KeyCode::Up);
        assert!(view.scroll < HELP.len() - 7);
    }

    #[test]
    fn a_screen_of_any_size_is_drawn() {
        let mut view = view();
        view.take((Duration::from_secs(1), scrape(5)));
        for size in [(80, 24), (20, 5), (1, 1), (3, 2), (200, 60)] {
            let rows = shot(&view, 1, size);
            assert_eq!(rows.len(), usize::from(size.1));
        }
    }
}
