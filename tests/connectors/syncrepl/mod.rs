//! Delta imports by content synchronization: whatever happens to a real slapd, the space after a delta import is that of a
//! fresh store after a full one. What a real one does not do on demand, a scripted one does.

mod changes;
mod hidden;
mod limits;
mod proxy;
mod random;
mod scripted;
mod watch;
pub(crate) mod world;
