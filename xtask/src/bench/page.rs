//! The parts of `docs/performance.md` that the benchmark writes, each with a sum over its text.
//!
//! Must not be edited around: `cargo xtask tidy` finds a part that is not as it was written, or in an older format.

use std::{fs, path::Path};

use super::{
    BenchError, io_error, markdown, peer,
    report::{COLUMNS, Report},
    svg,
};

/// The page and its plot, below the repository.
pub(crate) const PAGE: &str = "docs/performance.md";
const PLOT: &str = "docs/performance.svg";

const BEGIN: &str = "<!-- written by `cargo xtask bench --page`: ";
const END: &str = "<!-- end of what `cargo xtask bench --page` writes -->";

/// Parts of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Everything that a usual run measures.
    Figures,
    /// A run beside another endpoint, by its name.
    Peer(String),
}

impl Part {
    fn name(&self) -> String {
        match self {
            Self::Figures => "figures".to_owned(),
            Self::Peer(name) => format!("peer {name}"),
        }
    }
}

/// Writes the table and the plot.
pub(super) fn write_figures(repository: &Path, report: &Report, note: &str) -> Result<(), BenchError> {
    let plot = repository.join(PLOT);
    fs::write(&plot, svg::render(report)).map_err(io_error(format!("write `{}`", plot.display())))?;
    write(repository, &Part::Figures, &markdown::render(report, note))
}

/// Writes one part; the page must have it.
pub(super) fn write(repository: &Path, part: &Part, content: &str) -> Result<(), BenchError> {
    let path = repository.join(PAGE);
    let page = fs::read_to_string(&path).map_err(io_error(format!("read `{PAGE}`")))?;
    let page = replaced(&page, part, content).ok_or_else(|| BenchError::NoPart(part.name()))?;
    fs::write(&path, page).map_err(io_error(format!("write `{PAGE}`")))
}

fn replaced(page: &str, part: &Part, content: &str) -> Option<String> {
    let begin = format!("{BEGIN}{}, ", part.name());
    let start = page.find(&begin)?;
    let end = start + page[start..].find(END)?;
    let content = content.trim_end();
    let sum = sum(content);
    Some(format!("{}{begin}sum {sum:08x} -->\n\n{content}\n\n{}", &page[..start], &page[end..]))
}

fn sum(content: &str) -> u32 {
    crc32fast::hash(content.as_bytes())
}

/// What is wrong with the page: the line, and what.
pub(crate) fn problem(page: &str) -> Option<(usize, String)> {
    let mut parts = 0;
    for (start, _) in page.match_indices(BEGIN) {
        parts += 1;
        let line = page[..start].lines().count() + 1;
        let rest = &page[start + BEGIN.len()..];
        let Some((head, rest)) = rest.split_once(" -->\n") else {
            return Some((line, "a part that the benchmark writes does not begin as it should".to_owned()));
        };
        let Some((content, _)) = rest.split_once(END) else {
            return Some((line, "a part that the benchmark writes has no end".to_owned()));
        };
        let content = content.trim();
        if !head.ends_with(&format!("sum {:08x}", sum(content))) {
            return Some((line, "what the benchmark wrote was changed".to_owned()));
        }
        let heading = if head.starts_with("peer ") {
            markdown::heading(&peer::COLUMNS)
        } else {
            markdown::heading(&COLUMNS)
        };
        if !content.contains(heading.trim()) {
            return Some((line, "what the benchmark wrote has an older format".to_owned()));
        }
    }
    (parts == 0).then(|| (1, "has no part that the benchmark writes".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::example;

    fn empty(part: &str) -> String {
        format!("# Page\n\ntext\n\n{BEGIN}{part}, sum 0 -->\n\n{END}\n\nmore\n")
    }

    #[test]
    fn a_part_is_replaced_and_then_fine() {
        let content = markdown::render(&example(), "Ten rounds");
        let page = replaced(&empty("figures"), &Part::Figures, &content).unwrap();
        assert!(page.starts_with("# Page\n\ntext\n\n<!-- written by") && page.ends_with("-->\n\nmore\n"));
        assert_eq!(problem(&page), None);
        assert_eq!(replaced(&page, &Part::Figures, &content).as_deref(), Some(page.as_str()));
        assert_eq!(replaced(&page, &Part::Peer("other".to_owned()), &content), None);
    }

    #[test]
    fn what_was_written_by_hand_is_found() {
        let content = markdown::render(&example(), "Ten rounds");
        let page = replaced(&empty("figures"), &Part::Figures, &content).unwrap();
        let changed = page.replace("14.0", "4.0");
        assert_ne!(changed, page);
        assert_eq!(problem(&changed), Some((5, "what the benchmark wrote was changed".to_owned())));
    }

    #[test]
    fn another_format_is_found() {
        let page = replaced(&empty("figures"), &Part::Figures, "| figure |\n").unwrap();
        assert_eq!(problem(&page), Some((5, "what the benchmark wrote has an older format".to_owned())));
        assert_eq!(problem("# Page\n").map(|(line, _)| line), Some(1));
        let page = replaced(&empty("figures"), &Part::Figures, "x").unwrap().replace(END, "");
        assert_eq!(problem(&page).map(|(line, _)| line), Some(5));
    }
}
