//! Steps after the sum that are left out, done twice or in another order.

use super::{GemmBound, Trials};
use crate::accuracy::bounds::Steps;
use crate::accuracy::check::Symptom;
use crate::gemm::Activation;

type Change = fn(&Steps, f64) -> f64;

fn other(steps: &Steps, sum: f64, change: impl Fn(&mut Steps)) -> f64 {
    let mut steps = *steps;
    change(&mut steps);
    steps.of(sum)
}

/// What a kernel may do with a sum.
const CHANGES: [(Symptom, Change); 17] = [
    (Symptom::BiasTwice, |s, sum| other(s, sum, |s| s.bias *= 2.0)),
    (Symptom::BiasMissing, |s, sum| other(s, sum, |s| s.bias = 0.0)),
    (Symptom::Epilogue { wrong: "the bias is subtracted" }, |s, sum| {
        other(s, sum, |s| s.bias = -s.bias)
    }),
    (Symptom::Epilogue { wrong: "the bias is added after the activation" }, |s, sum| {
        let t = s.active(s.linear(sum) - s.bias);
        s.cut((t + s.bias) * s.scale)
    }),
    (Symptom::Epilogue { wrong: "the bias is added after the output's scale" }, |s, sum| {
        s.cut(s.active(s.linear(sum) - s.bias) * s.scale + s.bias)
    }),
    (Symptom::Epilogue { wrong: "alpha multiplies the bias, too" }, |s, sum| {
        other(s, sum, |s| s.bias *= s.alpha)
    }),
    (Symptom::Epilogue { wrong: "alpha is not applied" }, |s, sum| {
        other(s, sum, |s| s.alpha = 1.0)
    }),
    (Symptom::Epilogue { wrong: "alpha is applied twice" }, |s, sum| {
        other(s, sum, |s| s.alpha *= s.alpha)
    }),
    (Symptom::Epilogue { wrong: "alpha multiplies C, too" }, |s, sum| {
        other(s, sum, |s| s.beta *= s.alpha)
    }),
    (Symptom::Epilogue { wrong: "beta is not applied: all of C is added" }, |s, sum| {
        other(s, sum, |s| s.beta = 1.0)
    }),
    (Symptom::Epilogue { wrong: "C is not added" }, |s, sum| other(s, sum, |s| s.beta = 0.0)),
    (Symptom::Epilogue { wrong: "the activation is left out" }, |s, sum| {
        other(s, sum, |s| s.activation = Activation::None)
    }),
    (Symptom::Epilogue { wrong: "ReLU, which is not asked for" }, |s, sum| {
        other(s, sum, |s| s.activation = Activation::Relu)
    }),
    (Symptom::Epilogue { wrong: "GELU, which is not asked for" }, |s, sum| {
        other(s, sum, |s| s.activation = Activation::Gelu)
    }),
    (Symptom::Epilogue { wrong: "the output's scale is not applied" }, |s, sum| {
        other(s, sum, |s| s.scale = 1.0)
    }),
    (Symptom::Epilogue { wrong: "the output's scale is divided by" }, |s, sum| {
        other(s, sum, |s| s.scale = 1.0 / s.scale)
    }),
    (Symptom::Epilogue { wrong: "the output's scale is applied twice" }, |s, sum| {
        other(s, sum, |s| s.scale *= s.scale)
    }),
];

impl GemmBound<'_> {
    pub(super) fn steps_of(&self, trials: &mut Trials<'_>) {
        for (symptom, change) in CHANGES {
            trials.one(CHANGES.len() + 2, symptom, |e| {
                let (row, col) = self.place(e);
                change(&self.steps(row, col), self.exact_sum(row, col))
            });
        }
        let (m, n) = self.shape();
        if m > 1 && n > 1 {
            let wrong = "outputs are written column after column";
            trials.one(CHANGES.len() + 2, Symptom::Epilogue { wrong }, |e| {
                self.at(e.index % m, e.index / m).0
            });
        }
        if self.has_bias() && m > 1 {
            let wrong = "the bias is added by rows";
            trials.one(CHANGES.len() + 2, Symptom::Epilogue { wrong }, |e| {
                let (row, col) = self.place(e);
                let steps = self.steps(row, col);
                let bias = if row < n { self.steps(row, row).bias } else { steps.bias };
                Steps { bias, ..steps }.of(self.exact_sum(row, col))
            });
        }
    }
}
