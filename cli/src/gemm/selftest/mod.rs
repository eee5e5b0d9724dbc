//! `quarter gemm --selftest`: a fixed list of products, and a digest of all their bits.
//!
//! The list is in `cases.rs`: every recipe, ragged shapes, every way to sum, what is not finite,
//! every output. The data comes from integers (`data.rs`), so that nothing but the product and the
//! casts can differ from machine to machine.
//!
//! The digest is FNV-1a of 64 bits over the bytes of the outputs, little-endian, each NaN as one
//! and the same, and of the amax where it is asked for. A new product belongs at the end of its
//! group; it changes [`EXPECTED`] and the line in README.md, which a test compares. The library's
//! tests compile these files too, so that they run where the command line is not built.

mod cases;
mod data;

use cases::GROUPS;
use data::Data;
use half::{bf16, f16};
use quarter::gemm::{GemmInput, GemmOptions, GemmOutput, GemmStats, gemm_nt, reference};
use quarter::slice::ValuesMut;
use quarter::tensor::{MatMut, QuantizeOptions};
use quarter::{FormatId, Isa};

/// The digest of every machine.
pub const EXPECTED: u64 = 0xc2a9_4906_b1b3_8540;

/// What multiplies.
pub type Multiply = for<'a> fn(
    GemmInput<'a>,
    GemmInput<'a>,
    GemmOutput<'a>,
    &GemmOptions<'_>,
) -> quarter::Result<GemmStats>;

/// The library's product.
pub const PRODUCT: Multiply = |a, b, out, options| gemm_nt(a, b, out, options);
/// Its definition.
pub const DEFINITION: Multiply = |a, b, out, options| reference::gemm_nt(a, b, out, options);

/// A part of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it is about.
    pub name: &'static str,
    /// Its products.
    pub products: usize,
    /// The digest of them.
    pub digest: u64,
}

/// Multiplies all; gives the groups and the digest of their digests.
///
/// # Errors
/// If a product is refused: none is.
pub fn digest(multiply: Multiply, isa: Isa, threads: usize) -> quarter::Result<(Vec<Group>, u64)> {
    let (mut groups, mut all) = (Vec::new(), Digest::new());
    for (name, products) in GROUPS {
        let mut run = Run { multiply, isa, threads, digest: Digest::new(), products: 0 };
        products(&mut run)?;
        let Run { digest: Digest(digest), products, .. } = run;
        all.add(&digest.to_le_bytes());
        groups.push(Group { name, products, digest });
    }
    Ok((groups, all.0))
}

/// FNV-1a.
#[derive(Clone, Copy)]
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Where results go.
#[derive(Clone, Copy)]
enum Out {
    F64,
    F32,
    F16,
    Bf16,
    /// Codes, and what results are multiplied by.
    Codes(FormatId, f32),
    /// f32 rows at a distance of so many more elements.
    Apart(usize),
}

/// A group that is being multiplied.
struct Run {
    multiply: Multiply,
    isa: Isa,
    threads: usize,
    digest: Digest,
    products: usize,
}

impl Run {
    fn casts(&self) -> QuantizeOptions<'static> {
        QuantizeOptions::new().isa(self.isa).threads(self.threads)
    }

    /// Multiplies into f32.
    fn plain<'a>(
        &mut self,
        a: impl Into<GemmInput<'a>>,
        b: impl Into<GemmInput<'a>>,
    ) -> quarter::Result<()> {
        self.product(a, b, Out::F32, &GemmOptions::new())
    }

    /// Multiplies into a matrix that holds numbers, and adds it to the digest.
    fn product<'a>(
        &mut self,
        a: impl Into<GemmInput<'a>>,
        b: impl Into<GemmInput<'a>>,
        out: Out,
        options: &GemmOptions<'_>,
    ) -> quarter::Result<()> {
        let (a, b) = (a.into(), b.into());
        let options = options.isa(self.isa).threads(self.threads);
        let stats = match out {
            Out::F32 => self.numbers(a, b, 0, &options, |x| x, |x| single(*x))?,
            Out::Apart(more) => self.numbers(a, b, more, &options, |x| x, |x| single(*x))?,
            Out::F64 => self.numbers(a, b, 0, &options, f64::from, |x| single(*x as f32))?,
            Out::F16 => self.numbers(a, b, 0, &options, f16::from_f32, |x| single(x.to_f32()))?,
            Out::Bf16 => self.numbers(a, b, 0, &options, bf16::from_f32, |x| single(x.to_f32()))?,
            Out::Codes(format, scale) => {
                let shape = (a.shape().0, b.shape().0);
                let mut codes = vec![0; shape.0 * shape.1];
                let place = GemmOutput::codes(&mut codes, shape, format, scale)?;
                let stats = (self.multiply)(a, b, place, &options)?;
                let nan = format.spec().nan_code().map_or(0, |code| code as u8);
                let is_nan = |code: &u8| format.spec().is_nan_code(u64::from(*code));
                codes.iter_mut().filter(|code| is_nan(code)).for_each(|code| *code = nan);
                self.digest.add(&codes);
                stats
            }
        };
        if let Some(amax) = stats.amax {
            self.digest.add(&single(amax));
        }
        self.products += 1;
        Ok(())
    }

    /// Multiplies into numbers of a type; what is between rows counts too.
    fn numbers<T>(
        &mut self,
        a: GemmInput<'_>,
        b: GemmInput<'_>,
        apart: usize,
        options: &GemmOptions<'_>,
        from: impl Fn(f32) -> T,
        bytes: impl Fn(&T) -> [u8; 4],
    ) -> quarter::Result<GemmStats>
    where
        for<'t> &'t mut Vec<T>: Into<ValuesMut<'t>>,
    {
        let (m, n) = (a.shape().0, b.shape().0);
        let mut data = Data::new(0x64);
        let mut d: Vec<T> = (0..m * (n + apart)).map(|_| from(data.number(-3, 3))).collect();
        let place = MatMut::with_row_stride(&mut d, (m, n), n + apart)?;
        let stats = (self.multiply)(a, b, place.into(), options)?;
        d.iter().for_each(|x| self.digest.add(&bytes(x)));
        Ok(stats)
    }
}

/// The bytes of an f32; of NaN always the same.
const fn single(x: f32) -> [u8; 4] {
    (if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() }).to_le_bytes()
}
