//! Whom we practise on: honest reference drivers, and the defects they can be told to have.
