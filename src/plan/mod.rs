//! Syntax tree to instruction graph. Pure: no network, no clock, no file system.
