//! What the figures were measured on.

use std::fmt::Write as _;

/// The machine in a few lines.
pub fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = read("/proc/meminfo");
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: f64 = kib.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default();
    let load = read("/proc/loadavg");
    let mut text = String::new();
    let _ = write!(
        text,
        "{cores} cores ({}), {:.0} GiB, Linux {}, load before the run {}",
        model.map_or("unknown", |(_, name)| name),
        kib / 1024.0 / 1024.0,
        read("/proc/sys/kernel/osrelease").trim(),
        load.split_whitespace().next().unwrap_or("unknown"),
    );
    text
}
