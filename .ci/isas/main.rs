//! The names that `QUARTER_ISA` can have on this machine, one a line.

fn main() {
    for isa in quarter::Isa::available() {
        println!("{}", isa.name());
    }
}
