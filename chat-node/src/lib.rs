//! A chat node.

pub mod frame;
