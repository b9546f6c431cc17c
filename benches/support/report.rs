//! Figures in a small table, and what else was going on.

use std::fmt::Display;

/// What was run, how often, and how busy the machine was before it began.
pub fn heading(what: &str, command: &str, runs: usize) {
    println!(
        "\n{what}\n  command: {command}   runs: {runs} (alternating; medians)   load: {}",
        load()
    );
    println!("  {:<58} {:>12}   note", "", "median");
}

pub fn row(what: &str, value: f64, unit: &str, note: impl Display) {
    let value = match value.abs() {
        abs if abs >= 1_000.0 => format!("{value:.0}"),
        abs if abs >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    println!("  {:<58} {:>12}   {note}", format!("{what} ({unit})"), value);
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(1).collect()
}
