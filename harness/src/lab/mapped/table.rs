//! Tables of device-mapper devices, as dmsetup(8) reads and writes them: a line for
//! each run of sectors, `FIRST LENGTH TARGET ARGUMENT...`.

use std::fmt;

/// Of 512 bytes, whatever the device's own are.
pub(super) const SECTOR: u64 = 512;

/// What lies before the volume on our helper. A file system that was found there would
/// be taken for the volume's by who looks for its UUID.
const SHIFT: u64 = 8;

/// Targets whose tables can be told again as they stand, and map the same sectors to
/// the same place. Others have keys that are not told (`crypt`), or do something when
/// they are loaded (`raid`, `cache`).
const PLAIN: [&str; 2] = ["linear", "striped"];

/// A table: its lines follow one another from sector 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    first: u64,
    length: u64,
    target: String,
    arguments: String,
}

impl Table {
    /// As `dmsetup table` tells it; why it is none in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let lines: Option<Vec<Line>> = text.lines().map(Line::parse).collect();
        let table = Self(lines.ok_or_else(|| format!("{text:?} is no table"))?);
        let mut next = 0;
        for line in &table.0 {
            if line.first != next || line.length == 0 {
                return Err(format!("the table has a gap at sector {next}: {text:?}"));
            }
            next += line.length;
        }
        match next {
            0 => Err("the table is empty".to_owned()),
            _ => Ok(table),
        }
    }

    /// The target of it that must not be loaded a second time, if there is one.
    pub(super) fn delicate(&self) -> Option<&str> {
        let mut targets = self.0.iter().map(|line| line.target.as_str());
        targets.find(|target| !PLAIN.contains(target))
    }

    /// In sectors.
    pub(super) fn length(&self) -> u64 {
        self.0.iter().map(|line| line.length).sum()
    }

    /// That of the helper: this table, where nobody takes it for the volume.
    pub(super) fn behind_a_shift(&self) -> Self {
        let before = Line::of(0, SHIFT, "error", "");
        let moved = self.0.iter().map(|line| Line {
            first: line.first + SHIFT,
            ..line.clone()
        });
        Self(std::iter::once(before).chain(moved).collect())
    }

    /// That of a helper which answers every request with an error.
    pub(super) fn all_errors(&self) -> Self {
        Self(vec![Line::of(0, self.length() + SHIFT, "error", "")])
    }

    /// That of a volume, so many sectors of which lie on the helper of this number.
    pub(super) fn onto((major, minor): (u32, u32), length: u64) -> Self {
        let arguments = format!("{major}:{minor} {SHIFT}");
        Self(vec![Line::of(0, length, "linear", &arguments)])
    }

    /// Whether it is the one that [`Table::onto`] makes, of whatever length.
    pub(super) fn is_onto(&self, helper: (u32, u32)) -> bool {
        *self == Self::onto(helper, self.length())
    }
}

impl Line {
    fn of(first: u64, length: u64, target: &str, arguments: &str) -> Self {
        Self {
            first,
            length,
            target: target.to_owned(),
            arguments: arguments.to_owned(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim().splitn(4, ' ');
        Some(Self {
            first: words.next()?.parse().ok()?,
            length: words.next()?.parse().ok()?,
            target: words.next()?.to_owned(),
            arguments: words.next().unwrap_or_default().trim().to_owned(),
        })
    }
}

/// As dmsetup(8) reads it.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.0 {
            let Line {
                first,
                length,
                target,
                arguments,
            } = line;
            writeln!(
                f,
                "{}",
                format!("{first} {length} {target} {arguments}").trim_end()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A logical volume in two pieces.
    const PIECES: &str = "0 8192 linear 8:2 2048\n8192 4096 linear 8:18 384\n";

    fn table(text: &str) -> Table {
        Table::parse(text).expect("a table")
    }

    #[test]
    fn a_table_is_told_as_it_was_read() {
        let pieces = table(PIECES);
        assert_eq!(pieces.to_string(), PIECES);
        assert_eq!((pieces.length(), pieces.delicate()), (12_288, None));
        assert_eq!(table("0 16 error \n").to_string(), "0 16 error\n");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for text in [
            "",
            "none",
            "0 x linear 8:2 0",
            "0 8 linear 8:2 0\n9 8 error",
            "1 8 error",
        ] {
            assert!(Table::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_does_more_than_to_map_is_left_alone() {
        let crypt = table("0 64 linear 8:2 0\n64 64 crypt aes-xts-plain64 0000 0 8:2 4096\n");
        assert_eq!(crypt.delicate(), Some("crypt"));
        assert_eq!(table("0 64 thin 253:2 1").delicate(), Some("thin"));
    }

    #[test]
    fn the_helper_holds_the_volume_a_little_further_on() {
        let pieces = table(PIECES);
        let helper = "0 8 error\n8 8192 linear 8:2 2048\n8200 4096 linear 8:18 384\n";
        assert_eq!(pieces.behind_a_shift().to_string(), helper);
        assert_eq!(table(helper), pieces.behind_a_shift());
        assert_eq!(pieces.all_errors().to_string(), "0 12296 error\n");
    }

    #[test]
    fn a_volume_that_lies_on_our_helper_is_known_again() {
        let onto = Table::onto((253, 7), 6144);
        assert_eq!(onto.to_string(), "0 6144 linear 253:7 8\n");
        assert!(onto.is_onto((253, 7)) && !onto.is_onto((253, 8)));
        // Somebody made the volume longer meanwhile: it is his table.
        let theirs = table("0 8192 linear 8:2 2048\n8192 4096 linear 253:7 8\n");
        assert!(!theirs.is_onto((253, 7)));
    }
}
