//! How to ask a CSI driver, and how to see what is true on the node.
//!
//! One room for each question; data flows one way: config, plan, lab, client,
//! node, outcome, negation, ledger, report.

pub mod audit;
pub mod check;
pub mod client;
pub mod config;
pub mod lab;
pub mod node;
pub mod report;
pub mod run;
