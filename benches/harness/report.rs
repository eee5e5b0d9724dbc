//! What was measured, as a table for people or JSON lines for programs.

use super::machine::Machine;

/// One contestant's figures.
pub struct Row {
    name: String,
    /// Gelem/s over the rounds: median, lowest, highest.
    rate: [f64; 3],
    /// Bytes read and written a second at the median, in 10^9.
    bandwidth: f64,
    /// How many times as fast as this the group's first contestant is, median over the rounds.
    first: f64,
    rounds: usize,
}

impl Row {
    /// From the seconds of each round, and the first contestant's in the same rounds.
    pub fn new(name: &str, elements: usize, bytes: f64, seconds: &[f64], first: &[f64]) -> Self {
        let rates: Vec<f64> = seconds.iter().map(|s| elements as f64 / s / 1e9).collect();
        let ratios = seconds.iter().zip(first).map(|(s, f)| s / f).collect();
        let sorted = sorted(rates);
        let median = median(&sorted);
        Self {
            name: name.into(),
            rate: [median, sorted[0], sorted[sorted.len() - 1]],
            bandwidth: median * bytes,
            first: self::median(&self::sorted(ratios)),
            rounds: seconds.len(),
        }
    }
}

/// What was measured of a runner: rates, and the share of yardsticks' that they are.
pub struct Rate<'a> {
    name: &'a str,
    unit: &'static str,
    /// 10^9 a second over the rounds: median, lowest, highest.
    rate: [f64; 3],
    /// Of whom: medians over the same rounds.
    shares: Vec<(f64, &'a str)>,
    /// How many times as fast others are, medians of the ratios within a round.
    ratios: Vec<(f64, &'a str)>,
    rounds: usize,
}

impl<'a> Rate<'a> {
    pub fn new(
        name: &'a str,
        unit: &'static str,
        rates: &[f64],
        shares: Vec<(f64, &'a str)>,
        ratios: Vec<(f64, &'a str)>,
    ) -> Self {
        let sorted = sorted(rates.to_vec());
        let rate = [median(&sorted), sorted[0], sorted[sorted.len() - 1]];
        Self { name, unit, rate, shares, ratios, rounds: rates.len() }
    }
}

pub fn sorted_median(values: Vec<f64>) -> f64 {
    median(&sorted(values))
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
    f64::midpoint(sorted[low], sorted[high])
}

/// Where results go: standard output.
pub struct Report {
    json: bool,
}

impl Report {
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    pub fn machine(&self, suite: &str, m: &Machine) {
        let Machine { cpu, cores, ghz, isas, features } = m;
        if self.json {
            println!(
                r#"{{"suite":{},"cpu":{},"cores":{cores},"ghz":{ghz:.2},"isas":{},"compiled_for":{}}}"#,
                quoted(suite),
                quoted(cpu),
                quoted(isas),
                quoted(features),
            );
        } else {
            println!("# {suite}\n");
            println!("{cpu}, {cores} cores, about {ghz:.2} GHz; {isas}; compiled for {features}.");
            println!("Median (lowest to highest) of rounds. GB/s: bytes read and written.");
            println!(
                "x: how many times as fast the first or the named row is, in the same rounds."
            );
        }
    }

    pub fn group(&self, title: &str, case: &str, elements: usize, threads: usize, rows: &[Row]) {
        if self.json {
            for row in rows {
                let Row { name, rate: [median, low, high], bandwidth, first, rounds } = row;
                println!(
                    "{{\"case\":{},\"elements\":{elements},\"threads\":{threads},\"name\":{},\
                     \"gelem_s\":{median:.4},\"low\":{low:.4},\"high\":{high:.4},\
                     \"gb_s\":{bandwidth:.3},\"first_over_this\":{first:.4},\"rounds\":{rounds}}}",
                    quoted(case),
                    quoted(name),
                );
            }
            return;
        }
        println!("\n{title} ({} rounds)", rows[0].rounds);
        let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        for Row { name, rate: [median, low, high], bandwidth, first, .. } in rows {
            println!(
                "  {name:width$}  {median:8.3} ({low:7.3} to {high:7.3}) Gelem/s  {bandwidth:6.1} GB/s  {first:7.2} x"
            );
        }
    }

    pub fn contest(&self, title: &str, case: &str, threads: usize, rows: &[Rate<'_>]) {
        if self.json {
            for Rate { name, unit, rate: [median, low, high], shares, ratios, rounds } in rows {
                let object = |pairs: &[(f64, &str)]| {
                    let pairs: Vec<_> =
                        pairs.iter().map(|(x, of)| format!("{}:{x:.4}", quoted(of))).collect();
                    format!("{{{}}}", pairs.join(","))
                };
                println!(
                    "{{\"case\":{},\"threads\":{threads},\"name\":{},\"unit\":\"{unit}\",\
                     \"median\":{median:.4},\"low\":{low:.4},\"high\":{high:.4},\
                     \"shares\":{},\"others_over_this\":{},\"rounds\":{rounds}}}",
                    quoted(case),
                    quoted(name),
                    object(shares),
                    object(ratios),
                );
            }
            return;
        }
        println!("\n{title} ({} rounds)", rows[0].rounds);
        let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        for Rate { name, unit, rate: [median, low, high], shares, ratios, .. } in rows {
            let mut text =
                format!("  {name:width$}  {median:8.2} ({low:7.2} to {high:7.2}) {unit:7}");
            for (share, of) in shares {
                text += &format!("  {:5.1} % of {of}", 100.0 * share);
            }
            for (ratio, other) in ratios {
                text += &format!("  {ratio:6.2} x {other}");
            }
            println!("{}", text.trim_end());
        }
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => out.push(' '),
            c => out.push(c),
        }
    }
    out + "\""
}
