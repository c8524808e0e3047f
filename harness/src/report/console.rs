//! The run as a person watches it.

use super::style::{self, Role, paint};
use super::summary::{Ways, summary};
use super::text::{columns, count, fit, safe, seconds};
use super::{Event, terminal};
use crate::check::{Outcome, Settled, without_round};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Without a terminal, so long a silence is ended by a line that says what is
/// still running.
const SILENCE: Duration = Duration::from_secs(15);

/// The most bytes of a message on a line of its own.
const MAX_MESSAGE: usize = 240;

/// How a run is shown.
#[derive(Debug, Clone)]
pub struct ConsoleOptions {
    /// Redraw one progress line in place, and leave out what passes; else one
    /// plain line for each settled check.
    pub live: bool,
    /// The columns to wrap at.
    pub width: usize,
    /// How to run a check again, and where things were written.
    pub ways: Ways,
}

/// Shows the events of a run to a person.
///
/// It writes ANSI colours; give it a writer that takes them out where they are
/// not wanted (`anstream::AutoStream`). The progress line uses nothing but
/// carriage returns and spaces, and works without colours too.
#[derive(Debug)]
pub struct Console<W> {
    out: W,
    options: ConsoleOptions,
    total: usize,
    settled: usize,
    running: BTreeMap<String, Instant>,
    /// The progress line that stands on the screen.
    drawn: String,
    /// When something was last written.
    spoke: Option<Instant>,
}

impl Console<anstream::AutoStream<io::Stdout>> {
    /// On the standard output: live and as wide as its terminal, where it is one;
    /// coloured as `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE` say.
    pub fn stdout(ways: Ways) -> Self {
        let stdout = io::stdout();
        let options = ConsoleOptions {
            live: terminal::is_live(&stdout),
            width: terminal::width(&stdout),
            ways,
        };
        Self::new(anstream::AutoStream::auto(stdout), options)
    }
}

impl<W: Write> Console<W> {
    /// On any writer.
    pub fn new(out: W, options: ConsoleOptions) -> Self {
        Self {
            out,
            options,
            total: 0,
            settled: 0,
            running: BTreeMap::new(),
            drawn: String::new(),
            spoke: None,
        }
    }

    /// Shows what happened.
    ///
    /// # Errors
    ///
    /// The writer's own, a closed pipe among them.
    pub fn handle(&mut self, event: &Event) -> io::Result<()> {
        self.handle_at(event, Instant::now())
    }

    /// To be called now and then (some times a second), so that the progress
    /// line shows the time pass.
    ///
    /// # Errors
    ///
    /// The writer's own.
    pub fn tick(&mut self) -> io::Result<()> {
        self.tick_at(Instant::now())
    }

    /// [`Console::handle`], told what time it is.
    ///
    /// # Errors
    ///
    /// The writer's own.
    pub fn handle_at(&mut self, event: &Event, now: Instant) -> io::Result<()> {
        let text = match event {
            Event::Started {
                total,
                driver,
                endpoint,
            } => {
                self.total = *total;
                self.settled = 0;
                let (driver, endpoint) = (safe(driver, MAX_MESSAGE), safe(endpoint, MAX_MESSAGE));
                let driver = paint(Role::Strong, &driver);
                format!("{driver} at {endpoint}: {}\n", count(*total, "check"))
            }
            Event::CheckStarted { id } => {
                self.running.insert(id.clone(), now);
                String::new()
            }
            Event::Called(_) => String::new(),
            Event::CheckSettled(check) => {
                self.running.retain(|id, _| without_round(id) != check.id);
                self.settled += 1;
                if self.shows(check) {
                    self.settled_line(check)
                } else {
                    String::new()
                }
            }
            Event::Note(note) => {
                format!(
                    "{}  {}\n",
                    paint(Role::Label, "note"),
                    safe(note, MAX_MESSAGE)
                )
            }
            Event::Ended(report) => {
                self.running.clear();
                let width = self.options.width;
                let text = summary(report, &self.options.ways, width);
                self.total = 0;
                format!("\n{text}")
            }
        };
        if !text.is_empty() {
            self.clear()?;
            self.out.write_all(text.as_bytes())?;
            self.spoke = Some(now);
        }
        if self.options.live {
            self.draw(now)?;
        }
        self.out.flush()
    }

    /// [`Console::tick`], told what time it is.
    ///
    /// # Errors
    ///
    /// The writer's own.
    pub fn tick_at(&mut self, now: Instant) -> io::Result<()> {
        if self.options.live {
            self.draw(now)?;
        } else if !self.running.is_empty()
            && now.duration_since(*self.spoke.get_or_insert(now)) >= SILENCE
        {
            let line = self.progress(now);
            self.out.write_all(format!("{line}\n").as_bytes())?;
            self.spoke = Some(now);
        }
        self.out.flush()
    }

    /// Whether a settled check has a line of its own. While somebody watches,
    /// only what they may want to act upon has; skipped and blocked checks,
    /// often many, are told in groups at the end.
    fn shows(&self, check: &Settled) -> bool {
        let quiet = matches!(
            check.outcome,
            Outcome::Pass | Outcome::Skip | Outcome::Blocked
        );
        !(self.options.live && quiet)
    }

    /// `warn  node-stats.total  0.3 s  the total is 0`
    fn settled_line(&self, check: &Settled) -> String {
        let (word, role) = style::outcome(check.outcome);
        let fill = " ".repeat(4_usize.saturating_sub(word.len()));
        let head = format!(
            "{word}{fill}  {}  {}",
            safe(&check.id, 200),
            seconds(check.duration_ms)
        );
        let message = match &check.skip {
            Some(skip) if check.message.is_empty() => &skip.need,
            _ => &check.message,
        };
        let mut tail = safe(message, MAX_MESSAGE);
        if self.options.live {
            // One line of the screen each: the whole stands at the end.
            tail = fit(&tail, self.options.width.saturating_sub(columns(&head) + 2));
        }
        let head = format!("{}{}", paint(role, word), &head[word.len()..]);
        format!("{}\n", format!("{head}  {tail}").trim_end())
    }

    /// `[ 37/62 ] 3 running, longest node-stage.data-kept 2.1 s`
    fn progress(&self, now: Instant) -> String {
        let total = self.total.to_string();
        let settled = format!("{:>1$}", self.settled, total.len());
        let mut line = format!("[ {settled}/{total} ]");
        if let Some((id, since)) = self.running.iter().min_by_key(|(_, since)| **since) {
            let time = now.saturating_duration_since(*since).as_millis();
            let time = seconds(u64::try_from(time).unwrap_or(u64::MAX));
            let running = self.running.len();
            line.push_str(&format!(
                " {running} running, longest {} {time}",
                safe(id, 200)
            ));
        }
        line
    }

    /// Puts the progress line in the place of the one before.
    fn draw(&mut self, now: Instant) -> io::Result<()> {
        // The last column stays free: some terminals wrap when it is filled.
        let line = fit(&self.progress(now), self.options.width.saturating_sub(1));
        if self.total == 0 || line == self.drawn {
            return Ok(());
        }
        let rest = " ".repeat(columns(&self.drawn).saturating_sub(columns(&line)));
        let back = "\u{8}".repeat(rest.len());
        self.out
            .write_all(format!("\r{line}{rest}{back}").as_bytes())?;
        self.drawn = line;
        Ok(())
    }

    /// Takes the progress line away, so that other text can stand there.
    fn clear(&mut self) -> io::Result<()> {
        if !self.drawn.is_empty() {
            let spaces = " ".repeat(columns(&self.drawn));
            self.out.write_all(format!("\r{spaces}\r").as_bytes())?;
            self.drawn.clear();
        }
        Ok(())
    }
}
