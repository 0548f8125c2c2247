//! Columns for people at a terminal: headings, and cells that are aligned. Programs get tabs instead.

use unicode_width::UnicodeWidthStr;

use super::{
    CommandError,
    output::{is_terminal, print_lines},
};

/// The spaces between two columns.
const GAP: &str = "  ";

/// How wide each column is.
pub(super) struct Columns<const COUNT: usize>([usize; COUNT]);

impl<const COUNT: usize> Columns<COUNT> {
    /// Columns that are as wide as their widest cell.
    pub(super) fn fitting<'a>(rows: impl IntoIterator<Item = &'a [String; COUNT]>) -> Self {
        let widths = rows.into_iter().fold([0; COUNT], |widths, row| {
            let mut cells = row.iter();
            widths.map(|width| cells.next().map_or(width, |cell| width.max(cell.width())))
        });
        Self(widths)
    }

    /// A row as a line.
    pub(super) fn line(&self, row: &[String; COUNT]) -> String {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(self.0) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width())));
            line.push_str(GAP);
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// Prints rows: with headings and aligned on a terminal, else a line each with tabs between the cells.
pub(super) fn print_rows<const COUNT: usize>(
    headings: [&str; COUNT],
    rows: Vec<[String; COUNT]>,
) -> Result<(), CommandError> {
    if !is_terminal() {
        print_lines(rows.iter().map(|row| row.join("\t")))?;
    } else if !rows.is_empty() {
        print_lines(lines(headings, rows))?;
    }
    Ok(())
}

/// The lines of a table with headings.
fn lines<const COUNT: usize>(headings: [&str; COUNT], rows: Vec<[String; COUNT]>) -> impl Iterator<Item = String> {
    let headings = headings.map(str::to_owned);
    let columns = Columns::fitting(std::iter::once(&headings).chain(&rows));
    std::iter::once(headings).chain(rows).map(move |row| columns.line(&row))
}

/// The heading for a JSON member: `assignedAt` becomes `ASSIGNED AT`.
pub(super) fn heading(member: &str) -> String {
    let mut heading = String::new();
    for char in member.chars() {
        if char.is_ascii_uppercase() {
            heading.push(' ');
        }
        heading.push(char.to_ascii_uppercase());
    }
    heading
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_the_script() {
        let rows = [["1", "müller", "x"], ["22", "東京", "z"], ["3", "long", ""]];
        let rows = rows.map(|row| row.map(str::to_owned)).to_vec();
        let lines: Vec<String> = lines(["ID", "NAME", "LABEL"], rows).collect();
        assert_eq!(
            lines,
            ["ID  NAME    LABEL", "1   müller  x", "22  東京    z", "3   long"]
        );
    }

    #[test]
    fn headings_are_words() {
        assert_eq!(heading("assignedAt"), "ASSIGNED AT");
    }
}
