//! Natter's operator.
//!
//! ```text
//! ChatService + what runs -> validate -> build -> objects
//! ```
//!
//! `validate` and `build` are pure: they never see a cluster.

pub mod chat_service;
pub mod quantity;

#[cfg(test)]
mod fixtures;
