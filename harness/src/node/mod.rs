//! What is true on the node? This room looks, and never changes anything.
