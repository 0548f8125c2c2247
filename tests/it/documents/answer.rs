//! Compares the output of a command with its document, except for ids, keys, times, remaining limits and spacing.

use serde_json::Value;

/// Checks that `printed` is what a block of this kind shows.
pub fn compare(kind: &str, shown: &str, printed: &str) -> Result<(), String> {
    let is_right = match kind {
        "json" => json(shown)? == json(printed)?,
        "http" => http(shown, printed)?,
        "text" => matches(&lines(shown), &lines(printed)),
        _ => {
            return Err(format!(
                "a block marked {kind:?} is not output: mark it text, json or http"
            ));
        }
    };
    if is_right {
        Ok(())
    } else {
        Err(format!(
            "the document shows\n{shown}\nbut the program prints\n{printed}"
        ))
    }
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(&redacted(text)).map_err(|error| format!("invalid JSON ({error}): {text}"))
}

/// Compares the status lines and bodies. Every header in the document must be in the output.
fn http(shown: &str, printed: &str) -> Result<bool, String> {
    let printed = printed.replace('\r', "");
    let (head, body) = shown.split_once("\n\n").unwrap_or((shown, ""));
    let (printed_head, printed_body) = printed.split_once("\n\n").unwrap_or((&printed, ""));
    let (head, printed_head) = (lines(head), lines(printed_head));
    let is_head_right = head.first() == printed_head.first() && head.iter().all(|line| printed_head.contains(line));
    let is_body_right = body.is_empty() || json(body)? == json(printed_body)?;
    Ok(is_head_right && is_body_right)
}

/// Whether the lines are equal. `…` stands for any number of lines.
fn matches(shown: &[Line], printed: &[Line]) -> bool {
    match (shown, printed) {
        ([], []) => true,
        ([(text, None), shown @ ..], _) if text == "…" => {
            (0..=printed.len()).any(|skipped| matches(shown, &printed[skipped..]))
        }
        ([line, shown @ ..], [other, printed @ ..]) => line == other && matches(shown, printed),
        _ => false,
    }
}

/// The words of a line, and the JSON at its end.
type Line = (String, Option<Value>);

fn lines(text: &str) -> Vec<Line> {
    let text = redacted(text);
    let lines = text.lines().map(|line| {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let value = line.find('{').map(|at| line.split_at(at));
        let value = value.and_then(|(start, end)| Some((words(start), Some(serde_json::from_str(end).ok()?))));
        value.unwrap_or_else(|| (words(line), None))
    });
    lines.filter(|line| *line != (String::new(), None)).collect()
}

/// Replaces each id, key, time and remaining limit in `text` with a fixed word.
fn redacted(text: &str) -> String {
    let is_of_a_word = |char: char| char.is_ascii_alphanumeric() || "_-:".contains(char);
    let mut redacted = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_of_a_word) {
        let (before, from) = rest.split_at(start);
        redacted.push_str(before);
        let (word, after) = from.split_at(from.find(|char| !is_of_a_word(char)).unwrap_or(from.len()));
        redacted.push_str(&redacted_word(word, &redacted));
        rest = after;
    }
    redacted.push_str(rest);
    redacted
}

fn redacted_word(word: &str, before: &str) -> String {
    let is_id = |kind: &str, length| word.strip_prefix(kind).is_some_and(|id| id.len() == length);
    for kind in ["cust_", "dev_", "key_", "org_"] {
        if is_id(kind, 26) {
            return format!("{kind}ID");
        }
    }
    let hyphens: Vec<usize> = word.match_indices('-').map(|(at, _)| at).collect();
    match word {
        _ if is_id("tlm_", 49) => "KEY".to_owned(),
        _ if word.len() == 36 && hyphens == [8, 13, 18, 23] => "REQUEST".to_owned(),
        _ if word.len() == 20 && word.ends_with('Z') && hyphens == [4, 7] => "TIME".to_owned(),
        // The remaining limit, and the seconds until the limit is full.
        _ if before.ends_with(";r=") || before.ends_with(";t=") => "N".to_owned(),
        word => word.to_owned(),
    }
}
