//! Lines of a mapped file: `.txt`, and what `.jsonl` is made of.

use std::ops::Range;

use kvant_storage::Bytes;

use super::{RecordProblem, limits};

/// Walks the lines that are not blank; `\n` and `\r\n` end one, a byte-order mark at the start is
/// no part of it.
#[derive(Debug)]
pub(super) struct Reader {
    bytes: Bytes,
    at: usize,
    line: u64,
}

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        let at = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        Self { bytes, at, line: 0 }
    }

    /// Number of the line read last, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Lines not read yet, blank ones too.
    pub(super) fn lines_left(&self) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let ends = rest.split(|&byte| byte == b'\n').count();
        if rest.is_empty() || rest.ends_with(b"\n") { ends - 1 } else { ends }
    }

    /// The next line that is not blank, without its end.
    pub(super) fn read(&mut self) -> Option<Result<&str, RecordProblem>> {
        let found = loop {
            match self.next()? {
                Ok(span) if self.is_blank(&span) => {}
                found => break found,
            }
        };
        Some(found.and_then(|span| {
            let line = self.bytes.get(span).unwrap_or_default();
            std::str::from_utf8(line).map_err(|_| RecordProblem::NotUtf8)
        }))
    }

    fn is_blank(&self, span: &Range<usize>) -> bool {
        let line = self.bytes.get(span.clone()).unwrap_or_default();
        std::str::from_utf8(line).is_ok_and(|line| line.trim().is_empty())
    }

    /// Where the next line is, blank or not, without its end.
    fn next(&mut self) -> Option<Result<Range<usize>, RecordProblem>> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let window = rest.get(..=limits::LINE_BYTES_MAX).unwrap_or(rest);
        let (length, step) = match window.iter().position(|&byte| byte == b'\n') {
            Some(end) => (end, end + 1),
            None => (window.len(), window.len()),
        };
        let from = self.at;
        self.at += step;
        self.line += 1;
        if length > limits::LINE_BYTES_MAX {
            return Some(Err(RecordProblem::TooLong));
        }
        let line = window.get(..length).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Some(Ok(from..from + line.len()))
    }

    /// Passes over up to `count` lines.
    pub(super) fn skip(&mut self, count: usize) -> usize {
        (0..count).take_while(|_| self.read().is_some()).count()
    }
}
