//! placeholder
pub(crate) fn write(_: &mut String, _: &crate::flow::FlowRecord) {}
