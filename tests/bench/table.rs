//! The report.

use std::fmt;
use std::time::Duration;

/// The rows so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

#[derive(Debug)]
struct Row {
    what: String,
    goal: String,
    ours: String,
    floor: String,
    ratio: String,
}

impl Table {
    /// Adds a row. `floor` is what stands beside it, `ratio` ours over it.
    pub(crate) fn row(&mut self, what: &str, goal: &str, ours: &Figures, floor: Option<&Figures>) {
        let ratio = floor.and_then(|floor| {
            let (ours, floor) = (ours.median()?, floor.median()?);
            (floor > 0.0).then(|| format!("{:.2}", ours / floor))
        });
        let row = Row {
            what: what.to_owned(),
            goal: goal.to_owned(),
            ours: ours.to_string(),
            floor: floor.map(Figures::to_string).unwrap_or_default(),
            ratio: ratio.unwrap_or_default(),
        };
        eprintln!("   {} | {} | {} | {} | {}", row.what, row.goal, row.ours, row.floor, row.ratio);
        self.rows.push(row);
    }

    /// Adds a row that is said in words.
    pub(crate) fn words(&mut self, what: &str, goal: &str, ours: String) {
        eprintln!("   {what} | {goal} | {ours}");
        let (what, goal) = (what.to_owned(), goal.to_owned());
        self.rows.push(Row { what, goal, ours, floor: String::new(), ratio: String::new() });
    }

    /// Adds a line below the table.
    pub(crate) fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "goal", "AMS", "floor, same run", "ratio"];
        let cells: Vec<[&str; 5]> = std::iter::once(head)
            .chain(
                self.rows
                    .iter()
                    .map(|row| [&*row.what, &*row.goal, &*row.ours, &*row.floor, &*row.ratio]),
            )
            .collect();
        let mut widths = [0; 5];
        for row in &cells {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for (number, row) in cells.iter().enumerate() {
            for (width, cell) in widths.iter().zip(row) {
                write!(f, "| {cell:<width$} ")?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                let lines = widths.map(|width| "-".repeat(width + 2));
                writeln!(f, "|{}|", lines.join("|"))?;
            }
        }
        for note in &self.notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}

/// The same thing measured several times.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    unit: &'static str,
    decimals: usize,
    values: Vec<f64>,
}

impl Figures {
    pub(crate) fn new(unit: &'static str, decimals: usize) -> Self {
        Self { unit, decimals, values: Vec::new() }
    }

    pub(crate) fn of(unit: &'static str, decimals: usize, value: f64) -> Self {
        Self { unit, decimals, values: vec![value] }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// The median, and the least and greatest where there are several.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(median) = self.median() else { return f.write_str("not measured") };
        let decimals = self.decimals;
        write!(f, "{median:.decimals$} {}", self.unit)?;
        if self.values.len() > 1 {
            let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
            let greatest = self.values.iter().copied().fold(0.0, f64::max);
            write!(f, " ({least:.decimals$}-{greatest:.decimals$})")?;
        }
        Ok(())
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A count, for dividing by it.
pub(crate) fn count(of: u64) -> f64 {
    u32::try_from(of).map_or(f64::INFINITY, f64::from)
}
