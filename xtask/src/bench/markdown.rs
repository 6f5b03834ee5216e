//! A report as Markdown: for each group a table.
//!
//! Must not leave out a figure: whoever reads the page reads what was measured.

use super::{
    groups::GROUPS,
    report::{COLUMNS, Report},
};

/// The report, with a note on how it was measured.
pub(super) fn render(report: &Report, note: &str) -> String {
    let mut text = format!("{}.\n\n{note}.\n", report.machine.line());
    for group in GROUPS {
        let rows: Vec<_> = report.rows.iter().filter(|row| row.group == group.name).collect();
        if rows.is_empty() {
            continue;
        }
        text.push_str(&format!("\n### {} (`{}`)\n\n", group.about, group.name));
        text.push_str(&table(&COLUMNS, rows.iter().map(|row| row.cells())));
    }
    if !report.missing.is_empty() {
        text.push_str("\n### Not measured\n\n");
        for missing in &report.missing {
            text.push_str(&format!("* {}: {}\n", missing.what, plain(missing.why.trim())));
        }
    }
    text
}

/// A table with these headings.
pub(super) fn table<const N: usize>(headings: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = heading(headings);
    text.push_str(&format!("|{}\n", "---|".repeat(N)));
    rows.for_each(|cells| text.push_str(&line(&cells.map(|cell| plain(&cell)))));
    text
}

/// Text that Markdown shows as it is, in one line.
fn plain(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|").replace('<', "&lt;")
}

/// The first line of a table.
pub(super) fn heading(headings: &[&str]) -> String {
    format!("| {} |\n", headings.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::example;

    #[test]
    fn each_group_is_a_table() {
        insta::assert_snapshot!(render(&example(), "Ten rounds"));
    }
}
