//! What an accumulator of a few bits does to dot products: the chapter of `quarter::mma` as a table
//! and as plots. docs/ has what this writes.
//!
//! `cargo run --release --example accumulators -- [FOLDER]`

#[path = "accumulators/measure.rs"]
mod measure;
#[path = "accumulators/plot.rs"]
mod plot;

use measure::{Draw, LINES, ROWS, Random};
use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args_os().nth(1).unwrap_or("target/accumulators".into()));
    println!("errors in %: of K equal products, and of normal matrices of {ROWS} rows");
    println!("{:34} {:>5} {:>10} {:>12} {:>12}", "unit", "K", "equal", "rms", "largest");
    for k in plot::DEPTHS {
        let random = Random::new(Draw::Normal, ROWS, k)?;
        for line in &LINES {
            let (equal, normal) = (100.0 * line.constant(k)?.1, random.errors(line)?);
            let (rms, largest) = (100.0 * normal.rms, 100.0 * normal.largest);
            println!("{:34} {k:5} {equal:10.4} {rms:12.7} {largest:12.7}", line.label);
        }
    }
    for (name, draw) in [("normal", Draw::Normal), ("uniform from 0 to 1", Draw::Uniform)] {
        println!("errors in % of each output's own, K = 4096, {name}");
        let random = Random::new(draw, ROWS, 4096)?;
        for line in &LINES {
            let own = random.errors(line)?.own;
            let [median, largest] = [own.len() / 2, own.len() - 1].map(|i| 100.0 * own[i]);
            println!("{:34} median {median:10.5} largest {largest:12.5}", line.label);
        }
    }
    fs::create_dir_all(&folder)?;
    for (name, text) in plot::plots()? {
        fs::write(folder.join(name), text)?;
        println!("{}", folder.join(name).display());
    }
    Ok(())
}
