//! Stochastic rounding keeps a sum of small steps alive where nearest rounding loses it.
//!
//! `cargo run --release --example stochastic`

use quarter::{Error, F8E4M3, Format, Policy, RandomStream, Rounding};

fn main() -> Result<(), Error> {
    let step = 1.0 / 64.0; // an eighth of the spacing of E4M3 in [1, 2)
    let steps = 64;
    let mut exact = 1.0_f32;
    let mut nearest = F8E4M3::ONE;
    let trials = 1000_u32;
    let mut stochastic = vec![F8E4M3::ONE; trials as usize];
    let policy = Policy::SATURATE.rounding(Rounding::STOCHASTIC);
    for i in 0..steps {
        exact += step;
        nearest = F8E4M3::from_f32_sat(nearest.to_f32() + step);
        for (trial, x) in stochastic.iter_mut().enumerate() {
            // The word depends on where it is used, not on when: reruns give the same bits.
            let stream = RandomStream { seed: 1, tensor: trial as u32, step: i };
            *x = F8E4M3::convert_stochastic(x.to_f32() + step, policy, stream.word(0))?;
        }
    }
    let mean = stochastic.iter().map(|x| x.to_f32()).sum::<f32>() / trials as f32;
    println!("after {steps} steps of {step} from 1: exact {exact}");
    println!("  nearest even          {nearest}");
    println!("  stochastic, mean of {trials} {mean:.3}");
    Ok(())
}
