//! The broker over NATS JetStream.

pub mod api;
pub mod streams;
