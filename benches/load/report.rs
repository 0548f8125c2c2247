//! The table, the JSON and the plots.

use std::{fs, path::Path};

use plotters::prelude::{
    ChartBuilder, Color, IntoDrawingArea, IntoLogRange, LineSeries, PathElement, RGBColor, SVGBackend, WHITE,
};
use serde::Serialize;

/// A row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub measure: String,
    /// The measure of the service, and its unit.
    pub ours: f64,
    pub limit: Option<f64>,
    pub unit: &'static str,
    /// The bound of the measure, as text.
    pub reach: Option<Reach>,
}

/// A bound on the ratio, or on the measure itself if there is no limit to compare it with.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum Reach {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    /// The measure divided by the limit; the measure itself if there is no limit.
    pub fn value(&self) -> f64 {
        self.limit.map_or(self.ours, |limit| self.ours / limit)
    }

    fn verdict(&self) -> String {
        let (bound, is_reached) = match self.reach {
            None => return String::new(),
            Some(Reach::AtLeast(bound)) => (format!("≥ {bound}"), self.value() >= bound),
            Some(Reach::AtMost(bound)) => (format!("≤ {bound}"), self.value() <= bound),
        };
        format!("{bound} {}", if is_reached { "reached" } else { "missed" })
    }
}

/// A line of a plot.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// A plot with logarithmic axes.
#[derive(Debug, Clone, Serialize)]
pub struct Plot {
    pub file: &'static str,
    pub title: &'static str,
    pub x: &'static str,
    pub y: &'static str,
    pub series: Vec<Series>,
}

/// All results of a run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub machine: String,
    pub rows: Vec<Row>,
    pub plots: Vec<Plot>,
}

impl Report {
    pub fn add(&mut self, row: Row) {
        println!("{}", line(&row));
        self.rows.push(row);
    }

    /// The table in Markdown.
    pub fn table(&self) -> String {
        let mut table = "| measure | ours | limit | ours ÷ limit | reach |\n|---|---|---|---|---|\n".to_owned();
        for row in &self.rows {
            table.push_str(&line(row));
            table.push('\n');
        }
        table
    }

    /// Writes the JSON and the plots into `folder`.
    pub fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("a folder");
        let json = serde_json::to_string_pretty(self).expect("JSON");
        fs::write(folder.join("load.json"), json).expect("written");
        for plot in &self.plots {
            draw(&folder.join(plot.file), plot);
        }
    }
}

fn line(row: &Row) -> String {
    let number = |number: f64| {
        if number >= 100.0 {
            format!("{number:.0}")
        } else {
            format!("{number:.2}")
        }
    };
    let limit = row.limit.map(|limit| format!("{} {}", number(limit), row.unit));
    let ratio = row.limit.map(|_| format!("{:.2}", row.value()));
    format!(
        "| {} | {} {} | {} | {} | {} |",
        row.measure,
        number(row.ours),
        row.unit,
        limit.unwrap_or_default(),
        ratio.unwrap_or_default(),
        row.verdict()
    )
}

const COLORS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
    RGBColor(127, 127, 127),
];

fn draw(path: &Path, plot: &Plot) {
    let points = || plot.series.iter().flat_map(|series| &series.points);
    let bounds = |value: fn(&(f64, f64)) -> f64| {
        let low = points().map(value).fold(f64::INFINITY, f64::min);
        let high = points().map(value).fold(0.0, f64::max);
        (low * 0.8)..(high * 1.25)
    };
    let root = SVGBackend::new(path, (800, 480)).into_drawing_area();
    root.fill(&WHITE).expect("a background");
    let mut chart = ChartBuilder::on(&root)
        .caption(plot.title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(bounds(|point| point.0).log_scale(), bounds(|point| point.1).log_scale())
        .expect("a chart");
    chart
        .configure_mesh()
        .x_desc(plot.x)
        .y_desc(plot.y)
        .draw()
        .expect("axes");
    for (series, color) in plot.series.iter().zip(COLORS.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(series.points.iter().copied(), color.stroke_width(2)).point_size(4))
            .expect("a line")
            .label(series.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.9))
        .draw()
        .expect("a legend");
    root.present().expect("written");
}
