//! What did the user say?
