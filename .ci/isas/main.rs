//! The instruction sets of this processor whose conversions differ: `avx512` has those of
//! `avx512bf16`, and tests of products go through every instruction set themselves.
fn main() {
    let names: Vec<_> = quarter::Isa::available().map(quarter::Isa::name).collect();
    let twice = |name: &str| name == "avx512" && names.contains(&"avx512bf16");
    for name in names.iter().filter(|name| !twice(name)) {
        println!("{name}");
    }
}
