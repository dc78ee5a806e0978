//! One ChatService: validate -> build. See the files for what flows in and out.

pub mod build;
pub mod validate;
