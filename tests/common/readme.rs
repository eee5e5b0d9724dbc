//! What README says was counted, for the tests that count it.

const README: &str = include_str!("../../README.md");

/// The figures of a row of README's tables: what stands behind its name, without commas.
#[track_caller]
pub fn figures(row: &str) -> Vec<f64> {
    let line = README.lines().find(|line| line.starts_with(&format!("| {row} |")));
    let line = line.unwrap_or_else(|| panic!("README has no row `{row}`"));
    let cells = line.split('|').skip(2).map(|cell| cell.trim().replace(',', ""));
    cells.filter_map(|cell| cell.parse().ok()).collect()
}

/// Prints how many results were held to bounds, and the largest part of its bound that one took.
/// README says no more, and the same of the part; a thin run has fewer.
#[track_caller]
pub fn held(row: &str, count: u64, most: f64) {
    println!("{row}: {count} held, no violation, at most {most:.6} of the bound");
    let stated = figures(row);
    assert_eq!(stated.len(), 2, "{row}: {stated:?}");
    if super::share(16) == 16 {
        assert!(count as f64 >= stated[0], "README, {row}: {} held, counted {count}", stated[0]);
        assert!((most - stated[1]).abs() < 6e-4, "README, {row}: {} of it, not {most}", stated[1]);
    }
}

/// Holds a count of README to one of the sources.
#[track_caller]
pub fn counted(row: &str, count: usize) {
    assert_eq!(figures(row).first(), Some(&(count as f64)), "README, {row}: there are {count}");
}
