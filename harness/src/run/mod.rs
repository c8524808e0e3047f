//! Which checks, in which order, how many at once, until when?
