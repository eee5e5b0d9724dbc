//! The three products of a layer under each recipe are the products of the operands that it casts,
//! summed as it says.
#![cfg(feature = "std")]

mod common;

use common::gemm::ordinary;
use half::bf16;
use quarter::gemm::{GemmInput, GemmOptions, Workspace, reference};
use quarter::recipe::{Operand, Pass, Recipe, dgrad, fprop, presets, wgrad};
use quarter::tensor::{MatMut, MatRef, QuantizeOptions, Quantized, quantize};

const TOKENS: usize = 33;
const INPUTS: usize = 130;
const OUTPUTS: usize = 47;

/// Rows and columns of a tensor in its own layout.
fn shapes(pass: Pass) -> [(usize, usize); 2] {
    let (x, w, dy) = ((TOKENS, INPUTS), (OUTPUTS, INPUTS), (TOKENS, OUTPUTS));
    match pass {
        Pass::Fprop => [x, w],
        Pass::Dgrad => [dy, w],
        Pass::Wgrad => [dy, x],
    }
}

/// A tensor with K last, element by element.
fn turned(values: &[f32], (rows, cols): (usize, usize), transposed: bool) -> Vec<f32> {
    if !transposed {
        return values.to_vec();
    }
    (0..cols).flat_map(|c| (0..rows).map(move |r| values[r * cols + c])).collect()
}

enum Cast {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    Quantized(Quantized),
}

impl Cast {
    fn new(operand: &Operand, values: Vec<f32>, (rows, k): (usize, usize)) -> Self {
        match operand {
            Operand::F32 => Self::F32(values),
            Operand::Bf16 => Self::Bf16(values.into_iter().map(bf16::from_f32).collect()),
            Operand::Cast(cast) => {
                let values = MatRef::new(&values, rows, k).unwrap();
                Self::Quantized(quantize(values, cast, &QuantizeOptions::new()).unwrap())
            }
        }
    }

    fn input(&self, (rows, k): (usize, usize)) -> GemmInput<'_> {
        match self {
            Self::F32(values) => MatRef::new(values, rows, k).unwrap().into(),
            Self::Bf16(values) => MatRef::new(values, rows, k).unwrap().into(),
            Self::Quantized(quantized) => quantized.into(),
        }
    }
}

#[test]
fn every_pass_of_every_recipe() {
    let mut recipes: Vec<Recipe> = presets::ALL.iter().map(|(_, recipe)| recipe()).collect();
    let mine = "name=mine;fprop=e4m3:1x128:deepseek*e4m3:128x128:deepgemm+promote=32+sum=te;\
                dgrad=bf16*e4m3:row:torchao;wgrad=f32*bf16";
    recipes.push(mine.parse().unwrap());
    for recipe in &recipes {
        for &pass in Pass::ALL {
            let shapes = shapes(pass);
            let tensors = [(0, 1_u64), (1, 2)].map(|(i, seed)| {
                let (rows, cols) = shapes[i];
                ordinary(rows * cols, seed)
            });
            let gemm = recipe.gemm(pass);
            let turns = pass.operands().map(|(_, transposed)| transposed);
            let with_k_last = [0, 1].map(|i| {
                let (rows, cols) = shapes[i];
                if turns[i] { (cols, rows) } else { (rows, cols) }
            });
            let casts = [(0, &gemm.a), (1, &gemm.b)].map(|(i, operand)| {
                let values = turned(&tensors[i], shapes[i], turns[i]);
                Cast::new(operand, values, with_k_last[i])
            });
            let (m, n) = (with_k_last[0].0, with_k_last[1].0);
            let options = GemmOptions::new().sums(gemm.sums);
            let mut want = vec![0.0_f32; m * n];
            let out = MatMut::new(&mut want, m, n).unwrap();
            let [a, b] = [0, 1].map(|i| casts[i].input(with_k_last[i]));
            reference::gemm_nt(a, b, out, &options).unwrap();

            let sources =
                [0, 1].map(|i| MatRef::new(&tensors[i], shapes[i].0, shapes[i].1).unwrap());
            let (options, quantizing) = (GemmOptions::new(), QuantizeOptions::new());
            let mut space = Workspace::new();
            let mut at_once = vec![f32::NAN; m * n];
            let out = MatMut::new(&mut at_once, m, n).unwrap();
            recipe.product(pass, sources, out, &quantizing, &options, &mut space).unwrap();

            let [a, b] = [(0, &gemm.a), (1, &gemm.b)]
                .map(|(i, operand)| operand.prepare(sources[i], turns[i], &quantizing).unwrap());
            let mut prepared = vec![f32::NAN; m * n];
            let out = MatMut::new(&mut prepared, m, n).unwrap();
            match pass {
                Pass::Fprop => fprop(recipe, &a, &b, out, &options, &mut space),
                Pass::Dgrad => dgrad(recipe, &a, &b, out, &options, &mut space),
                Pass::Wgrad => wgrad(recipe, &a, &b, out, &options, &mut space),
            }
            .unwrap();
            for (name, got) in [("product", &at_once), (pass.name(), &prepared)] {
                let wrong = (0..m * n).find(|i| got[*i].to_bits() != want[*i].to_bits());
                assert_eq!(wrong, None, "{} of {pass}, {}", name, recipe.name);
            }
        }
    }
}
