//! Texts with holes: `csi-conf-${run}-${n}`.

use super::ParseError;
use super::nearest::unknown;

/// What the command and the environment of a driver that we start can name.
pub const DRIVER_VARIABLES: &[&str] = &["endpoint", "socket", "state_dir"];
/// What the names and ids of volumes and nodes can name: the run, and a number
/// that no other name of the run has.
pub const NAME_VARIABLES: &[&str] = &["n", "run"];
/// What the parameters, ids and contexts of volumes can name: what names can, and
/// the servers of the lab ([`crate::lab::NfsServer`]).
pub const VOLUME_VARIABLES: &[&str] = &[NFS_SERVER, NFS_SHARE, "n", "run"];
/// The address of an NFS server that we make.
pub const NFS_SERVER: &str = "lab.nfs.server";
/// What that server exports for the volume: in the parameters of CreateVolume a
/// folder for all volumes, in the context of a volume of the user's one for it alone.
pub const NFS_SHARE: &str = "lab.nfs.share";
/// What the command of a hook can name.
pub const HOOK_VARIABLES: &[&str] = &["node_id", "run", "volume_id", "volume_name"];

/// Whether `template` names this variable.
pub(super) fn names(template: &str, variable: &str) -> bool {
    pieces(template).is_ok_and(|pieces| {
        pieces
            .iter()
            .any(|p| matches!(p, Piece::Variable(v) if *v == variable))
    })
}

/// Puts values in place of `${name}`; `$${` stands for `${` itself, and a `$`
/// before anything else for itself.
///
/// ```
/// use csi_harness::config::expand;
/// assert_eq!(expand("vol-${n}", &[("n", "7")]).unwrap(), "vol-7");
/// ```
///
/// # Errors
/// When a name is not among `values`, or a `${` is not closed.
pub fn expand(template: &str, values: &[(&str, &str)]) -> Result<String, ParseError> {
    let mut text = String::with_capacity(template.len());
    for piece in pieces(template)? {
        match piece {
            Piece::Text(piece) => text += piece,
            Piece::Variable(name) => match values.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => text += value,
                None => {
                    let known: Vec<&str> = values.iter().map(|(known, _)| *known).collect();
                    return Err(unknown_variable(name, &known));
                }
            },
        }
    }
    Ok(text)
}

/// Whether [`expand`] will do with values for `known`.
///
/// # Errors
/// As [`expand`].
pub fn check_template(template: &str, known: &[&str]) -> Result<(), ParseError> {
    let blanks: Vec<(&str, &str)> = known.iter().map(|name| (*name, "")).collect();
    expand(template, &blanks).map(drop)
}

enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

fn pieces(template: &str) -> Result<Vec<Piece<'_>>, ParseError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            pieces.push(Piece::Text(before));
            pieces.push(Piece::Text("${"));
            rest = after;
            continue;
        }
        let end = after.find('}').ok_or_else(|| {
            // The rest of the text is not repeated: it may be a secret.
            ParseError::new(
                "a `${` is not closed by `}`; for the characters `${` themselves write `$${`",
            )
        })?;
        pieces.push(Piece::Text(before));
        pieces.push(Piece::Variable(&after[..end]));
        rest = &after[end + 1..];
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn unknown_variable(name: &str, known: &[&str]) -> ParseError {
    let told = unknown("variable", name, "known here", known);
    // Drivers have variables of their own: `${pvc.metadata.name}`.
    ParseError::new(format!(
        "{told}; for the driver to get it as it stands, write `$${{{name}}}`"
    ))
}
