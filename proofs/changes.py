"""Changes of the source on purpose: each must make its theorem false."""

# File, text, what takes its place, and the theorem that must become false.
MUTANTS = [
    (
        "encode.rs",
        "NearestEven => fraction > HALF || fraction == HALF && (sticky || kept & 1 == 1)",
        "NearestEven => fraction >= HALF",
        "f64 → F8E4M3, NearestEven NonFinite Zero",
    ),
    (
        "encode.rs",
        "let sticky = lost | self.sticky;",
        "let sticky = self.sticky;",
        "f64 → F8E5M2, Up NonFinite Zero",
    ),
    (
        "encode.rs",
        "let sticky = lost | self.sticky;",
        "let sticky = lost;",
        "significand and sticky bit → BF16, NearestEven",
    ),
    (
        "encode.rs",
        "let inexact = fraction != 0 || sticky;",
        "let inexact = fraction != 0;",
        "f64 → F6E2M3, Down NonFinite Zero",
    ),
    ("encode.rs", "(0, 0, true)", "(0, 0, false)", "f64 → F8E5M2, Up NonFinite Zero"),
    ("encode.rs", "shift < 128", "shift < 66", "f64 → F8E4M3, Stochastic with 8 bits"),
    ("encode.rs", "shift < 64 {", "shift < 63 {", "f64 → F8E3M4, TowardZero NonFinite Zero"),
    (
        "encode.rs",
        "(0, significand, false)",
        "(0, significand, true)",
        "f64 → F8E3M4, NearestEven NonFinite Zero",
    ),
    (
        "encode.rs",
        "split(self.significand, shift)",
        "split(self.significand >> 40 << 40, shift)",
        "f64 → F8E4M3, NearestEven NonFinite Zero",
    ),
    (
        "encode.rs",
        "as i64 - self.exponent as i64)",
        "as i64 - self.exponent as i64 - 1)",
        "f64 → F16, NearestEven NonFinite Zero",
    ),
    (
        "encode.rs",
        "magnitude > spec.max_code()",
        "magnitude >= spec.max_code()",
        "f64 → F8E4M3, NearestEven NonFinite Zero",
    ),
    (
        "encode.rs",
        "if magnitude > spec.max_code()",
        "if self.exponent > spec.emax()",
        "f64 → F8E4M3, NearestEven NonFinite Zero",
    ),
    (
        "encode.rs",
        "Rounding::NearestAway => fraction >= HALF",
        "Rounding::NearestAway => fraction > HALF",
        "f64 → F4E2M1, NearestAway NonFinite Zero",
    ),
    (
        "encode.rs",
        "Rounding::Up => inexact && !negative",
        "Rounding::Up => inexact",
        "f64 → F8E4M3B11FNUZ, Up NonFinite Zero",
    ),
    (
        "encode.rs",
        "let inward = policy.rounding.is_inward(negative);",
        "let inward = false;",
        "f64 → F8E4M3, TowardZero NonFinite Zero",
    ),
    (
        "round.rs",
        "Self::Up => negative,",
        "Self::Up => !negative,",
        "f64 → BF16, Up NonFinite Zero",
    ),
    (
        "encode.rs",
        "if magnitude == 0 && !spec.has_neg_zero() { 0 }",
        "if false { 0 }",
        "f64 → F8E4M3FNUZ, NearestEven NonFinite Zero",
    ),
    (
        "encode.rs",
        "return sign | beyond(spec, policy.overflow),",
        "return sign | beyond(spec, Overflow::NonFinite),",
        "f64 → F8E4M3, NearestEven, saturating",
    ),
    (
        "encode.rs",
        "(Some(code), _) if negative => code | spec.sign_mask(),",
        "",
        "f64 → F8E5M2, NearestEven NonFinite Zero",
    ),
    (
        "encode.rs",
        "(None, NanPolicy::Max) => spec.max_code()",
        "(None, NanPolicy::Max) => 0",
        "f64 → F6E3M2, NearestEven NonFinite Max",
    ),
    (
        "encode.rs",
        "magnitude.saturating_sub(1)",
        "magnitude - 1",
        "f64 → E8M0, TowardZero NonFinite",
    ),
    (
        "encode.rs",
        "like_zero = spec.has_zero || matches!(policy.rounding, Rounding::NearestEven)",
        "like_zero = spec.has_zero",
        "f64 → E8M0, NearestEven NonFinite",
    ),
    (
        "encode.rs",
        "as u64 >= 1 << bits",
        "as u64 > 1 << bits",
        "f64 → F8E4M3, Stochastic with 8 bits",
    ),
    (
        "encode.rs",
        "(sticky || whole & 1 == 0)",
        "(sticky || whole & 1 == 1)",
        "f64 → BF16, StochasticOdd with 9 bits",
    ),
    ("decode.rs", "spec.emin() - lsb)", "-spec.bias - lsb)", "F8E4M3 → f64 and back"),
    ("decode.rs", "mantissa | 1 << spec.man_bits,", "mantissa,", "F6E3M2 → f64 and back"),
    (
        "decode.rs",
        "exponent: exponent + 63 - shift as i32",
        "exponent: exponent + 63",
        "F16 is the f64 of its value",
    ),
    (
        "spec.rs",
        "Specials::NanAllOnes => self.magnitude_mask() - 1",
        "Specials::NanAllOnes => self.magnitude_mask()",
        "f64 → F8E4M3, NearestEven, saturating",
    ),
    (
        "table.rs",
        "exp 4 man 3 bias 8 NanNegZero",
        "exp 4 man 3 bias 7 NanNegZero",
        "F8E4M3FNUZ → f64 and back",
    ),
]
# A change that changes nothing, which must not be found.
NEUTRAL = ("encode.rs", "if self.exponent > emin {", "if self.exponent >= emin {")
