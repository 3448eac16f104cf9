//! Text that grows, and foreign text made harmless.

use std::fmt::{self, Write};

/// A document being written.
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Appends what `format_args!` makes.
    pub(super) fn put(&mut self, part: fmt::Arguments<'_>) {
        // Writing to memory cannot fail.
        let _ = self.0.write_fmt(part);
    }

    /// The document.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Appends to a [`Markup`] as `format!` makes a string.
macro_rules! put {
    ($to:expr, $($part:tt)*) => { $to.put(format_args!($($part)*)) };
}
pub(super) use put;

/// `text` as content or attribute of HTML: markup is escaped, control characters are dropped.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(' '),
            c if c.is_control() => {}
            c => safe.push(c),
        }
    }
    safe
}

/// The first `most` characters of `text`, with an ellipsis if there are more.
pub(super) fn shorten(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if short.len() < text.len() {
        short.pop();
        short.push('…');
    }
    short
}
