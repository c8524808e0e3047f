//! What do we make? Each thing made knows how to go away.
