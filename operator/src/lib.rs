//! Natter's operator.
//!
//! ```text
//! ChatService + what runs -> fetch -> validate -> build -> apply -> status
//! ```
//!
//! `validate`, `build` and what conditions say are pure: they never see a cluster.

pub mod chat_service;
pub mod config;
pub mod http;
pub mod leader;
pub mod metrics;
pub mod quantity;
pub mod telemetry;

#[cfg(test)]
mod fake_api;
#[cfg(test)]
mod fixtures;
