//! What the pages of lists cost, from the log of the program that answers them.

use std::collections::HashMap;

use serde_json::Value;

use crate::plans;

/// What pages cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Blocks that PostgreSQL read, from memory or not.
    pub blocks: u64,
    /// The time of the call in the service.
    pub millis: f64,
}

/// What the calls of a log cost, by method. The log of a program that serves one call after the other.
pub fn costs(log: &str) -> HashMap<String, Vec<Cost>> {
    let mut costs: HashMap<String, Vec<Cost>> = HashMap::new();
    let mut blocks = 0;
    for line in log.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        for plan in plans::plans(std::slice::from_ref(&line)) {
            let of = |kind: &str| plan["Plan"][kind].as_u64().expect("a count");
            blocks += of("Shared Hit Blocks") + of("Shared Read Blocks");
        }
        if line["message"] == "call" {
            let cost = Cost {
                blocks: std::mem::take(&mut blocks),
                millis: line["duration_ms"].as_f64().expect("a duration"),
            };
            if line["code"] != "OK" {
                continue;
            }
            let method = line["method"].as_str().expect("text").to_owned();
            costs.entry(method).or_default().push(cost);
        }
    }
    costs
}

/// Describes the costs of the first, middle and last pages of a list: a tenth of it each. The very last page does not count: it has
/// what is left, which may be nothing.
///
/// # Errors
/// Pages that read many more blocks than others.
pub fn flat(pages: &[Cost]) -> Result<String, String> {
    let pages = &pages[..pages.len().saturating_sub(1).max(1)];
    let tenth = pages.len().div_ceil(10);
    let median = |from: usize, of: fn(&Cost) -> f64| {
        let mut costs: Vec<f64> = pages[from..][..tenth].iter().map(of).collect();
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    };
    let starts = [0, (pages.len() - tenth) / 2, pages.len() - tenth];
    let [first, middle, last] = starts.map(|from| median(from, |cost| cost.blocks as f64));
    let millis = starts.map(|from| median(from, |cost| cost.millis));
    let described = format!(
        "{first}, {middle} and {last} blocks and {:.1}, {:.1} and {:.1} ms for a page of the first, middle and last tenth",
        millis[0], millis[1], millis[2]
    );
    if first.max(middle).max(last) > 2.0 * first.min(middle).min(last) {
        return Err(described);
    }
    Ok(described)
}
