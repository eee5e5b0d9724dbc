//! A format of up to 8 bits as plain numbers and tables: what decoding kernels read.

use crate::format::{FormatId, FormatSpec, Specials, table};

/// How the codes of one format become f32 or bf16.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    /// f32 bits of every byte; bits above the format's are ignored.
    pub table: [u32; 256],
    /// High and low byte of the bf16 of codes 0 to 127, sign included.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub high: [u8; 128],
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub low: [u8; 128],
    /// Whether `high` and `low` are enough: a code over 127 is the one 128 below it with bit 7 of
    /// the high byte changed by `sign_128`; only code 128 itself may differ, and is `code_128`.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub half_table: bool,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub sign_128: u8,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub code_128: u16,
    /// Whether the arithmetic form applies: there are a zero and subnormals within f32's range.
    pub arithmetic: bool,
    pub code_mask: u32,
    pub magnitude_mask: u32,
    pub sign_shift: u32,
    pub shift: u32,
    pub rebias: u32,
    pub min_subnormal: f32,
    pub min_normal: u32,
    pub max: u32,
    /// The magnitude of Inf, or one that no code has.
    pub inf: u32,
    /// The code of NaN where it takes −0's place, or one that no code has.
    pub nan_neg_zero: u32,
}

const NO_CODE: u32 = 0x100;

impl Decoder {
    /// The decoder of a format of up to 8 bits that is within f32.
    pub const fn new(spec: &FormatSpec) -> Self {
        let mut table = [0; 256];
        let (mut high, mut low) = ([0; 128], [0; 128]);
        let mut code = 0;
        while code < 256 {
            table[code] = spec.decode_f32(code as u64).to_bits();
            if code < 128 {
                high[code] = (table[code] >> 24) as u8;
                low[code] = (table[code] >> 16) as u8;
            }
            code += 1;
        }
        let nan_neg_zero = match spec.specials() {
            Specials::NanNegZero => spec.sign_mask() as u32,
            Specials::Ieee | Specials::NanAllOnes | Specials::None => NO_CODE,
        };
        Self {
            high,
            low,
            half_table: spec.within(&table::BF16) && (spec.bits() < 8 || spec.signed()),
            sign_128: if spec.bits() == 8 { 0x80 } else { 0 },
            code_128: (table[128] >> 16) as u16,
            table,
            arithmetic: spec.has_zero() && spec.emin() >= -100 && spec.emax() <= 126,
            code_mask: spec.code_mask() as u32,
            magnitude_mask: spec.magnitude_mask() as u32,
            sign_shift: 32 - spec.bits(),
            shift: 23 - spec.man_bits(),
            rebias: ((127 - spec.bias()) as u32) << 23,
            min_subnormal: spec.min_positive() as f32,
            min_normal: spec.min_normal_code() as u32,
            max: spec.max_code() as u32,
            inf: match spec.inf_code() {
                Some(code) => code as u32,
                None => NO_CODE,
            },
            nan_neg_zero,
        }
    }
}

macro_rules! decoders {
    (
        numbers { $($(#[$d:meta])* $id:ident $spec:ident $name:literal $aliases:tt
            exp $exp:literal man $man:literal bias $bias:literal $specials:ident $source:literal;)* }
        scales { $($(#[$sd:meta])* $sid:ident $sspec:ident $sname:literal $saliases:tt
            exp $sexp:literal man $sman:literal bias $sbias:literal $sspecials:ident $ssource:literal;)* }
        wide { $($(#[$wd:meta])* $wid:ident $wspec:ident ($wtype:ty) $rest:ident $wname:literal
            $waliases:tt exp $wexp:literal man $wman:literal bias $wbias:literal $wsource:literal;)* }
    ) => {
        /// The decoder of a format of up to 8 bits, made at compile time; none for wider ones.
        pub(crate) fn decoder_of(id: FormatId) -> Option<&'static Decoder> {
            match id {
                $(FormatId::$id => {
                    static DECODER: Decoder = Decoder::new(&table::$spec);
                    Some(&DECODER)
                })*
                $(FormatId::$sid => {
                    static DECODER: Decoder = Decoder::new(&table::$sspec);
                    Some(&DECODER)
                })*
                $(FormatId::$wid => None,)*
            }
        }
    };
}
table::for_each_format!(decoders);
