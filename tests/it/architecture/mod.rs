//! Modules use only what the table in ARCHITECTURE.md allows, and no files import each other in a circle.

mod imports;

use std::collections::{BTreeMap, BTreeSet};

use imports::{Source, sources};

use crate::support::Suite;

const ARCHITECTURE: &str = include_str!("../../../ARCHITECTURE.md");

pub fn register(suite: &mut Suite) {
    suite.test("architecture::each_module_has_a_row", rows);
    suite.test("architecture::modules_import_only_what_the_table_allows", allowed);
    suite.test("architecture::the_table_has_no_circle", table_without_circles);
    suite.test(
        "architecture::no_files_import_each_other_in_a_circle",
        files_without_circles,
    );
}

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The table: what each module may use.
fn table() -> Graph {
    let cells = |line: &'static str| line.split('|').skip(1).map(str::trim).collect::<Vec<_>>();
    let mut lines = ARCHITECTURE.lines().skip_while(|line| !line.starts_with("| module |"));
    let head = cells(lines.next().expect("a table that begins with `| module |`"));
    let may_use = head.iter().position(|&cell| cell == "may use").expect("a column");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells);
    rows.map(|cells| {
        let module = cells[0].trim_matches('`').to_owned();
        let used = cells[may_use].split('`').skip(1).step_by(2).map(str::to_owned);
        (module, used.collect())
    })
    .collect()
}

async fn rows() {
    let modules: BTreeSet<String> = sources().iter().filter_map(Source::top_module).collect();
    let modules = modules.into_iter().chain(["migrations".to_owned()]).collect();
    let table = table();
    let rows: BTreeSet<String> = table.keys().cloned().collect();
    assert_eq!(rows, modules, "the rows (left) are the modules (right)");
    let used: BTreeSet<String> = table.into_values().flatten().collect();
    assert!(used.is_subset(&modules), "the column `may use` names modules only");
}

async fn allowed() {
    let table = table();
    let mut forbidden = Vec::new();
    let mut count = 0;
    for source in sources() {
        // The root of the library declares modules and imports nothing.
        let module = source.top_module().unwrap_or_default();
        for import in &source.imports {
            let used = import.path.first().expect("more than the root");
            if *used == module {
                continue;
            }
            count += 1;
            if !table.get(&module).is_some_and(|allowed| allowed.contains(used)) {
                forbidden.push(format!("{}: {}", source.file, import.path.join("::")));
            }
        }
    }
    assert!(count > 200, "only {count} imports were found");
    assert!(
        forbidden.is_empty(),
        "ARCHITECTURE.md does not allow these imports:\n{}",
        forbidden.join("\n")
    );
}

async fn table_without_circles() {
    assert_eq!(circles(&table()), [""; 0]);
}

async fn files_without_circles() {
    let sources = sources();
    let graph: Graph = sources
        .iter()
        .map(|source| (source.file.clone(), imports::files_used(source, &sources)))
        .collect();
    let circles = circles(&graph);
    assert!(circles.is_empty(), "these import each other:\n{}", circles.join("\n"));
}

/// For each node on a circle, the shortest one.
fn circles(graph: &Graph) -> Vec<String> {
    graph.keys().filter_map(|start| circle(start, graph)).collect()
}

fn circle(start: &str, graph: &Graph) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut paths = vec![vec![start]];
    while !paths.is_empty() {
        let mut longer = Vec::new();
        for path in paths {
            for next in graph.get(*path.last().expect("a start")).into_iter().flatten() {
                if next == start {
                    return Some([path.join(" → "), start.to_owned()].join(" → "));
                }
                if seen.insert(next) {
                    longer.push([&path[..], &[next]].concat());
                }
            }
        }
        paths = longer;
    }
    None
}
