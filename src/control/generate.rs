//! `wirelynx generate`: man pages and completions of the shells, for packages. Not shown in
//! `--help`, as nobody who runs the program needs it.

use super::Failure;
use clap::Command;
use clap_complete::Shell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The sample of the configuration, of which the page on it is made.
const SAMPLE: &str = include_str!("../../docs/wirelynx.toml");

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What to make
    what: What,
    /// Folder to write it to, which is made if it is not there
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// wirelynx(1), a page for each of its commands, and wirelynx.toml(5)
    Man,
    /// For bash, zsh and fish
    Completions,
}

/// Write the files for the program, whose whole command line is `command`.
///
/// # Errors
/// The folder cannot be written to.
pub fn execute(options: &Options, command: Command) -> Result<(), Failure> {
    let folder = &options.folder;
    // The DPDK that is installed here is not that of whoever reads the pages.
    let command = command.version(super::VERSION);
    let written = std::fs::create_dir_all(folder).and_then(|()| match options.what {
        What::Man => man(folder, command),
        What::Completions => completions(folder, command),
    });
    written.map_err(|error| Failure::Running(format!("{}: {error}", folder.display())))
}

fn man(folder: &Path, command: Command) -> std::io::Result<()> {
    clap_mangen::generate_to(command, folder)?;
    std::fs::write(folder.join("wirelynx.toml.5"), configuration_page(SAMPLE))
}

fn completions(folder: &Path, mut command: Command) -> std::io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "wirelynx", folder)?;
    }
    Ok(())
}

/// wirelynx.toml(5), in the language of man(7): a section for each table of the sample, and in it a
/// paragraph for each key, with the comment above it.
fn configuration_page(sample: &str) -> String {
    let mut page = String::from(
        ".TH wirelynx.toml 5 \"\" \"Wirelynx\" \"File Formats\"\n\
         .SH NAME\n\
         wirelynx.toml \\- configuration of wirelynx run\n\
         .SH DESCRIPTION\n\
         Keys are in tables; each is shown with its default. A key that does not exist is an error.\n",
    );
    let mut comment = String::new();
    for line in sample.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push_str(&escaped(text.trim_start()));
            comment.push('\n');
        } else if let Some(table) = line.strip_prefix('[') {
            page.push_str(&std::mem::take(&mut comment));
            let name = table.trim_end_matches(']').to_uppercase();
            let _ = writeln!(page, ".SH [{}]", escaped(&name));
        } else if line.contains('=') {
            let _ = writeln!(page, ".TP\n.B {}", escaped(line));
            match comment.is_empty() {
                true => page.push_str("As the key above.\n"),
                false => page.push_str(&std::mem::take(&mut comment)),
            }
        } else {
            page.push_str(&std::mem::take(&mut comment));
        }
    }
    page.push_str(
        ".SH FILES\n.TP\n.I /etc/wirelynx/wirelynx.toml\n\
         The configuration of the service.\n\
         .SH SEE ALSO\n.BR wirelynx (1),\n.BR wirelynx\\-rules (5)\n",
    );
    page
}

/// A line of text that man(7) shows as it is.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_every_table_and_key_of_the_sample_with_its_comment() {
        let sample =
            "# About all.\n\n[one]\n# First\n# .second\na = \"-x\"\nb = 1\n\n[two]\nc = []\n";
        let page = configuration_page(sample);
        let expected = "About all.\n.SH [ONE]\n.TP\n.B a = \"\\-x\"\nFirst\n\\&.second\n\
                        .TP\n.B b = 1\nAs the key above.\n.SH [TWO]\n.TP\n.B c = []\n";
        assert!(page.contains(expected), "{page}");
        let page = configuration_page(SAMPLE);
        let keys = SAMPLE
            .lines()
            .filter(|line| line.contains(" = ") && !line.starts_with('#'));
        for key in keys {
            assert!(page.contains(&format!(".B {}\n", escaped(key))), "{key}");
        }
    }
}
