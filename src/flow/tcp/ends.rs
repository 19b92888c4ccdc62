//! States of the two ends of a TCP flow, and what the flow is called in the end.

/// State of one end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::flow) enum End {
    /// Sent nothing yet.
    #[default]
    Inactive,
    SynSent,
    SynAckSent,
    /// Sent something, but no SYN that was seen.
    Partial,
    Established,
    /// Sent a FIN.
    Closed,
    /// Sent a RST.
    Reset,
}

/// States of both ends in the lower six bits of a byte: three each, the originator's below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::flow) struct Ends(pub(in crate::flow) u8);

impl Ends {
    #[inline]
    pub(in crate::flow) const fn of(self, index: usize) -> End {
        match self.bits(index) {
            0 => End::Inactive,
            1 => End::SynSent,
            2 => End::SynAckSent,
            3 => End::Partial,
            4 => End::Established,
            5 => End::Closed,
            _ => End::Reset,
        }
    }

    /// Has this end sent nothing yet?
    #[inline]
    pub(in crate::flow) const fn is_inactive(self, index: usize) -> bool {
        self.bits(index) == 0
    }

    /// The three bits of an end. No branch: who sends next is hard to predict.
    #[inline]
    const fn bits(self, index: usize) -> u8 {
        self.0 >> (3 * (index & 1)) & 7
    }

    /// Have both ends sent a FIN?
    #[inline]
    pub(in crate::flow) const fn are_closed(self) -> bool {
        self.0 & 0x3f == (End::Closed as u8) << 3 | End::Closed as u8
    }

    pub(super) const fn with(self, index: usize, end: End) -> Self {
        if index == 0 {
            Self(self.0 & !0x07 | end as u8)
        } else {
            Self(self.0 & !0x38 | (end as u8) << 3)
        }
    }

    pub(in crate::flow) const fn either(self, wanted: End) -> bool {
        self.of(0) as u8 == wanted as u8 || self.of(1) as u8 == wanted as u8
    }
}

/// Final name of a TCP flow, as Zeek names it.
pub(in crate::flow) fn state_name(ends: Ends, history: &str, has_payload: bool) -> &'static str {
    let (originator, responder) = (ends.of(0), ends.of(1));
    let unheard = |end: End| matches!(end, End::Inactive | End::Partial);
    match (originator, responder) {
        (End::SynSent | End::SynAckSent, End::Reset) => "REJ",
        (End::Reset, End::Reset) if !has_payload => "REJ",
        (_, End::Reset) if unheard(originator) => "RSTRH",
        (_, End::Reset) => "RSTR",
        (End::Reset, _) if !unheard(responder) => "RSTO",
        (End::Reset, _) if syn_then_reset(history) => "RSTOS0",
        (End::Reset, _) => "OTH",
        (End::Closed, End::Closed) => "SF",
        (End::Closed, _) if unheard(responder) => "SH",
        (End::Closed, _) => "S2",
        (_, End::Closed) if unheard(originator) => "SHR",
        (_, End::Closed) => "S3",
        (End::SynSent, End::Inactive) => "S0",
        (End::Established, End::Established) => "S1",
        _ => "OTH",
    }
}

/// Did the originator send a SYN and then a RST, and nothing of weight between?
fn syn_then_reset(history: &str) -> bool {
    let history = history.trim_start_matches('^');
    history.strip_prefix('S').is_some_and(|rest| {
        rest.find(['H', 'A', 'F', 'G', 'I', 'R'])
            .and_then(|place| rest.get(place..))
            .is_some_and(|rest| rest.starts_with('R'))
    })
}
