//! Mutants that nobody can tell from the honest driver, and why.

/// Patterns of mutations, and the reason why nothing outside can tell them. Each part
/// of `RPC:CALL:N=HOW` is `*`, or words with `|` between them.
pub(crate) const EQUIVALENT: &[(&str, &str)] = &[(
    "*:fsync:*=skip|late|twice|wrong-target",
    "what was flushed and what was not is the same until the machine loses its power, \
         and no check can take that away",
)];

/// The reason that the list has for a mutant of this name.
pub(crate) fn reason(name: &str) -> Option<&'static str> {
    EQUIVALENT
        .iter()
        .find(|(pattern, _)| matches(pattern, name))
        .map(|(_, reason)| *reason)
}

fn matches(pattern: &str, name: &str) -> bool {
    let parts = |text: &str| {
        text.split([':', '='])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (pattern, name) = (parts(pattern), parts(name));
    pattern.len() == name.len()
        && pattern
            .iter()
            .zip(&name)
            .all(|(wanted, part)| wanted == "*" || wanted.split('|').any(|word| word == part))
}
