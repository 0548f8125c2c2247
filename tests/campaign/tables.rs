//! What the tables hold, in forms that can be compared.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use sea_orm::{QueryResult, prelude::Uuid};

use crate::{model::World, support::TestDatabase};

const TABLES: [&str; 3] = ["customer", "device", "device_assignment"];

/// What the tables hold of an organization, by names alone.
pub async fn world(database: &TestDatabase, organization: &str) -> World {
    let text = |row: &QueryResult, index| row.try_get_by_index::<String>(index).expect("text");
    let here = format!("organization_id = (SELECT id FROM organization WHERE name = '{organization}')");
    let customers = format!("SELECT email FROM customer WHERE {here}");
    let devices = format!("SELECT identifier, device_type FROM device WHERE {here}");
    let properties = format!("SELECT identifier, properties FROM device WHERE {here} AND properties <> '{{}}'");
    let assignments = format!(
        "SELECT (SELECT email FROM customer AS c WHERE c.organization_id = a.organization_id AND c.id = a.customer_id), \
         (SELECT identifier FROM device AS d WHERE d.organization_id = a.organization_id AND d.id = a.device_id) \
         FROM device_assignment AS a WHERE {here}"
    );
    let (customers, devices, properties, assignments) = tokio::join!(
        database.rows(&customers),
        database.rows(&devices),
        database.rows(&properties),
        database.rows(&assignments)
    );
    let pair = |row| (text(row, 0), text(row, 1));
    World {
        customers: customers.iter().map(|row| text(row, 0)).collect(),
        devices: devices.iter().map(pair).collect(),
        properties: properties.iter().map(pair).collect(),
        assignments: assignments.iter().map(pair).collect(),
    }
}

/// Every row of the tables and of the change log. Ids are numbered in the order of the log, and times are left out, so that the
/// dumps of two databases that did the same are equal.
pub async fn dump(database: &TestDatabase) -> String {
    let mut labels = HashMap::<Uuid, String>::new();
    for row in database.rows("SELECT id, name FROM organization").await {
        let (id, name) = (row.try_get_by_index(0), row.try_get_by_index(1));
        labels.insert(id.expect("an id"), name.expect("a name"));
    }
    let mut dump = String::new();
    let log = database.rows("SELECT * FROM change_log ORDER BY revision").await;
    let mut entries: Vec<_> = log.iter().map(cells).collect();
    entries.sort_by_key(|entry| match &entry["organization_id"] {
        Cell::Ids(ids) => labels[&ids[0]].clone(),
        cell => panic!("{cell:?} is no organization"),
    });
    for entry in entries {
        for (column, noun) in [("customers_created", "customer"), ("devices_created", "device")] {
            if let Cell::Ids(ids) = &entry[column] {
                for id in ids {
                    labels.insert(*id, format!("{noun} {}", labels.len()));
                }
            }
        }
        writeln!(dump, "change_log{}", line(&entry, &labels)).expect("a string");
    }
    for table in TABLES {
        let rows = database.rows(&format!("SELECT * FROM {table}")).await;
        let mut lines: Vec<_> = rows.iter().map(|row| line(&cells(row), &labels)).collect();
        lines.sort_unstable();
        for line in lines {
            writeln!(dump, "{table}{line}").expect("a string");
        }
    }
    dump
}

/// The change log up to a revision, with the ids as they are.
pub async fn log(database: &TestDatabase, through: i64) -> Vec<String> {
    let sql = format!("SELECT * FROM change_log WHERE revision <= {through} ORDER BY organization_id, revision");
    let rows = database.rows(&sql).await;
    rows.iter().map(|row| format!("{:?}", cells(row))).collect()
}

#[derive(Debug)]
enum Cell {
    Null,
    Text(String),
    Number(i64),
    Ids(Vec<Uuid>),
}

/// The cells of a row by column, without times.
fn cells(row: &QueryResult) -> BTreeMap<String, Cell> {
    let columns = row.column_names().into_iter();
    columns
        .filter(|column| column != "at" && !column.ends_with("_at"))
        .map(|column| {
            let cell = cell(row, &column);
            (column, cell)
        })
        .collect()
}

fn cell(row: &QueryResult, column: &str) -> Cell {
    if let Ok(text) = row.try_get::<Option<String>>("", column) {
        return text.map_or(Cell::Null, Cell::Text);
    }
    if let Ok(number) = row.try_get::<i64>("", column) {
        return Cell::Number(number);
    }
    if let Ok(id) = row.try_get::<Uuid>("", column) {
        return Cell::Ids(vec![id]);
    }
    if let Ok(ids) = row.try_get::<Vec<Uuid>>("", column) {
        return Cell::Ids(ids);
    }
    // SQLite has no lists.
    let bytes = row.try_get::<Vec<u8>>("", column).expect(column);
    let ids = bytes.chunks(16).map(|id| Uuid::from_slice(id).expect("whole ids"));
    Cell::Ids(ids.collect())
}

fn line(cells: &BTreeMap<String, Cell>, labels: &HashMap<Uuid, String>) -> String {
    let label = |id: &Uuid| labels.get(id).map_or("unknown", String::as_str);
    let mut line = String::new();
    for (column, cell) in cells {
        let value = match cell {
            Cell::Null => continue,
            Cell::Text(text) => text.clone(),
            Cell::Number(number) => number.to_string(),
            Cell::Ids(ids) => {
                let pairs = pairs(column, ids, cells);
                let mut labels: Vec<_> = pairs
                    .iter()
                    .map(|ids| ids.iter().map(label).collect::<Vec<_>>())
                    .collect();
                labels.sort_unstable();
                format!("{labels:?}")
            }
        };
        write!(line, " {column}={value:?}").expect("a string");
    }
    line
}

/// The ids of a column, each of a pair beside the other one: the pairs of a change are a set, in any order.
fn pairs(column: &str, ids: &[Uuid], cells: &BTreeMap<String, Cell>) -> Vec<Vec<Uuid>> {
    let customers = column
        .strip_suffix("_devices")
        .and_then(|change| cells.get(&format!("{change}_customers")));
    match customers {
        // One customer stands for all devices.
        Some(Cell::Ids(customers)) => customers
            .iter()
            .cycle()
            .zip(ids)
            .map(|(customer, device)| vec![*customer, *device])
            .collect(),
        _ => ids.iter().map(|id| vec![*id]).collect(),
    }
}
