//! Samples in rounds.

use std::time::{Duration, Instant};

/// What is timed: it works once and says how much that was, in operations or bytes.
pub type Round<'a> = &'a mut (dyn FnMut() -> f64 + Send);

/// A sample lasts at least this long: short work is repeated within it. Beside work that takes long
/// in one go, so do the samples of the others, but not longer than the second.
const SAMPLE: [Duration; 2] = [Duration::from_millis(4), Duration::from_millis(100)];
const ROUNDS: std::ops::RangeInclusive<usize> = 5..=1001;

/// Rates of each contestant, 10^9 a second, one a round, for about as long as the budget.
pub fn contest(budget: Duration, contestants: &mut [Round<'_>]) -> Vec<Vec<f64>> {
    let mut longest = Duration::ZERO;
    for contestant in &mut *contestants {
        contestant(); // pages, caches, clock
        let start = Instant::now();
        contestant();
        longest = longest.max(start.elapsed());
    }
    let length = (longest / 4).clamp(SAMPLE[0], SAMPLE[1]);
    let start = Instant::now();
    let mut rates = vec![Vec::new(); contestants.len()];
    let mut round = 0;
    while round < *ROUNDS.start() || round < *ROUNDS.end() && start.elapsed() < budget {
        // Another one begins each time, so that nobody always follows the same neighbour.
        for i in 0..contestants.len() {
            let i = (i + round) % contestants.len();
            rates[i].push(sample(length, contestants[i]));
        }
        round += 1;
    }
    rates
}

fn sample(length: Duration, work: Round<'_>) -> f64 {
    let start = Instant::now();
    let mut amount = 0.0;
    loop {
        amount += work();
        let elapsed = start.elapsed();
        if elapsed >= length {
            return amount / elapsed.as_secs_f64() / 1e9;
        }
    }
}

/// Median, lowest and highest.
pub fn spread(rates: &[f64]) -> [f64; 3] {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    match sorted[..] {
        [] => [0.0; 3],
        [least, .., most] => [f64::midpoint(sorted[low], sorted[high]), least, most],
        [only] => [only; 3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_few() {
        assert_eq!(spread(&[]), [0.0; 3]);
        assert_eq!(spread(&[2.0]), [2.0; 3]);
        assert_eq!(spread(&[3.0, 1.0]), [2.0, 1.0, 3.0]);
        assert_eq!(spread(&[5.0, 1.0, 2.0]), [2.0, 1.0, 5.0]);
    }

    #[test]
    fn every_contestant_once_a_round() {
        let (mut a, mut b) = (|| 1.0, || 1e9);
        let rates = contest(Duration::ZERO, &mut [&mut a, &mut b]);
        assert_eq!(rates.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5]);
        assert!(rates.iter().flatten().all(|rate| *rate > 0.0));
    }
}
