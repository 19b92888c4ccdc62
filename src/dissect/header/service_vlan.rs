//! Service VLAN tag (IEEE 802.1Q-2022, 9.6; formerly 802.1ad, "QinQ") and its forerunners.
//!
//! Laid out like the customer tag. Before 802.1ad, switches used the EtherTypes 0x9100 to 0x9300
//! for the outer tag; as they are outer tags too, `8021q` is the customer's tag under all of them.

use super::vlan;
use crate::dissect::{Binding, Definition};

/// Protocol `8021ad` (id 1000).
pub(in crate::dissect) const DEFINITION: Definition = Definition {
    id: 1000,
    name: "8021ad",
    title: "Service VLAN tag (IEEE 802.1ad)",
    dissect: Some(vlan::dissect),
    bindings: &[
        Binding::EtherType(0x88a8),
        Binding::EtherType(0x9100),
        Binding::EtherType(0x9200),
        Binding::EtherType(0x9300),
    ],
    attributes: vlan::ATTRIBUTES,
};
