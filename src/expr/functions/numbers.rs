//! Numbers that a header should not hold.

use super::{Argument, Function, Parameter, argument, pure};
use crate::expr::Mode;

pub(super) static IP_OPTION: Function = pure(
    "em_check_ip_opt",
    "1 when the number is no assigned IPv4 option",
    &[Parameter::Number],
    ip_option,
);

pub(super) static IP_PROTOCOL: Function = pure(
    "em_check_ip_proto_id",
    "1 when the number is no assigned IP protocol: 144 to 251, 255",
    &[Parameter::Number],
    ip_protocol,
);

pub(super) static PATH_LENGTH: Function = pure(
    "em_check_max_proto_len",
    "1 when a packet has more than 14 protocols, `meta` counted",
    &[Parameter::Path],
    path_length,
);

/// Option types (copied flag, class and number together) that the published rule accepts.
const IP_OPTIONS: [i128; 30] = [
    0, 1, 7, 10, 11, 12, 15, 25, 30, 68, 82, 94, 130, 131, 133, 134, 136, 137, 142, 144, 145, 147,
    148, 149, 150, 151, 152, 158, 205, 222,
];

/// Protocols of a path above which a packet is suspicious.
const PATH_LENGTH_MAX: usize = 14;

fn ip_option(arguments: &[Argument<'_>], _: Mode) -> i64 {
    let number = argument(arguments, 0).number();
    i64::from(number.is_some_and(|number| !IP_OPTIONS.contains(&number)))
}

fn ip_protocol(arguments: &[Argument<'_>], _: Mode) -> i64 {
    let number = argument(arguments, 0).number();
    i64::from(matches!(number, Some(144..=251 | 255)))
}

/// MMT's paths start with `meta`, which layers do not list.
fn path_length(arguments: &[Argument<'_>], _: Mode) -> i64 {
    i64::from(match argument(arguments, 0) {
        Argument::Path(layers) => layers.len() + 1 > PATH_LENGTH_MAX,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;
    use crate::dissect::Protocol;
    use crate::packet::Layer;

    #[test]
    fn unassigned_numbers_are_told() {
        for mode in [Mode::Standard, Mode::Compat] {
            let option = |n| call(&IP_OPTION, &[Argument::Number(n)], mode);
            assert_eq!(
                [option(7), option(2), option(222), option(255)],
                [0, 1, 0, 1]
            );
            let protocol = |n| call(&IP_PROTOCOL, &[Argument::Number(n)], mode);
            let found = [143, 144, 251, 252, 254, 255, 6].map(protocol);
            assert_eq!(found, [0, 1, 1, 0, 0, 1, 0]);
            assert_eq!(call(&IP_OPTION, &[Argument::Absent], mode), 0);
        }
    }

    #[test]
    fn paths_of_fifteen_are_too_long() {
        let layer = Layer {
            protocol: Protocol::Ethernet,
            offset: 0,
        };
        for mode in [Mode::Standard, Mode::Compat] {
            assert_eq!(call(&PATH_LENGTH, &[Argument::Path(&[layer; 13])], mode), 0);
            assert_eq!(call(&PATH_LENGTH, &[Argument::Path(&[layer; 14])], mode), 1);
        }
    }
}
