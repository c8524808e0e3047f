//! A driver that is killed, stopped and started again; calls that are cut short.
