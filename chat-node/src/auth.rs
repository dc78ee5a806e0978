//! Who a session is and what it may do, from outside: tokens and the backend's word, checked.
//!
//! token -> [`token::Unchecked`] -> keys -> claims -> [`Identity`] or [`RoomPass`]. Sessions ask, workers wait.

mod claims;
mod crypto;
mod keys;
mod token;
