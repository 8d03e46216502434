//! The table, the chart, and the same for machines.

use std::path::PathBuf;

use serde_json::json;

use crate::figures::{ROUNDS, Row, Target};
use crate::{Outcome, svg};

/// The head of the table.
pub fn heading() {
    println!(
        "{:<9} {:<42} {:>11} {:>11} {:>6} {:>13} {:>6}  {:<18}",
        "engine", "what", "CapeControl", "control", "ratio", "least–most", "CPU", "target"
    );
}

/// One row of the table.
pub fn line(row: &Row) {
    println!("{}", text(row));
}

fn text(row: &Row) -> String {
    let (least, ratio, most) = row.ratio();
    let cpu = row.cpu_ratio().map_or_else(|| "–".to_owned(), |ratio| format!("×{ratio:.2}"));
    let verdict = match row.met() {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    };
    format!(
        "{:<9} {:<42} {:>11} {:>11} {ratio:>6.2} {:>13} {cpu:>6}  {:<14} {verdict}",
        row.engine,
        row.name,
        figure(row.ours()),
        figure(row.control()),
        format!("{least:.2}–{most:.2}"),
        target(row),
    )
}

/// Three digits that count, and the unit's own size.
pub fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => {
            let whole = format!("{value:.0}");
            let mut text = String::new();
            for (at, digit) in whole.chars().enumerate() {
                if at > 0 && (whole.len() - at).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}

/// What is wanted, in words.
pub fn target(row: &Row) -> String {
    match row.target {
        Target::RatioAtLeast(least) => format!("≥ {least}"),
        Target::RatioAtMost(most) => format!("≤ {most}"),
        Target::ValueAtMost(most) => format!("≤ {} {}", figure(most), row.unit),
        Target::ExcessAtMost(most) => format!("≤ +{most} {}", row.unit),
        Target::None => String::new(),
    }
}

/// Writes `target/bench/results.{txt,json,svg}`.
pub fn write(machine: &str, rows: &[Row]) -> Outcome<()> {
    let folder = folder()?;
    let mut table = format!("{machine}\n{ROUNDS} rounds a row; medians\n\n");
    for row in rows {
        table.push_str(&text(row));
        table.push('\n');
    }
    std::fs::write(folder.join("results.txt"), table)?;
    let results = json!({ "machine": machine, "rounds": ROUNDS, "rows": rows });
    std::fs::write(folder.join("results.json"), serde_json::to_vec_pretty(&results)?)?;
    std::fs::write(folder.join("results.svg"), svg::chart(machine, rows))?;
    println!();
    let missed = rows.iter().filter(|row| row.met() == Some(false)).count();
    println!("{} rows, {missed} of them short of their target", rows.len());
    println!("CPU: processor time of the platform for one unit, in units of the control's");
    println!("written to {}/results.txt, .json and .svg", folder.display());
    Ok(())
}

/// `target/bench`, in the project's folder.
pub fn folder() -> Outcome<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
