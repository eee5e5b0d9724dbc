//! THE table of units: one constant each.
//!
//! To add a unit: a constant here, its name in `UNITS`; a rule that none has so far is a variant of
//! [`Rule`](super::Rule), a function in `oracle.rs` and one in `arch/generic/units.rs`.

use super::unit::{
    ANY, BRAIN, Evidence, F8F6F4, FNUZ, Fused, GAUDI, HALF, Inputs, OCP, Output, Rule, SIXTEEN,
    TF32_ONLY, Unit,
};

const XIE: &str = "Xie et al., MMA-Sim, arXiv:2511.10909, package mmasim 2.1.1 (MIT)";
const NORTH: &str = "models and measured outputs of MATLAB-tensor-core, arXiv:2512.07004 (BSD-2)";

/// A row: T-FDPA with c among the terms.
const fn fused(
    [name, hardware, source]: [&'static str; 3],
    inputs: Inputs,
    (products, fraction, zero): (u32, u32, i32),
    output: Output,
    evidence: Evidence,
) -> Unit {
    let rule = Rule::Fused(Fused { products, fraction, zero, late: None, scaled: false });
    Unit { name, hardware, inputs, output, rule, evidence, source }
}

macro_rules! units {
    ($($(#[$doc:meta])* $id:ident = $unit:expr;)*) => {
        $($(#[$doc])* pub const $id: Unit = $unit;)*

        /// Every unit, in the table's order.
        pub static UNITS: &[&Unit] = &[$(&$id),*];
    };
}

pub(super) const WHAT: &str = "matrix unit (see `quarter units`)";

use Evidence::{Definition, Measured, Peer, Vendor};
use Output::{E8M13, F16, F32};

units! {
    /// NVIDIA Volta: `mma` of f16 into f32.
    V100_F16 = fused(["v100-f16", "NVIDIA V100, mma f16", NORTH], HALF, (4, 23, -131), F32, Measured);
    /// The same into f16.
    V100_F16_F16 = fused(["v100-f16-f16", "NVIDIA V100, mma f16 into f16", NORTH], HALF, (4, 23, -19), F16, Measured);
    /// NVIDIA Turing: `mma` of f16 into f32, steps of eight; m8n8k4 follows [`V100_F16`].
    T4_F16 = fused(["t4-f16", "NVIDIA T4, mma f16", XIE], HALF, (8, 24, -132), F32, Peer);
    /// NVIDIA Ampere: `mma` of f16 and bf16 into f32.
    ///
    /// One step was measured; that steps follow each other along K is a peer's model.
    A100_16BIT = fused(["a100-16bit", "NVIDIA A100, A2, mma f16 and bf16", NORTH], SIXTEEN, (8, 24, -132), F32, Measured);
    /// The same into f16.
    A100_F16_F16 = fused(["a100-f16-f16", "NVIDIA A100, A2, mma f16 into f16", NORTH], HALF, (8, 24, -20), F16, Measured);
    /// NVIDIA Ampere: `mma` of TF32.
    A100_TF32 = fused(["a100-tf32", "NVIDIA A100, A2, mma tf32", NORTH], TF32_ONLY, (4, 24, -132), F32, Measured);
    /// NVIDIA Ada: 16 bits as [`A100_16BIT`].
    ADA_16BIT = fused(["ada-16bit", "NVIDIA RTX 40, L40S, mma f16 and bf16", NORTH], SIXTEEN, (8, 24, -132), F32, Measured);
    /// The same into f16.
    ADA_F16_F16 = fused(["ada-f16-f16", "NVIDIA RTX 40, L40S, mma f16 into f16", NORTH], HALF, (8, 24, -20), F16, Measured);
    /// NVIDIA Ada: `mma` of TF32.
    ADA_TF32 = fused(["ada-tf32", "NVIDIA RTX 40, L40S, mma tf32", NORTH], TF32_ONLY, (4, 24, -132), F32, Measured);
    /// NVIDIA Ada: `mma` of FP8 into f32, sixteen products a step, 13 bits below the largest.
    ///
    /// Measured with c, and over two steps.
    ADA_FP8 = fused(["ada-fp8", "NVIDIA RTX 40, L40S, mma e4m3 and e5m2", NORTH], OCP, (16, 13, -132), E8M13, Measured);
    /// The same into f16.
    ADA_FP8_F16 = fused(["ada-fp8-f16", "NVIDIA RTX 40, L40S, mma e4m3 and e5m2 into f16", NORTH], OCP, (16, 13, -20), F16, Measured);
    /// NVIDIA Hopper: `mma` and `wgmma` of f16 and bf16 into f32.
    H100_16BIT = fused(["h100-16bit", "NVIDIA H100, H200, mma and wgmma f16 and bf16", NORTH], SIXTEEN, (16, 25, -133), F32, Measured);
    /// The same into f16.
    H100_F16_F16 = fused(["h100-f16-f16", "NVIDIA H100, H200, mma and wgmma f16 into f16", NORTH], HALF, (16, 25, -21), F16, Measured);
    /// NVIDIA Hopper: TF32. Four of the eight products of a step were measured.
    H100_TF32 = fused(["h100-tf32", "NVIDIA H100, H200, mma and wgmma tf32", NORTH], TF32_ONLY, (8, 25, -133), F32, Measured);
    /// NVIDIA Hopper: `wgmma` of FP8 into f32: the accumulator of 14 bits.
    ///
    /// Measured with c = 0 and one step; that c is one of the aligned terms, and that steps follow
    /// each other, are a peer's model, which one probe of c confirms (SageAttention2).
    H100_WGMMA_FP8 = fused(["h100-wgmma-fp8", "NVIDIA H100, H200, H800, wgmma e4m3 and e5m2", NORTH], OCP, (32, 13, -133), E8M13, Measured);
    /// The same into f16: a peer's model.
    H100_WGMMA_FP8_F16 = fused(["h100-wgmma-fp8-f16", "NVIDIA H100, H200, wgmma e4m3 and e5m2 into f16", XIE], OCP, (32, 13, -21), F16, Peer);
    /// `mma.sync` of FP8 on Hopper and Blackwell, which is no FP8 unit: the compiler makes f16 of it
    /// (NVIDIA, cutlass issue 1986).
    ///
    /// Into f16 the measured outputs fix the order of the sums; into f32 they cannot tell groupings
    /// apart, and fix only that c is added last. On Hopper into f32 nothing was measured.
    HOPPER_MMA_SYNC_FP8 = Unit {
        name: "hopper-mma-sync-fp8",
        hardware: "NVIDIA H100, H200, B200, mma.sync e4m3 and e5m2",
        inputs: OCP,
        output: F32,
        rule: Rule::Fused(Fused { products: 16, fraction: 25, zero: -133, late: Some(32), scaled: false }),
        evidence: Measured,
        source: NORTH,
    };
    /// The same into f16.
    HOPPER_MMA_SYNC_FP8_F16 = Unit {
        name: "hopper-mma-sync-fp8-f16",
        hardware: "NVIDIA H100, H200, B200, mma.sync e4m3 and e5m2 into f16",
        output: F16,
        rule: Rule::Fused(Fused { products: 16, fraction: 25, zero: -21, late: Some(32), scaled: false }),
        ..HOPPER_MMA_SYNC_FP8
    };
    /// NVIDIA Blackwell: `mma` of f16 and bf16, as on Hopper; `tcgen05` was not measured.
    B200_16BIT = fused(["b200-16bit", "NVIDIA B200, mma and tcgen05 f16 and bf16", NORTH], SIXTEEN, (16, 25, -133), F32, Measured);
    /// The same into f16.
    B200_F16_F16 = fused(["b200-f16-f16", "NVIDIA B200, mma and tcgen05 f16 into f16", NORTH], HALF, (16, 25, -21), F16, Measured);
    /// NVIDIA Blackwell: TF32.
    B200_TF32 = fused(["b200-tf32", "NVIDIA B200, mma and tcgen05 tf32", NORTH], TF32_ONLY, (8, 25, -133), F32, Measured);
    /// NVIDIA Blackwell: `tcgen05` `kind::f8f6f4` and `mma` of sm_120: 8, 6 and 4 bits with 25 bits
    /// below the largest. A peer's model; that 25 bits are kept was found by others too (DeepGEMM
    /// issue 176).
    B200_FP8 = fused(["b200-fp8", "NVIDIA B200, tcgen05 kind::f8f6f4", XIE], F8F6F4, (32, 25, -133), F32, Peer);
    /// The same into f16.
    B200_FP8_F16 = fused(["b200-fp8-f16", "NVIDIA B200, tcgen05 kind::f8f6f4 into f16", XIE], F8F6F4, (32, 25, -21), F16, Peer);
    /// NVIDIA Blackwell: MXFP8, whose E8M0 scales enter the alignment; a peer's model.
    B200_MXFP8 = Unit {
        name: "b200-mxfp8",
        hardware: "NVIDIA B200, tcgen05 kind::mxf8f6f4, blocks of 32",
        inputs: F8F6F4,
        output: F32,
        rule: Rule::Fused(Fused { products: 32, fraction: 25, zero: -133, late: None, scaled: true }),
        evidence: Peer,
        source: XIE,
    };
    /// AMD CDNA3: MFMA of f16 and bf16, with c floored: negative terms lean to −Inf.
    ///
    /// Two models agree; nobody has published outputs.
    CDNA3_16BIT = Unit {
        name: "cdna3-16bit",
        hardware: "AMD MI300, MFMA f16 and bf16",
        inputs: SIXTEEN,
        output: F32,
        rule: Rule::Cdna3 { products: 8, halves: false },
        evidence: Peer,
        source: XIE,
    };
    /// AMD CDNA3: MFMA of FP8 (FNUZ), even and odd elements apart.
    ///
    /// Two models agree; nobody has published outputs.
    CDNA3_FP8 = Unit {
        name: "cdna3-fp8",
        hardware: "AMD MI300, MFMA e4m3fnuz and e5m2fnuz",
        inputs: FNUZ,
        rule: Rule::Cdna3 { products: 16, halves: true },
        ..CDNA3_16BIT
    };
    /// Intel Gaudi 3: its MME on FP8 and bf16. The vendor's model for verification of the chip.
    GAUDI3 = fused(
        ["gaudi3", "Intel Gaudi 3, MME e4m3, e5m2 and bf16", "HabanaAI Intel_Gaudi3_Software, chip_fma reference (MIT)"],
        GAUDI, (8, 24, -132), F32, Vendor,
    );
    /// x86's `vdpbf16ps`: two fused multiply-adds, the odd element first.
    ///
    /// Measured on AMD Zen 4; Intel's pseudocode says the same, its chips were not measured.
    VDPBF16PS = Unit {
        name: "vdpbf16ps",
        hardware: "x86 AVX512-BF16, vdpbf16ps",
        inputs: BRAIN,
        output: F32,
        rule: Rule::FmaPairs,
        evidence: Measured,
        source: "Intel SDM, VDPBF16PS; measured on AMD EPYC 9004 (Zen 4)",
    };
    /// Intel AMX: `tdpbf16ps`, c last. Intel's pseudocode in the SDM; the Intrinsics Guide adds to c in
    /// another order, and nothing was measured.
    AMX_BF16 = Unit {
        name: "amx-bf16",
        hardware: "Intel AMX-BF16, tdpbf16ps",
        rule: Rule::Amx,
        evidence: Vendor,
        source: "Intel SDM, TDPBF16PS",
        ..VDPBF16PS
    };
    /// Arm `bfdot` and `bfmmla` where FPCR.EBF is 0: roundings to odd.
    ///
    /// Arm's pseudocode; `bfmmla` is two steps of `bfdot`.
    ARM_BFDOT = Unit {
        name: "arm-bfdot",
        hardware: "Arm BFDOT, BFMMLA, FPCR.EBF = 0",
        rule: Rule::BfDot { extended: false },
        source: "Arm Architecture Reference Manual, BFDotAdd",
        ..AMX_BF16
    };
    /// The same where FPCR.EBF is 1, with FPCR's other bits 0: to nearest even, subnormals kept.
    ARM_BFDOT_EBF = Unit {
        name: "arm-bfdot-ebf",
        hardware: "Arm BFDOT, BFMMLA, FPCR.EBF = 1",
        rule: Rule::BfDot { extended: true },
        ..ARM_BFDOT
    };
    /// No hardware: the exact sum of everything, rounded once; what is too small, and −0, is +0.
    EXACT = Unit {
        name: "exact",
        hardware: "none: the exact sum, one rounding to nearest even",
        inputs: ANY,
        output: F32,
        rule: Rule::Exact,
        evidence: Definition,
        source: "a correctly rounded dot product",
    };
}
