//! What a person is told beside a command's results.

use std::fmt::Display;
use std::io::{self, Write};

use crate::options;

/// Writes a line to standard error, in the program's words. No command fails because nobody can read it: results are written elsewhere.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{}", options::in_options(&line.to_string()));
}
