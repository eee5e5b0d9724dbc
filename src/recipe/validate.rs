//! Whether a recipe can be carried out, and if not, what to change.

use super::{Pass, Recipe, Role};
use crate::error::Error;
use crate::scale::Granularity;
use crate::tensor::Cast;

/// The operands as errors name them: by product, then a and b.
const FIELDS: [[&str; 2]; 3] = [
    ["fprop, a (x)", "fprop, b (w)"],
    ["dgrad, a (dy)", "dgrad, b (w transposed)"],
    ["wgrad, a (dy transposed)", "wgrad, b (x transposed)"],
];

const NAME_MAX: usize = 64;

impl Recipe {
    /// Whether it can be carried out.
    ///
    /// # Errors
    /// [`Error::Recipe`] or [`Error::Range`], naming the product and operand and what to change:
    /// a name that could not be read back; a cast that [`Cast::check`] refuses; a scale for each
    /// k (`col`, `128x1`); blocks whose scales or sums do not go together; a block sum without
    /// blocks that have f32 scales; an interval of promotion of 0; `te-delayed` or `msamp` by rows or blocks, without histories, or two casts
    /// on one history.
    pub fn validate(&self) -> Result<(), Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if self.name.is_empty() || self.name.len() > NAME_MAX || !self.name.chars().all(plain) {
            return wrong("name", "use 1 to 64 letters, digits, '_', '-' and '.'");
        }
        for (pass, fields) in Pass::ALL.iter().zip(FIELDS) {
            let gemm = self.gemm(*pass);
            for (operand, field) in [&gemm.a, &gemm.b].into_iter().zip(fields) {
                operand.cast().map_or(Ok(()), |cast| operand_fits(cast, field))?;
            }
            if gemm.sums.promote == Some(0) {
                return wrong(pass.name(), "promote=0: give the elements of K between promotions");
            }
            gemm.check_unit().map_err(|error| match error {
                Error::Recipe { why, .. } => Error::Recipe { field: pass.name(), why },
                other => other,
            })?;
            let block_sum = gemm.block_sum().map_err(|error| match error {
                Error::Recipe { why, .. } => Error::Recipe { field: pass.name(), why },
                other => other,
            })?;
            if gemm.sums.block_sum.is_some() && block_sum.is_none() {
                return wrong(
                    pass.name(),
                    "+sum= says how blocks with f32 scales join, and neither operand has such \
                     blocks: drop +sum=",
                );
            }
        }
        Role::ALL.iter().try_for_each(|role| self.history_fits(*role))
    }

    fn history_fits(&self, role: Role) -> Result<(), Error> {
        let field = role.name();
        if let Some(delayed) = &self.delayed {
            delayed.of(role).check()?;
        }
        let Some(cast) = self.history_cast(role) else { return Ok(()) };
        if self.delayed.is_none() {
            return wrong(field, "its rule keeps a history: add delayed=1024:max:bulk:te");
        }
        let mut kept = self.casts(role).filter(|other| other.rule.keeps_history());
        if kept.any(|other| (other.format, other.rule) != (cast.format, cast.rule)) {
            return wrong(
                field,
                "its two products have other formats or rules, but it has one history: give both \
                 the same cast",
            );
        }
        Ok(())
    }
}

fn operand_fits(cast: &Cast, field: &'static str) -> Result<(), Error> {
    cast.check().map_err(|error| match error {
        Error::Cast { why } => Error::Recipe { field, why },
        other => other,
    })?;
    match cast.granularity {
        Granularity::Tensor => Ok(()),
        _ if cast.rule.keeps_history() => {
            wrong(field, "te-delayed and msamp keep one amax for a tensor: use granularity tensor")
        }
        Granularity::Row | Granularity::Block { rows: 1, .. } => Ok(()),
        Granularity::Col | Granularity::Block { cols: 1, .. } => wrong(
            field,
            "its scale changes with every k, and no segment of a sum has one scale: in a recipe K \
             is the last axis, so use row for col, 1x128 for 128x1",
        ),
        Granularity::Block { .. } => Ok(()),
    }
}

fn wrong(field: &'static str, why: &'static str) -> Result<(), Error> {
    Err(Error::Recipe { field, why })
}
