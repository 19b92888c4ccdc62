//! Is it there at all?

use super::{Argument, Body, Function, Parameter, Presence, argument};
use crate::expr::Mode;

pub(super) static IS_EXIST: Function = Function {
    name: "is_exist",
    summary: "1 when the packet has it (compat: and it is not 0)",
    parameters: &[Parameter::Subject],
    lists: &[],
    presence: Presence::Asks,
    body: Body::Pure(is_exist),
    standard_only: false,
};

pub(super) static IS_EMPTY: Function = Function {
    name: "is_empty",
    summary: "1 when the packet has no such text, or an empty one",
    parameters: &[Parameter::Subject],
    lists: &[],
    presence: Presence::AsksInStandard,
    body: Body::Pure(is_empty),
    standard_only: false,
};

pub(super) static IS_NULL: Function = Function {
    name: "is_null",
    summary: "1 when the packet does not have it",
    parameters: &[Parameter::Subject],
    lists: &[],
    presence: Presence::AsksInStandard,
    body: Body::Pure(is_null),
    standard_only: false,
};

fn is_exist(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    i64::from(match argument(arguments, 0) {
        Argument::Absent => false,
        Argument::Number(0) => mode == Mode::Standard,
        _ => true,
    })
}

fn is_empty(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    i64::from(match argument(arguments, 0) {
        Argument::Absent => true,
        value @ Argument::Bytes(_) => value.text(mode).is_empty(),
        Argument::Path(path) => path.is_empty(),
        _ => false,
    })
}

fn is_null(arguments: &[Argument<'_>], _: Mode) -> i64 {
    i64::from(matches!(argument(arguments, 0), Argument::Absent))
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;

    #[test]
    fn zero_exists_in_standard_mode_only() {
        for (argument, standard, compat) in [
            (Argument::Absent, 0, 0),
            (Argument::Number(0), 1, 0),
            (Argument::Number(7), 1, 1),
            (Argument::Bytes(b""), 1, 1),
        ] {
            assert_eq!(call(&IS_EXIST, &[argument], Mode::Standard), standard);
            assert_eq!(call(&IS_EXIST, &[argument], Mode::Compat), compat);
        }
        assert!(IS_EXIST.asks(Mode::Compat));
    }

    #[test]
    fn a_leading_nul_is_empty_in_compat_mode() {
        for (argument, standard, compat) in [
            (Argument::Absent, 1, 1),
            (Argument::Bytes(b""), 1, 1),
            (Argument::Bytes(b"\0x"), 0, 1),
            (Argument::Bytes(b"x"), 0, 0),
            (Argument::Number(0), 0, 0),
        ] {
            assert_eq!(call(&IS_EMPTY, &[argument], Mode::Standard), standard);
            assert_eq!(call(&IS_EMPTY, &[argument], Mode::Compat), compat);
        }
        assert!(IS_EMPTY.asks(Mode::Standard) && !IS_EMPTY.asks(Mode::Compat));
    }

    #[test]
    fn null_is_absent() {
        for mode in [Mode::Standard, Mode::Compat] {
            assert_eq!(call(&IS_NULL, &[Argument::Absent], mode), 1);
            assert_eq!(call(&IS_NULL, &[Argument::Number(0)], mode), 0);
        }
    }
}
