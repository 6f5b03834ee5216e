//! A plot of what is promised: ratios to floors, and values against their limits, each with its target.
//!
//! Must not draw what nothing is promised about: the table has all of it.

use super::{
    report::{Promise, Report, Row, short},
    statistics::Rounds,
};

const WIDTH: f64 = 960.0;
/// Where bars begin and end; left of them are names, right of them numbers.
const LEFT: f64 = 360.0;
const RIGHT: f64 = 770.0;
const LINE: f64 = 22.0;
const BAR: f64 = 12.0;
const HEADING: f64 = 56.0;

/// One bar: a ratio, and the ratio that is promised.
struct Bar {
    name: String,
    ratios: Rounds,
    target: f64,
    promise: String,
    met: bool,
}

/// The plot as a file.
pub(super) fn render(report: &Report) -> String {
    let to_floor: Vec<_> = report.rows.iter().filter_map(to_floor).collect();
    let to_limit: Vec<_> = report.rows.iter().filter_map(to_limit).collect();
    let mut body = String::new();
    let mut top = 10.0;
    for (title, bars) in [
        ("Ratio to the floor of the same run (1 is the floor itself)", to_floor),
        ("Share of the limit (1 is the limit)", to_limit),
    ] {
        if !bars.is_empty() {
            top = panel(&mut body, top, title, &bars);
        }
    }
    let machine = escaped(&report.machine.line());
    let height = top + 30.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>Hothouse: what is promised, and what was measured</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}\
         <text x=\"10\" y=\"{:.1}\" font-size=\"10\" fill=\"#666666\">{machine}</text>\n</svg>\n",
        top + 18.0
    )
}

fn to_floor(row: &Row) -> Option<Bar> {
    let (target, sign) = match row.promise? {
        Promise::RatioAtMost(limit) => (limit, "≤"),
        Promise::RatioAtLeast(limit) => (limit, "≥"),
        Promise::AtMost(_) => return None,
    };
    let ratios = row.ratios()?;
    let promise = format!("{} ({sign} {target})", short(ratios.median()));
    Some(Bar { name: row.figure.clone(), ratios, target, promise, met: row.met()? })
}

fn to_limit(row: &Row) -> Option<Bar> {
    // A count that must be zero has no share of its limit.
    let Promise::AtMost(limit) = row.promise.filter(|promise| *promise != Promise::AtMost(0.0))? else {
        return None;
    };
    let promise = format!("{} ({})", short(row.value.median()), row.target());
    Some(Bar {
        name: row.figure.clone(),
        ratios: row.value.scaled(1.0 / limit),
        target: 1.0,
        promise,
        met: row.met()?,
    })
}

/// Draws bars below a heading; returns where the next panel begins. The axis is logarithmic: twice as quick is as far
/// to the left of 1 as half as quick is to its right.
fn panel(body: &mut String, top: f64, title: &str, bars: &[Bar]) -> f64 {
    let values = || {
        let all = bars.iter().flat_map(|bar| bar.ratios.values().iter().copied().chain([bar.target, 1.0]));
        all.filter(|value| value.is_finite() && *value > 0.0)
    };
    let least = values().fold(0.5, f64::min).log2().floor();
    let most = values().fold(2.0, f64::max).log2().ceil();
    let at = |value: f64| {
        let share = (value.max(f64::MIN_POSITIVE).log2().clamp(least, most) - least) / (most - least);
        LEFT + share * (RIGHT - LEFT)
    };
    let first = top + HEADING;
    let bottom = first + bars.len() as f64 * LINE;
    body.push_str(&format!(
        "<text x=\"10\" y=\"{:.1}\" font-size=\"14\" font-weight=\"bold\">{}</text>\n",
        top + 20.0,
        escaped(title)
    ));
    // At most about eight numbers on the axis.
    let step = ((most - least) / 8.0).ceil().max(1.0) as i32;
    for power in (least as i32..=most as i32).filter(|power| power % step == 0) {
        let (value, x) = (2f64.powi(power), at(2f64.powi(power)));
        let (colour, width) = if power == 0 { ("#444444", 1.5) } else { ("#dddddd", 1.0) };
        body.push_str(&format!(
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{colour}\" \
             stroke-width=\"{width}\"/>\n<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"10\" fill=\"#666666\" \
             text-anchor=\"middle\">{}</text>\n",
            first - 4.0,
            first - 8.0,
            short(value)
        ));
    }
    for (index, bar) in bars.iter().enumerate() {
        one(body, first + index as f64 * LINE, bar, &at);
    }
    bottom + 16.0
}

fn one(body: &mut String, top: f64, bar: &Bar, at: &impl Fn(f64) -> f64) {
    let middle = top + LINE / 2.0;
    let (one, end) = (at(1.0), at(bar.ratios.median()));
    let colour = if bar.met { "#2e8b57" } else { "#c0392b" };
    body.push_str(&format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
         <rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n",
        LEFT - 8.0,
        middle + 4.0,
        escaped(&bar.name),
        one.min(end),
        middle - BAR / 2.0,
        (one - end).abs().max(1.0)
    ));
    if let Some((least, most)) = bar.ratios.spread() {
        body.push_str(&format!(
            "<line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"#888888\" \
             stroke-width=\"2\"/>\n",
            at(least),
            at(most)
        ));
    }
    let target = at(bar.target);
    body.push_str(&format!(
        "<line x1=\"{target:.1}\" y1=\"{:.1}\" x2=\"{target:.1}\" y2=\"{:.1}\" stroke=\"#000000\" \
         stroke-width=\"3\"/>\n<text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
        middle - 9.0,
        middle + 9.0,
        RIGHT + 10.0,
        middle + 4.0,
        escaped(&bar.promise)
    ));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::example;

    #[test]
    fn promises_are_bars_with_targets() {
        insta::assert_snapshot!(render(&example()));
    }

    #[test]
    fn names_cannot_end_the_text() {
        assert_eq!(escaped("a <b> & c"), "a &lt;b&gt; &amp; c");
    }
}
