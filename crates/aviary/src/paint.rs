//! Colour on terminals, and none elsewhere.

use std::io::IsTerminal as _;

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// For a terminal.
    Colour,
    /// For a file or a pipe.
    Plain,
}

/// Colours by meaning; the numbers are ECMA-48's SGR codes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ink {
    Alarm,
    Notice,
    Good,
    Quiet,
    Strong,
}

impl Style {
    /// What suits standard output, `NO_COLOR` honoured.
    pub(crate) fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if wanted && std::io::stdout().is_terminal() { Self::Colour } else { Self::Plain }
    }

    pub(crate) fn paint(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Alarm => "1;31",
            Ink::Notice => "33",
            Ink::Good => "32",
            Ink::Quiet => "2",
            Ink::Strong => "1",
        };
        match self {
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// A table of left-aligned columns. Widths are counted in characters, before colour.
pub(crate) struct Table {
    rows: Vec<Vec<(String, Option<Ink>)>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|word| ((*word).to_owned(), Some(Ink::Quiet))).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<(String, Option<Ink>)>) {
        self.rows.push(cells);
    }

    /// Leaves the first column out if no row has anything there but `-`, such as "host" where there are none.
    pub(crate) fn without_idle_column(mut self) -> Self {
        if self.rows.iter().skip(1).all(|row| row.first().is_none_or(|(text, _)| text == "-")) {
            self.rows.iter_mut().for_each(|row| drop(row.drain(..1)));
        }
        self
    }

    pub(crate) fn print(&self, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|n| {
                self.rows.iter().filter_map(|row| row.get(n)).map(|(text, _)| text.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (n, (text, ink)) in row.iter().enumerate() {
                let last = n + 1 == row.len();
                let pad = if last { 0 } else { widths.get(n).unwrap_or(&0).saturating_sub(text.chars().count()) + 2 };
                line.push_str(&ink.map_or_else(|| text.clone(), |ink| style.paint(ink, text)));
                line.push_str(&" ".repeat(pad));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_columns_and_leaves_no_blank_at_the_end() {
        let mut table = Table::new(&["service", "port"]);
        table.row(vec![("ftp".to_owned(), None), ("21".to_owned(), Some(Ink::Good))]);
        assert_eq!(table.print(Style::Plain), "service  port\nftp      21\n");
    }

    #[test]
    fn a_column_in_which_nothing_stands_is_left_out() {
        let table = |hosts: [&str; 2]| {
            let mut table = Table::new(&["host", "port"]);
            hosts.iter().for_each(|host| table.row(vec![((*host).to_owned(), None), ("21".to_owned(), None)]));
            table.without_idle_column().print(Style::Plain)
        };
        assert_eq!(table(["-", "-"]), "port\n21\n21\n");
        assert_eq!(table(["-", "nas"]), "host  port\n-     21\nnas   21\n");
    }
}
