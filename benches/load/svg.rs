//! The chart: for every row a bar that says how close the platform comes to its control, and a mark for what is wanted.

use std::fmt::Write as _;

use crate::figures::{Row, Target};

const WIDTH: f64 = 980.0;
const LINE: f64 = 26.0;
const HEAD: f64 = 64.0;
const LABELS: f64 = 400.0;
/// The share that the right end of the scale stands for.
const SCALE: f64 = 1.5;

/// Draws the rows. A bar is a share of the target where the target is an amount, and of the control where it is a
/// ratio.
pub fn chart(machine: &str, rows: &[Row]) -> String {
    let height = HEAD + LINE * rows.len() as f64 + 40.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"17\" font-weight=\"600\">CapeControl beside its controls</text>\n\
         <text x=\"16\" y=\"46\" fill=\"#555555\">{}</text>\n",
        escape(machine)
    );
    for mark in [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5] {
        let x = place(mark);
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"{HEAD}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#777777\" font-size=\"11\">{mark}</text>",
            height - 32.0,
            height - 16.0,
        );
    }
    for (number, row) in rows.iter().enumerate() {
        bar(&mut text, HEAD + LINE * number as f64, row);
    }
    text.push_str("</svg>\n");
    text
}

fn bar(text: &mut String, top: f64, row: &Row) {
    let (share, low, high, wanted, words) = match row.target {
        Target::ValueAtMost(most) => {
            let values: Vec<f64> = row.ours.iter().map(|round| round.value / most).collect();
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (row.ours() / most, low, high, Some(1.0), "of the allowance")
        }
        Target::ExcessAtMost(most) => {
            let share = (row.ours() - row.control()) / most;
            (share, share, share, Some(1.0), "of the allowance")
        }
        Target::RatioAtLeast(wanted) | Target::RatioAtMost(wanted) => {
            let (low, ratio, high) = row.ratio();
            (ratio, low, high, Some(wanted), "of the control")
        }
        Target::None => {
            let (low, ratio, high) = row.ratio();
            (ratio, low, high, None, "of the control")
        }
    };
    let colour = match row.met() {
        Some(true) => "#2f7d4f",
        Some(false) => "#b4472e",
        None => "#8a8f98",
    };
    let (from, to, middle) = (place(0.0), place(share), top + LINE / 2.0);
    let _ = writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\"/>\
         <line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"#222222\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\" fill=\"#333333\">{share:.2} {words}</text>",
        LABELS - 10.0,
        middle + 4.0,
        escape(&format!("{}: {}", row.engine, row.name)),
        middle - 7.0,
        (to - from).max(0.0),
        place(low),
        place(high),
        place(high.max(share)) + 6.0,
        middle + 4.0,
    );
    if let Some(wanted) = wanted {
        let x = place(wanted);
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#111111\" stroke-width=\"2\"/>",
            middle - 10.0,
            middle + 10.0,
        );
    }
}

/// Where a share stands on the scale.
fn place(share: f64) -> f64 {
    let right = WIDTH - 150.0;
    LABELS + (right - LABELS) * (share.clamp(0.0, SCALE) / SCALE)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
