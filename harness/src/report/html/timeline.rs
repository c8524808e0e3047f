//! Calls, mounts and whatever else was seen, on one axis of time.
//!
//! Calls have their times. What was seen between them has its place in the order of
//! the evidence, and so stands at the end of the call before it; where it says `+3.10
//! s` or `3.10 s after NodePublishVolume`, it stands there.

use super::shown;
use crate::check::Evidence;

/// The room for names, and for the axis, in the units of the drawing.
const NAMES: f64 = 270.0;
const AXIS: f64 = 620.0;
const ROW: f64 = 22.0;
const TOP: f64 = 26.0;

/// No more rows of calls than that: the last are the ones that tell.
const MOST_CALLS: usize = 24;

/// No more rows of paths, and of facts.
const MOST_ROWS: usize = 10;

/// A drawing; all numbers are in its own units.
pub(super) struct Timeline {
    pub(super) width: f64,
    pub(super) height: f64,
    /// The axis, left and right.
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
    pub(super) ticks: Vec<Tick>,
    pub(super) rows: Vec<TimeRow>,
    /// Where the body ended and everything was taken back.
    pub(super) taken_back: Option<f64>,
    /// In one sentence, for those who do not see it.
    pub(super) says: String,
}

pub(super) struct Tick {
    pub(super) x: f64,
    pub(super) label: String,
}

/// A row: a call, a path, or facts of one label.
pub(super) struct TimeRow {
    pub(super) class: &'static str,
    pub(super) y: f64,
    /// The middle, for points and words.
    pub(super) middle: f64,
    pub(super) name: String,
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
    pub(super) points: Vec<Point>,
}

pub(super) struct Bar {
    pub(super) class: &'static str,
    pub(super) x: f64,
    pub(super) width: f64,
    pub(super) title: String,
}

pub(super) struct Point {
    pub(super) class: &'static str,
    pub(super) x: f64,
    /// Beside the point; to its left where there is no room to the right.
    pub(super) label: String,
    pub(super) label_x: f64,
    pub(super) anchor: &'static str,
    pub(super) title: String,
}

/// Something seen, with its time in milliseconds.
struct Moment<'a> {
    at: f64,
    seen: &'a Evidence,
}

impl Timeline {
    /// None where there is no call to begin from.
    pub(super) fn of(evidence: &[Evidence]) -> Option<Self> {
        let moments = moments(evidence)?;
        let scale = Scale::of(&moments);
        let mut rows = call_rows(&moments, &scale);
        rows.extend(path_rows(&moments, &scale));
        rows.extend(fact_rows(&moments, &scale));
        for (number, row) in rows.iter_mut().enumerate() {
            row.y = TOP + ROW * number as f64;
            row.middle = row.y + ROW / 2.0;
        }
        let bottom = TOP + ROW * rows.len() as f64;
        let taken_back = moments
            .iter()
            .find(|moment| *moment.seen == Evidence::TakenBack);
        Some(Self {
            width: NAMES + AXIS + 10.0,
            height: bottom + 24.0,
            left: NAMES,
            right: NAMES + AXIS,
            bottom,
            ticks: scale.ticks(),
            taken_back: taken_back.map(|moment| scale.x(moment.at)),
            says: says(&moments),
            rows,
        })
    }
}

/// When everything was seen, as far as one can know.
fn moments(evidence: &[Evidence]) -> Option<Vec<Moment<'_>>> {
    let first = calls(evidence).next()?;
    let mut clock = first.at_ms as f64;
    let mut all = Vec::new();
    for (number, seen) in evidence.iter().enumerate() {
        let at = match seen {
            Evidence::Call(call) => {
                clock = clock.max((call.at_ms + call.duration_ms) as f64);
                call.at_ms as f64
            }
            Evidence::Mounts { when, .. } => match seconds_after(when) {
                Some(seconds) => base(&evidence[..number], when).unwrap_or(clock) + seconds * 1e3,
                // Before a call, and after all that was before.
                None if when.starts_with("before") => calls(&evidence[number..])
                    .next()
                    .map_or(clock, |call| clock.max(call.at_ms as f64)),
                None => clock,
            },
            Evidence::Fact { text, .. } => match seconds_after(text) {
                Some(seconds) if text.contains(&format!("+{seconds:.2} s")) => {
                    base(&evidence[..number], text).unwrap_or(clock) + seconds * 1e3
                }
                _ => call_named(evidence, text).unwrap_or(clock),
            },
            Evidence::TakenBack => clock,
        };
        all.push(Moment { at, seen });
    }
    Some(all)
}

fn calls(evidence: &[Evidence]) -> impl DoubleEndedIterator<Item = &crate::check::CallRecord> {
    evidence.iter().filter_map(|seen| match seen {
        Evidence::Call(call) => Some(call),
        _ => None,
    })
}

/// The answer that a time counts from: of the call that is named with it, else of the
/// last one that mounts or unmounts, else of the last.
fn base(before: &[Evidence], text: &str) -> Option<f64> {
    let end = |call: &crate::check::CallRecord| (call.at_ms + call.duration_ms) as f64;
    let named = calls(before).rfind(|call| text.contains(call.rpc.as_str()));
    let mounts = |rpc: &str| {
        rpc.ends_with("publishVolume")
            || rpc.ends_with("StageVolume")
            || rpc.ends_with("PublishVolume")
            || rpc.ends_with("stageVolume")
    };
    named
        .or_else(|| calls(before).rfind(|call| mounts(&call.rpc)))
        .or_else(|| calls(before).next_back())
        .map(end)
}

/// `+3.10 s`, or `3.10 s after …`: in seconds.
fn seconds_after(text: &str) -> Option<f64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).enumerate().find_map(|(at, pair)| {
        let counts = pair[0].starts_with('+') || words.get(at + 2) == Some(&"after");
        let is_seconds = pair[1].trim_end_matches([',', '.', ';', ':']) == "s";
        let number = pair[0].trim_start_matches('+').parse::<f64>().ok()?;
        (counts && is_seconds && number.is_finite() && number >= 0.0).then_some(number)
    })
}

/// The middle of the call that a text names: `during NodeStageVolume, call 12: …`.
fn call_named(evidence: &[Evidence], text: &str) -> Option<f64> {
    let (_, rest) = text.split_once(", call ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let n: u64 = digits.parse().ok()?;
    let call = calls(evidence).find(|call| call.n == n)?;
    Some(call.at_ms as f64 + call.duration_ms as f64 / 2.0)
}

/// From milliseconds to places.
struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    fn of(moments: &[Moment<'_>]) -> Self {
        let mut scale = Self {
            from: f64::INFINITY,
            to: f64::NEG_INFINITY,
        };
        for moment in moments {
            let end = match moment.seen {
                Evidence::Call(call) => moment.at + call.duration_ms as f64,
                _ => moment.at,
            };
            scale.from = scale.from.min(moment.at);
            scale.to = scale.to.max(end);
        }
        // Room for a point at the end.
        scale.to += ((scale.to - scale.from) * 0.04).max(1.0);
        scale
    }

    fn x(&self, at: f64) -> f64 {
        let part = (at - self.from) / (self.to - self.from);
        rounded(NAMES + part.clamp(0.0, 1.0) * AXIS)
    }

    /// At most six, at round numbers, counted from the first call.
    fn ticks(&self) -> Vec<Tick> {
        let span = self.to - self.from;
        let steps = (0..10).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)));
        let step = steps
            .into_iter()
            .find(|step| span / step <= 6.0)
            .unwrap_or(span);
        (0..=6)
            .map(|number| f64::from(number) * step)
            .filter(|ms| *ms <= span)
            .map(|ms| Tick {
                x: self.x(self.from + ms),
                label: match step < 1000.0 && span < 1000.0 {
                    true => format!("{ms:.0} ms"),
                    false => format!("{:.1} s", ms / 1e3),
                },
            })
            .collect()
    }
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn blank(class: &'static str, name: String, title: String) -> TimeRow {
    TimeRow {
        class,
        y: 0.0,
        middle: 0.0,
        name,
        title,
        bars: Vec::new(),
        points: Vec::new(),
    }
}

fn call_rows(moments: &[Moment<'_>], scale: &Scale) -> Vec<TimeRow> {
    let mut rows = Vec::new();
    for moment in moments {
        let Evidence::Call(call) = moment.seen else {
            continue;
        };
        let code = shown(&call.code);
        let title = format!(
            "{}, call {}: {code} after {} ms",
            shown(&call.rpc),
            call.n,
            call.duration_ms
        );
        let mut row = blank(
            "call",
            format!("{} {code}", shown(&call.rpc)),
            title.clone(),
        );
        let (from, to) = (
            scale.x(moment.at),
            scale.x(moment.at + call.duration_ms as f64),
        );
        row.bars.push(Bar {
            class: if call.code == "OK" { "ok" } else { "refused" },
            x: from,
            width: rounded((to - from).max(3.0)),
            title,
        });
        rows.push(row);
    }
    rows.drain(..rows.len().saturating_sub(MOST_CALLS));
    rows
}

/// The row of a path while it is made.
struct PathRow {
    path: String,
    row: TimeRow,
    /// Where what is there began to be mounted.
    mounted: Option<f64>,
    /// Where it was due, and was not there.
    missing: Option<f64>,
}

/// Where something is mounted at a path, and what each look saw.
fn path_rows(moments: &[Moment<'_>], scale: &Scale) -> Vec<TimeRow> {
    let mut rows: Vec<PathRow> = Vec::new();
    for moment in moments {
        let Evidence::Mounts {
            path,
            when,
            lines,
            expected,
        } = moment.seen
        else {
            continue;
        };
        let path = shown(path);
        let at = rows.iter().position(|known| known.path == path);
        let at = at.unwrap_or_else(|| {
            let row = blank(
                "mounts",
                format!("mounts at {}", tail(&path, 28)),
                path.clone(),
            );
            rows.push(PathRow {
                path: path.clone(),
                row,
                mounted: None,
                missing: None,
            });
            rows.len() - 1
        });
        let PathRow {
            row,
            mounted: since,
            missing,
            ..
        } = &mut rows[at];
        let x = scale.x(moment.at);
        let is_late = seconds_after(when).is_some();
        let class = match (lines.is_empty(), expected, is_late) {
            (_, Some(_), _) => "missing",
            (false, _, true) => "late",
            (false, ..) => "there",
            (true, ..) => "none",
        };
        match (since.is_some(), lines.is_empty()) {
            (false, false) => {
                *since = Some(x);
                row.bars.extend(missing.take().map(|from| absent(from, x)));
            }
            (true, true) => row.bars.extend(since.take().map(|from| mounted(from, x))),
            _ => {}
        }
        let title = match (lines.as_slice(), expected) {
            (lines, Some(expected)) => {
                format!("{}: {}; {}", shown(when), mounts(lines), shown(expected))
            }
            (lines, None) => format!("{}: {}", shown(when), mounts(lines)),
        };
        if class == "missing" && lines.is_empty() {
            missing.get_or_insert(x);
        }
        // Words only where they tell something that the place does not.
        let label = match class {
            "late" => format!("a mount, {}", shown(when)),
            "missing" => shown(expected.as_deref().unwrap_or(when)),
            _ => String::new(),
        };
        row.points.push(point(class, x, label, title));
    }
    rows.truncate(MOST_ROWS);
    let done = rows.into_iter().map(|path| {
        let mut row = path.row;
        row.bars
            .extend(path.mounted.map(|from| mounted(from, NAMES + AXIS)));
        row
    });
    done.collect()
}

fn mounts(lines: &[String]) -> String {
    match lines {
        [] => "nothing is mounted".to_owned(),
        lines => lines
            .iter()
            .map(|line| shown(line))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

fn mounted(from: f64, to: f64) -> Bar {
    Bar {
        class: "mounted",
        x: from,
        width: rounded((to - from).max(2.0)),
        title: "mounted".to_owned(),
    }
}

/// From when it was due until it came.
fn absent(from: f64, to: f64) -> Bar {
    Bar {
        class: "absent",
        x: from,
        width: rounded((to - from).max(2.0)),
        title: "due, and not there".to_owned(),
    }
}

fn point(class: &'static str, x: f64, label: String, title: String) -> Point {
    let is_right = x > NAMES + AXIS * 0.6;
    Point {
        class,
        x,
        label_x: if is_right { x - 9.0 } else { x + 9.0 },
        anchor: if is_right { "end" } else { "start" },
        label,
        title,
    }
}

/// Facts by their label: the kernel's log, processes, and all else that has a place
/// in time.
fn fact_rows(moments: &[Moment<'_>], scale: &Scale) -> Vec<TimeRow> {
    let mut rows: Vec<TimeRow> = Vec::new();
    for moment in moments {
        let Evidence::Fact { label, text } = moment.seen else {
            continue;
        };
        let label = shown(label);
        let at = rows.iter().position(|row| row.name == label);
        let at = at.unwrap_or_else(|| {
            rows.push(blank("fact", label.clone(), label.clone()));
            rows.len() - 1
        });
        let text = shown(text);
        rows[at]
            .points
            .push(point("event", scale.x(moment.at), String::new(), text));
    }
    rows.truncate(MOST_ROWS);
    rows
}

/// The end of a path, where all of it has no room.
fn tail(path: &str, most: usize) -> String {
    let count = path.chars().count();
    match count > most {
        true => format!(
            "…{}",
            path.chars().skip(count - most + 1).collect::<String>()
        ),
        false => path.to_owned(),
    }
}

fn says(moments: &[Moment<'_>]) -> String {
    let count = |is: fn(&Evidence) -> bool| moments.iter().filter(|m| is(m.seen)).count();
    let late = moments.iter().find_map(|moment| match moment.seen {
        Evidence::Mounts {
            path, when, lines, ..
        } if !lines.is_empty() && seconds_after(when).is_some() => Some(format!(
            "; a mount came to {} at {}",
            shown(path),
            shown(when)
        )),
        _ => None,
    });
    format!(
        "{} calls and {} looks at mounts{}",
        count(|seen| matches!(seen, Evidence::Call(_))),
        count(|seen| matches!(seen, Evidence::Mounts { .. })),
        late.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_words() {
        assert_eq!(seconds_after("+3.10 s"), Some(3.1));
        let event = "attached 3.10 s after NodePublishVolume was answered";
        assert_eq!(seconds_after(event), Some(3.1));
        assert_eq!(seconds_after("at OK"), None);
        assert_eq!(seconds_after("it takes 3 s"), None);
        assert_eq!(seconds_after("+NaN s"), None);
        assert_eq!(seconds_after("+-1 s"), None);
        assert_eq!(seconds_after("+1e999 s"), None);
    }

    #[test]
    fn paths_keep_their_end() {
        assert_eq!(tail("/a/b", 28), "/a/b");
        assert_eq!(tail("/some/long/path", 6), "…/path");
    }
}
