//! What the guest's init and the host have in common: the orders that init is given, and the reports it gives.

pub mod frame;
pub mod message;
pub mod orders;
