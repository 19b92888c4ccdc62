//! `<embedded_functions>`: C code, which is not run. What it defines is told.

use crate::expr::Mode;
use crate::expr::functions::Function;

/// Definitions that are told; published files have at most ten.
const DEFINITIONS_MAX: usize = 100;

/// Names of the functions that C code defines, in order: those whose name stands outside of all
/// braces, before parentheses and a body. A light scan that is right for code as rule files have
/// it.
pub(super) fn definitions(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut scan = Scan {
        rest: code,
        depth: 0,
        parentheses: 0,
        candidate: None,
        last_word: "",
    };
    while let Some(name) = scan.next() {
        if found.len() >= DEFINITIONS_MAX {
            break;
        }
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// The same of several pieces.
pub(super) fn definitions_of<'c>(pieces: &[&'c str]) -> Vec<&'c str> {
    pieces.iter().flat_map(|code| definitions(code)).collect()
}

struct Scan<'c> {
    rest: &'c str,
    /// Open braces.
    depth: usize,
    parentheses: usize,
    /// The word before the parentheses just closed.
    candidate: Option<&'c str>,
    last_word: &'c str,
}

impl<'c> Scan<'c> {
    fn next(&mut self) -> Option<&'c str> {
        loop {
            self.rest = self.rest.trim_start();
            let c = self.rest.chars().next()?;
            match c {
                '"' | '\'' => self.skip_quoted(c),
                '/' if self.rest.starts_with("//") => self.skip_behind("\n"),
                '/' if self.rest.starts_with("/*") => self.skip_behind("*/"),
                '#' if self.depth == 0 => self.skip_behind("\n"),
                c if c.is_ascii_alphabetic() || c == '_' => {
                    let word = self.word();
                    if self.depth == 0 && self.parentheses == 0 {
                        self.last_word = word;
                        self.candidate = None;
                    }
                }
                c => {
                    self.skip(c.len_utf8());
                    if let Some(name) = self.sign(c) {
                        return Some(name);
                    }
                }
            }
        }
    }

    fn sign(&mut self, c: char) -> Option<&'c str> {
        match c {
            '(' => {
                if self.depth == 0 && self.parentheses == 0 {
                    let word = std::mem::take(&mut self.last_word);
                    self.candidate = (!word.is_empty()).then_some(word);
                }
                self.parentheses += 1;
            }
            ')' => self.parentheses = self.parentheses.saturating_sub(1),
            '{' => {
                self.depth += 1;
                if self.depth == 1 && self.parentheses == 0 {
                    return self.candidate.take();
                }
            }
            '}' => {
                self.depth = self.depth.saturating_sub(1);
                self.last_word = "";
            }
            ';' | '=' => self.candidate = None,
            _ => {}
        }
        None
    }

    fn word(&mut self) -> &'c str {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let word = self.rest.get(..length).unwrap_or_default();
        self.skip(length);
        word
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }

    fn skip_behind(&mut self, end: &str) {
        let length = self.rest.find(end).map(|at| at + end.len());
        self.skip(length.unwrap_or(self.rest.len()));
    }

    fn skip_quoted(&mut self, quote: char) {
        self.skip(1);
        let mut is_escaped = false;
        let end = self.rest.find(|c| {
            let is_end = c == quote && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            is_end
        });
        self.skip(end.map_or(self.rest.len(), |at| at + 1));
    }
}

/// What to say of the functions that a block defines: the finding, and more about it.
pub(super) fn notice(names: &[&str], mode: Mode) -> (String, String) {
    let quote = |names: Vec<&str>| -> String {
        let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        quoted.join(", ")
    };
    let is_built_in = |name: &&str| Function::find(name, mode).is_some();
    let (known, others): (Vec<&str>, Vec<&str>) = names.iter().copied().partition(is_built_in);
    let message = match known.is_empty() {
        true => "C code is not run".to_owned(),
        false => format!(
            "C code is not run; built-in functions replace {}",
            quote(known)
        ),
    };
    let help = match others.is_empty() {
        true => String::new(),
        false => format!("without replacement: {}", quote(others)),
    };
    (message, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_found_and_calls_are_not() {
        let code = r#"
            #include <stdio.h>
            #define X(a) { a }
            // static int no(int a) { }
            /* int no2() { } */
            static const char *list[] = { "a(", "b){" };
            int declared(int a);
            static inline bool em_check_botnetcc(const char *a, const char *b){
                if (strcmp(a, "}") == 0) { return helper(a); }
                while (*a != '}') a++;
                return false;
            }
            void on_load() { init(); }
            int (*pointer)(int) = 0;
            int em_own (int a)
            { return a; }
        "#;
        assert_eq!(
            definitions(code),
            ["em_check_botnetcc", "on_load", "em_own"]
        );
        let (message, help) = notice(&definitions(code), Mode::Compat);
        assert!(message.contains("`em_check_botnetcc`"), "{message}");
        assert_eq!(help, "without replacement: `on_load`, `em_own`");
        for odd in ["", "\"", "'\\", "/*", "//", "(((", "}}}", "f(){", "#"] {
            definitions(odd);
        }
    }
}
