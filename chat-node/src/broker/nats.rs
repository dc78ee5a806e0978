//! The broker over NATS JetStream.

pub mod account;
pub mod api;
pub mod credentials;
pub mod streams;
