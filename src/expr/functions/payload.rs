//! Known bytes in a payload: the test file of antivirus programs.

use super::{Argument, Function, Parameter, argument, pure};
use crate::expr::Mode;
use memchr::memmem::Finder;
use std::sync::LazyLock;

pub(super) static EICAR: Function = pure(
    "em_check_eicar_virus",
    "1 when bytes contain the EICAR test file",
    &[Parameter::Bytes],
    eicar,
);

pub(super) static EICAR_HTTP: Function = pure(
    "em_check_eicar_virus_http",
    "1 when bytes contain the EICAR test file",
    &[Parameter::Bytes],
    eicar_whole,
);

pub(super) static EICAR_STREAM: Function = pure(
    "em_check_eicar_virus_tcpstream",
    "1 when bytes contain the EICAR test file",
    &[Parameter::Bytes],
    eicar_whole,
);

// The test file is kept in three parts: in one piece, it would make antivirus programs take this
// source and the program for what they look for.
const HEAD: &str = "X5O!P";
const MIDDLE: &str = r"%@AP[4\PZX54(P^)7CC)7}$";
const TAIL: &str = "EICAR-STANDARD-ANTIVIRUS-TEST-FILE";
const END: &str = "!$H+H*";

static FIND_HEAD: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(HEAD));
static FIND_TAIL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(TAIL));

/// Compat mode has the looser test of the published rule for TCP payloads.
fn eicar(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    let bytes = argument(arguments, 0).text(mode);
    match mode {
        Mode::Standard => i64::from(has_test_file(bytes)),
        Mode::Compat => {
            let head = FIND_HEAD.find(bytes);
            let behind = head.and_then(|at| bytes.get(at..)).unwrap_or_default();
            i64::from(FIND_TAIL.find(behind).is_some())
        }
    }
}

fn eicar_whole(arguments: &[Argument<'_>], mode: Mode) -> i64 {
    i64::from(has_test_file(argument(arguments, 0).text(mode)))
}

fn has_test_file(bytes: &[u8]) -> bool {
    FIND_TAIL.find_iter(bytes).any(|at| {
        let before = bytes.get(..at).unwrap_or_default();
        let behind = bytes.get(at.saturating_add(TAIL.len())..);
        let before = before.strip_suffix(MIDDLE.as_bytes());
        before.is_some_and(|bytes| bytes.ends_with(HEAD.as_bytes()))
            && behind.is_some_and(|bytes| bytes.starts_with(END.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::super::call;
    use super::*;

    #[test]
    fn the_test_file_is_found() {
        let whole = format!("GET /{HEAD}{MIDDLE}{TAIL}{END} x");
        let loose = format!("{HEAD} ... {TAIL}");
        let swapped = format!("{TAIL}{HEAD}");
        let late = format!("\0{whole}");
        for (text, standard, compat, whole_compat) in [
            (&whole, 1, 1, 1),
            (&loose, 0, 1, 0),
            (&swapped, 0, 0, 0),
            (&late, 1, 0, 0),
        ] {
            let arguments = [Argument::Bytes(text.as_bytes())];
            assert_eq!(call(&EICAR, &arguments, Mode::Standard), standard, "{text}");
            assert_eq!(call(&EICAR, &arguments, Mode::Compat), compat, "{text}");
            for function in [&EICAR_HTTP, &EICAR_STREAM] {
                assert_eq!(call(function, &arguments, Mode::Standard), standard);
                assert_eq!(call(function, &arguments, Mode::Compat), whole_compat);
            }
        }
    }
}
