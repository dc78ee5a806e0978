//! The broker over NATS JetStream.

pub mod account;
pub mod api;
pub mod credentials;
pub mod init;
pub mod streams;
pub mod users;
