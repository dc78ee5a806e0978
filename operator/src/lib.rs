//! Natter's operator.
//!
//! ```text
//! ChatService + what runs -> fetch -> validate -> build -> plan -> apply -> status
//! ```
//!
//! `validate`, `build`, `plan` and what conditions say are pure: they never see a cluster.

pub mod ask;
pub mod chat_service;
pub mod config;
pub mod http;
pub mod leader;
pub mod metrics;
pub mod quantity;
pub mod requests;
pub mod telemetry;

#[cfg(test)]
mod fake_api;
#[cfg(test)]
mod fixtures;
