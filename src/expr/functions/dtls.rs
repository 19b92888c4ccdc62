//! How strong is what a DTLS hello offers?

use super::{Argument, Function, Parameter, argument, pure};
use crate::expr::Mode;
use std::sync::LazyLock;

pub(super) static VERSION: Function = pure(
    "em_is_strong_version",
    "1 when the number is DTLS 1.2 or 1.3",
    &[Parameter::Number],
    version,
);

pub(super) static CIPHERS: Function = pure(
    "em_is_strong_ciphers",
    "1 when every offered cipher suite is on the allow-list of the environment",
    &[Parameter::Bytes],
    ciphers,
);

const ALLOW_VARIABLE: &str = "MMT_SEC_DTLS_CIPHER_ALLOWLIST";

/// DTLS counts versions downwards: 1.3 and 1.2 (RFC 9147, 5.3).
const STRONG_VERSIONS: [i128; 2] = [0xfefc, 0xfefd];

/// Used when the environment names none: ephemeral keys and authenticated encryption (RFC 9325,
/// 4.2).
const RECOMMENDED: [u16; 9] = [
    0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0x1301, 0x1302, 0x1303,
];

static ALLOWED: LazyLock<Vec<u16>> = LazyLock::new(|| {
    std::env::var(ALLOW_VARIABLE).map_or_else(|_| RECOMMENDED.to_vec(), |text| allow_list(&text))
});

/// Numbers in decimal or with `0x`, between commas, semicolons or blanks. Others are left out, so
/// that a mistake reports too much rather than too little.
fn allow_list(text: &str) -> Vec<u16> {
    let words = text.split(|c: char| c == ',' || c == ';' || c.is_whitespace());
    let number = |word: &str| match word.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    };
    words.filter_map(number).collect()
}

fn version(arguments: &[Argument<'_>], _: Mode) -> i64 {
    let number = argument(arguments, 0).number();
    i64::from(number.is_some_and(|number| STRONG_VERSIONS.contains(&number)))
}

fn ciphers(arguments: &[Argument<'_>], _: Mode) -> i64 {
    let offered = argument(arguments, 0).bytes();
    i64::from(are_allowed(offered, &ALLOWED))
}

fn are_allowed(offered: &[u8], allowed: &[u16]) -> bool {
    let (suites, rest) = offered.as_chunks::<2>();
    let mut numbers = suites.iter().map(|bytes| u16::from_be_bytes(*bytes));
    rest.is_empty() && numbers.all(|number| allowed.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;

    #[test]
    fn old_versions_are_weak() {
        for mode in [Mode::Standard, Mode::Compat] {
            let strong = |n| call(&VERSION, &[Argument::Number(n)], mode);
            assert_eq!([strong(0xfeff), strong(0xfefd), strong(0xfefc)], [0, 1, 1]);
        }
    }

    #[test]
    fn one_weak_suite_is_enough() {
        let allowed = allow_list("0xc02b, 49199;4865 nonsense");
        assert_eq!(allowed, [0xc02b, 0xc02f, 0x1301]);
        assert!(are_allowed(&[0xc0, 0x2b, 0x13, 0x01], &allowed));
        assert!(!are_allowed(&[0xc0, 0x2b, 0x00, 0x2f], &allowed));
        assert!(!are_allowed(&[0xc0, 0x2b, 0x13], &allowed));
        for mode in [Mode::Standard, Mode::Compat] {
            assert_eq!(call(&CIPHERS, &[Argument::Bytes(&[0, 1])], mode), 0);
        }
    }
}
