//! From byte offsets to lines and columns.

use std::path::Path;
use std::sync::Arc;

use crate::problem::{Location, Problem};

/// A text that knows where its lines begin.
pub(super) struct Lines<'a> {
    file: &'a Arc<Path>,
    /// The text.
    pub(super) text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(file: &'a Arc<Path>, text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, text, starts }
    }

    /// Where a byte stands. An offset past the end counts as the end.
    pub(super) fn location(&self, offset: usize) -> Location {
        let (line, start) = self.line(offset);
        let before = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        Location { file: Arc::clone(self.file), line: number(line), column: number(before) }
    }

    /// An error of syntax, with its line.
    pub(super) fn error(&self, offset: usize, message: impl Into<String>) -> Problem {
        let mut problem = Problem::error(self.location(offset), message);
        let (_, start) = self.line(offset);
        let line = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        problem.line_text = Some(line.trim_end().to_owned());
        problem
    }

    fn line(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        (line, self.starts.get(line).copied().unwrap_or(0))
    }
}
