//! What the tests of the store share.

use syncline::model::{ConnectorId, CsId};

pub(crate) use crate::disk::{Disk, OPTIONS};
pub(crate) use crate::shape::{octets, person, user};

pub(crate) fn cs(connector: u16, sequence: u64) -> CsId {
    CsId::new(ConnectorId(connector), sequence)
}
