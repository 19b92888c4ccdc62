//! MMT's rules mask: which thread verifies which rules. Here it is a hint of placement only: rules
//! that it does not name run all the same.

use std::ops::RangeInclusive;

/// Ranges in one mask: far more than anybody writes by hand.
const RANGES_MAX: usize = 100_000;

/// Threads that a mask may name.
const THREADS_MAX: usize = 1_024;

/// A mask such as `(1:1-4,6)(2:5,7-10)`: threads from 1, each with ids and ranges of ids.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Mask {
    ranges: Vec<(usize, RangeInclusive<u32>)>,
}

impl Mask {
    /// The thread, from 0, that is to verify a rule: the first that names it.
    pub fn thread_of(&self, id: u32) -> Option<usize> {
        let mut ranges = self.ranges.iter();
        let (thread, _) = ranges.find(|(_, range)| range.contains(&id))?;
        Some(*thread)
    }
}

impl std::str::FromStr for Mask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |what: &str| {
            format!(
                "'{text}' is no rules mask: {what}; expected groups such as (1:1-4,6)(2:5,7-10): a \
                 thread from 1, and ids or ranges of ids"
            )
        };
        let mut ranges = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let group = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            let Some((group, after)) = group else {
                return Err(refused("a group in parentheses is missing"));
            };
            rest = after.trim_start();
            let Some((thread, ids)) = group.split_once(':') else {
                return Err(refused("a group without a colon"));
            };
            let thread: Option<usize> = thread.trim().parse().ok();
            let thread = thread.filter(|thread| (1..=THREADS_MAX).contains(thread));
            let Some(thread) = thread else {
                return Err(refused("a thread that is no number from 1 to 1,024"));
            };
            for part in ids.split(',') {
                let Some(range) = range_of(part) else {
                    return Err(refused(&format!("'{part}' is no id and no range")));
                };
                ranges.push((thread - 1, range));
                if ranges.len() > RANGES_MAX {
                    return Err(refused("too many ranges"));
                }
            }
        }
        match ranges.is_empty() {
            true => Err(refused("it is empty")),
            false => Ok(Self { ranges }),
        }
    }
}

fn range_of(text: &str) -> Option<RangeInclusive<u32>> {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(first..=last)
        }
        None => number(text).map(|id| id..=id),
    }
}

#[cfg(test)]
mod tests {
    use super::Mask;

    #[test]
    fn threads_have_ids_and_ranges() {
        let mask: Mask = "(1:1-4,6)(2:5,7-10)".parse().unwrap();
        let of = [1, 4, 5, 6, 7, 10, 11].map(|id| mask.thread_of(id));
        let expected = [Some(0), Some(0), Some(1), Some(0), Some(1), Some(1), None];
        assert_eq!(of, expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("", "empty"),
            ("1:2", "parentheses"),
            ("(1,2)", "colon"),
            ("(0:2)", "from 1 to"),
            ("(1:4-2)", "'4-2'"),
            ("(1:2)(2:x)", "'x'"),
            ("(1:2", "parentheses"),
        ] {
            let error = text.parse::<Mask>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
