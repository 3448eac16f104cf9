//! A small lexer that finds functions in Rust text: enough to measure them.

/// A function and the lines it spans, signature to closing brace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) first_line: usize,
    pub(crate) lines: usize,
}

/// The code of `text` with comments, strings and characters blanked, newlines kept.
pub(crate) fn code_only(text: &str) -> String {
    let source: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < source.len() {
        let end = skip(&source, at);
        if end == at {
            out.push(source[at]);
            at += 1;
        } else {
            out.extend(source[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// The end of the comment, string or character that starts at `at`, or `at` itself.
fn skip(source: &[char], at: usize) -> usize {
    let next = source.get(at + 1).copied();
    match source[at] {
        '/' if next == Some('/') => find(source, at, |i| source[i] == '\n'),
        '/' if next == Some('*') => {
            find(source, at + 2, |i| source[i] == '*' && source.get(i + 1) == Some(&'/')) + 2
        }
        'r' if matches!(next, Some('"' | '#')) && !follows_word(source, at) => raw(source, at),
        '"' => quoted(source, at, '"'),
        '\'' => character(source, at),
        _ => at,
    }
    .min(source.len())
}

fn follows_word(source: &[char], at: usize) -> bool {
    // `br"…"` is a raw byte string, `for"` cannot occur.
    at > 0 && (source[at - 1].is_alphanumeric() || source[at - 1] == '_') && source[at - 1] != 'b'
}

fn find(source: &[char], from: usize, is_end: impl Fn(usize) -> bool) -> usize {
    (from..source.len()).find(|&i| is_end(i)).unwrap_or(source.len())
}

fn quoted(source: &[char], at: usize, quote: char) -> usize {
    let mut i = at + 1;
    while i < source.len() && source[i] != quote {
        i += if source[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn raw(source: &[char], at: usize) -> usize {
    let hashes = source[at + 1..].iter().take_while(|&&c| c == '#').count();
    if source.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let body = at + 2 + hashes;
    let is_end = |i: usize| {
        source[i] == '"'
            && source.len() > i + hashes
            && source[i + 1..=i + hashes].iter().all(|&c| c == '#')
    };
    find(source, body, is_end) + 1 + hashes
}

/// A character literal ends within a few characters; a lifetime does not end at all.
fn character(source: &[char], at: usize) -> usize {
    if source.get(at + 1) == Some(&'\\') {
        return quoted(source, at, '\'');
    }
    if source.get(at + 2) == Some(&'\'') { at + 3 } else { at }
}

/// Every function with a body in `text`.
pub(crate) fn functions(text: &str) -> Vec<Function> {
    let code = code_only(text);
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = declared(line) else { continue };
        if let Some(last) = body_end(&lines[index..]) {
            found.push(Function { name, first_line: index + 1, lines: last + 1 });
        }
    }
    found
}

/// The name after `fn `, if the line declares a function.
fn declared(line: &str) -> Option<String> {
    let at = line.find("fn ")?;
    let before = line[..at].chars().last();
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let name: String = line[at + 3..]
        .trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

/// The index of the line where the body that starts in `lines` closes; `None` without a body.
fn body_end(lines: &[&str]) -> Option<usize> {
    let mut depth = 0usize;
    for (index, line) in lines.iter().enumerate() {
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return Some(index);
                    }
                }
                ';' if depth == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_hide_braces() {
        let text =
            "fn a() {\n  let s = \"}\"; // }\n  let c = '}'; let r = r#\"}\"#;\n}\nfn b<'a>() {}\n";
        let found = functions(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name.as_str(), found[0].lines), ("a", 4));
        assert_eq!((found[1].name.as_str(), found[1].lines), ("b", 1));
    }

    #[test]
    fn declarations_without_body_and_pointers_do_not_count() {
        assert!(functions("trait T { \nfn a();\n}\ntype F = fn(u8);\n").is_empty());
    }
}
