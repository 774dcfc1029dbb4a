//! Whole builds in the sandbox, checked with other people's tools. Each test says what it needs of the machine.

#[path = "../support/mod.rs"]
mod support;

mod apps;
mod cache;
mod caches;
mod cases;
mod ceiling;
mod concurrency;
mod contexts;
mod crashes;
mod damage;
mod devices;
mod disk;
mod failures;
mod faults;
mod foreign;
mod git_ssh;
mod in_container;
mod interrupts;
mod limits;
mod networks;
mod offline;
mod outputs;
mod platforms;
mod rungs;
mod runtimes;
mod sandbox;
mod security;
mod snapshots;
mod ssh;
mod stages;
