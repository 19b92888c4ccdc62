//! Is it one of these? Addresses, names and numbers in lists.

use super::lists::List;
use super::{Argument, Body, Function, Parameter, Presence, argument, pure};
use crate::expr::Mode;

pub(super) static IN_LIST: Function = pure(
    "in_list",
    "1 when the list has the address (also as part of a network), the text or the number",
    &[Parameter::Listed, Parameter::ListName],
    in_list,
);

/// What [`IN_LIST`] becomes when the check has found the first argument to be an address.
pub(in crate::expr) static IN_LIST_ADDRESS: Function = pure(
    "in_list",
    "1 when the list has the address, also as part of a network",
    &[Parameter::Listed, Parameter::ListName],
    in_list_address,
);

pub(super) static IS_SAME_IPV4: Function = pure(
    "is_same_ipv4",
    "1 when both are the same IPv4 address",
    &[Parameter::Ipv4, Parameter::Ipv4],
    is_same_ipv4,
);

pub(super) static BOTNET: Function = either_address(
    "em_check_botnetcc",
    "1 when either address is in the list botnet-cc-ipv4",
    &["botnet-cc-ipv4"],
);

pub(super) static TOR: Function = either_address(
    "em_check_tor_ip",
    "1 when either address is in the list tor-ipv4",
    &["tor-ipv4"],
);

pub(super) static WANNACRY: Function = one_text(
    "em_check_WannaCry",
    "1 when the host is in the list wannacry-hosts",
    &["wannacry-hosts"],
);

pub(super) static TROJAN_URI: Function = one_text(
    "em_check_trojan_uri",
    "1 when the URI is in the list trojan-uris",
    &["trojan-uris"],
);

const fn either_address(
    name: &'static str,
    summary: &'static str,
    lists: &'static [&'static str],
) -> Function {
    Function {
        name,
        summary,
        parameters: &[Parameter::Ipv4, Parameter::Ipv4],
        lists,
        presence: Presence::Needs,
        body: Body::Pure(either_listed),
        standard_only: false,
    }
}

const fn one_text(
    name: &'static str,
    summary: &'static str,
    lists: &'static [&'static str],
) -> Function {
    Function {
        name,
        summary,
        parameters: &[Parameter::Text],
        lists,
        presence: Presence::Needs,
        body: Body::Pure(text_listed),
        standard_only: false,
    }
}

fn list<'a>(arguments: &[Argument<'a>], index: usize) -> Option<&'a List> {
    match argument(arguments, index) {
        Argument::List(list) => Some(list),
        _ => None,
    }
}

fn in_list(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    let Some(list) = list(arguments, 1) else {
        return 0;
    };
    i64::from(match argument(arguments, 0) {
        value @ Argument::Bytes(_) => list.has_text(value.text(mode)),
        Argument::Number(number) => list.has_number(number),
        _ => false,
    })
}

fn in_list_address(arguments: &[Argument<'_>], _: Mode) -> i64 {
    let address = argument(arguments, 0).bytes();
    i64::from(list(arguments, 1).is_some_and(|list| list.has_address(address)))
}

fn either_listed(arguments: &[Argument<'_>], _: Mode) -> i64 {
    let is_listed = |list: &List| {
        list.has_address(argument(arguments, 0).bytes())
            || list.has_address(argument(arguments, 1).bytes())
    };
    i64::from(list(arguments, 2).is_some_and(is_listed))
}

fn text_listed(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    let text = argument(arguments, 0).text(mode);
    i64::from(list(arguments, 1).is_some_and(|list| list.has_text(text)))
}

fn is_same_ipv4(arguments: &[Argument<'_>], _: Mode) -> i64 {
    let (one, other) = (argument(arguments, 0), argument(arguments, 1));
    i64::from(match (one, other) {
        (Argument::Bytes(one), Argument::Bytes(other)) => one.len() == 4 && one == other,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;

    const MODES: [Mode; 2] = [Mode::Standard, Mode::Compat];

    #[test]
    fn either_address_may_be_listed() {
        let list = List::parse("t", b"10.0.0.1\n192.168.0.0/16\n");
        for function in [&BOTNET, &TOR] {
            for mode in MODES {
                let check = |one: &[u8], other: &[u8]| {
                    let (one, other) = (Argument::Bytes(one), Argument::Bytes(other));
                    call(function, &[one, other, Argument::List(&list)], mode)
                };
                assert_eq!(check(&[10, 0, 0, 1], &[1, 1, 1, 1]), 1);
                assert_eq!(check(&[1, 1, 1, 1], &[192, 168, 9, 9]), 1);
                assert_eq!(check(&[1, 1, 1, 1], &[10, 0, 0, 2]), 0);
                assert_eq!(check(b"", &[10, 0, 0, 2]), 0);
            }
        }
    }

    #[test]
    fn texts_are_listed_whole() {
        let list = List::parse("t", b"/a.exe\nevil.example\n");
        for function in [&WANNACRY, &TROJAN_URI] {
            let check = |text: &[u8], mode| {
                call(
                    function,
                    &[Argument::Bytes(text), Argument::List(&list)],
                    mode,
                )
            };
            for mode in MODES {
                assert_eq!(check(b"/a.exe", mode), 1);
                assert_eq!(check(b"/a.exe?", mode), 0);
            }
            assert_eq!(check(b"/a.exe\0?", Mode::Compat), 1);
            assert_eq!(check(b"/a.exe\0?", Mode::Standard), 0);
        }
    }

    #[test]
    fn in_list_takes_texts_numbers_and_addresses() {
        let list = List::parse("t", b"# ports\n22\nabcd\n10.0.0.0/8\n");
        let list = Argument::List(&list);
        for mode in MODES {
            assert_eq!(call(&IN_LIST, &[Argument::Number(22), list], mode), 1);
            assert_eq!(call(&IN_LIST, &[Argument::Number(-22), list], mode), 0);
            assert_eq!(call(&IN_LIST, &[Argument::Bytes(b"abcd"), list], mode), 1);
            assert_eq!(
                call(&IN_LIST, &[Argument::Bytes(b"10.1.2.3"), list], mode),
                1
            );
            assert_eq!(call(&IN_LIST, &[Argument::Absent, list], mode), 0);
            let address = [Argument::Bytes(b"abcd"), list];
            assert_eq!(call(&IN_LIST_ADDRESS, &address, mode), 0);
            let address = [Argument::Bytes(&[10, 9, 9, 9]), list];
            assert_eq!(call(&IN_LIST_ADDRESS, &address, mode), 1);
        }
    }

    #[test]
    fn addresses_are_the_same_or_not() {
        let one = Argument::Bytes(&[1, 2, 3, 4]);
        for mode in MODES {
            assert_eq!(call(&IS_SAME_IPV4, &[one, one], mode), 1);
            assert_eq!(call(&IS_SAME_IPV4, &[one, Argument::Bytes(&[1])], mode), 0);
            assert_eq!(call(&IS_SAME_IPV4, &[one, Argument::Absent], mode), 0);
        }
    }
}
