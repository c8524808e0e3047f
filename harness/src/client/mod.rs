//! What did we send, what came back, how long did it take?
