//! Texts in columns and lines: tables, and paragraphs beside a label.

use textwrap::{Options, WordSplitter, WrapAlgorithm};

/// The side of its column that a cell is aligned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Rows of cells, in columns as wide as their widest cell.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Align>,
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
enum Line {
    Cells(Vec<String>),
    Note(String),
}

impl Table {
    pub fn new(columns: impl IntoIterator<Item = Align>) -> Table {
        Table { columns: columns.into_iter().collect(), lines: Vec::new() }
    }

    /// Adds a row, with one cell for each column.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.lines.push(Line::Cells(cells.into_iter().map(Into::into).collect()));
    }

    /// Adds a line that is in no column.
    pub fn note(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Note(text.into()));
    }

    /// The columns of a terminal that all the rows take.
    pub fn width(&self) -> usize {
        self.widths().iter().sum::<usize>() + 2 * self.columns.len().saturating_sub(1)
    }

    pub fn lines(&self) -> Vec<String> {
        let widths = self.widths();
        let line = |cells: &[String]| {
            let cells = cells.iter().zip(&self.columns).zip(&widths).map(|((cell, align), width)| match align {
                Align::Left => format!("{cell:width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let text = |entry: &Line| match entry {
            Line::Cells(cells) => line(cells),
            Line::Note(text) => text.clone(),
        };
        self.lines.iter().map(text).collect()
    }

    /// The same for a screen on which the columns have no room: each row in lines of at most `width` columns.
    pub fn wrapped(&self, width: usize) -> Vec<String> {
        let paragraphs = self.lines.iter().map(|line| match line {
            Line::Cells(cells) => {
                let cells: Vec<&str> = cells.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty()).collect();
                paragraph("", 4, &cells.join("  "), width)
            }
            Line::Note(text) => paragraph("", 4, text, width),
        });
        paragraphs.flatten().collect()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.columns.len()];
        for line in &self.lines {
            if let Line::Cells(cells) = line {
                cells.iter().zip(&mut widths).for_each(|(cell, width)| *width = cell.chars().count().max(*width));
            }
        }
        widths
    }
}

/// A paragraph in lines of at most `width` columns, if its words are not longer: the first begins with `label`, the
/// others with `indent` spaces. A no-break space is printed as a space.
pub fn paragraph(label: &str, indent: usize, text: &str, width: usize) -> Vec<String> {
    let spaces = " ".repeat(indent);
    let options = Options::new(width)
        .initial_indent(label)
        .subsequent_indent(&spaces)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::wrap(text, options).into_iter().map(|line| line.replace('\u{a0}', " ")).collect()
}

/// Paragraphs in lines of at most `width` columns, the first of them beside a label. What is between commas stays in one line, if it
/// fits: it may be a command.
pub fn beside<'a>(label: &str, indent: usize, texts: impl IntoIterator<Item = &'a str>, width: usize) -> String {
    let spaces = " ".repeat(indent);
    let labels = std::iter::once(label).chain(std::iter::repeat(spaces.as_str()));
    let lines = texts.into_iter().zip(labels).flat_map(|(text, label)| {
        let text = keep_together(text, width.saturating_sub(indent));
        paragraph(label, indent, &text, width)
    });
    lines.map(|line| line + "\n").collect()
}

/// The text with no-break spaces in each part between commas that fits into `width`.
fn keep_together(text: &str, width: usize) -> String {
    let part = |part: &str| match part.strip_suffix(' ') {
        Some(words) if words.chars().count() <= width => words.replace(' ', "\u{a0}") + " ",
        None if part.chars().count() <= width => part.replace(' ', "\u{a0}"),
        _ => part.to_owned(),
    };
    text.split_inclusive(", ").map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_spaces() {
        let mut table = Table::new([Align::Left, Align::Right, Align::Left]);
        table.row(["name", "size", "kind"]);
        table.note("  a remark that is longer than every row of the table");
        table.row(["müsli", "3", ""]);
        assert_eq!(
            table.lines(),
            ["name   size  kind", "  a remark that is longer than every row of the table", "müsli     3"]
        );
        assert_eq!(table.width(), "name   size  kind".len());
    }

    #[test]
    fn a_row_without_room_for_its_columns_is_broken_between_words() {
        let mut table = Table::new([Align::Left, Align::Left, Align::Left]);
        table.row(["amd64", "", "Debian trixie, linux-image-6.12"]);
        assert_eq!(table.wrapped(30), ["amd64  Debian trixie,", "    linux-image-6.12"]);
    }

    #[test]
    fn a_paragraph_stands_beside_its_label() {
        let lines = paragraph("  get  ", 7, "apt install gcc (Debian), dnf install gcc (Fedora)", 24);
        assert_eq!(lines, ["  get  apt install gcc", "       (Debian), dnf", "       install gcc", "       (Fedora)"]);
        let kept = keep_together("apt install gcc (Debian), dnf install gcc (Fedora), x", 25);
        assert_eq!(paragraph("", 0, &kept, 25), ["apt install gcc (Debian),", "dnf install gcc (Fedora),", "x"]);
    }
}
