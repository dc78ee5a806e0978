//! What is wanted and what runs -> what may be done now. Pure: special cases are rows of a plan, not branches of the
//! reconcile.

pub mod nats;
pub mod pod;
pub mod rollout;

pub use pod::Pod;
