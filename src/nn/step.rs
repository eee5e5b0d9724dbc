//! What a layer needs of the training step that it is part of.

use super::Exec;
use crate::gemm::Workspace;
use crate::recipe::{AllReduce, RecipeState};

/// What layers share in a step.
///
/// ```
/// use quarter::gemm::Workspace;
/// use quarter::nn::Step;
/// use quarter::recipe::{RecipeState, presets};
/// let mut state = RecipeState::new(presets::blockwise(), 42, 0)?;
/// let mut workspace = Workspace::new();
/// let step = Step::new(&mut state, &mut workspace);
/// assert!(step.group.is_none());
/// # Ok::<(), quarter::Error>(())
/// ```
pub struct Step<'a> {
    /// Histories, seed and number of the step.
    pub state: &'a mut RecipeState,
    /// Memory of the matrix products.
    pub workspace: &'a mut Workspace,
    /// The ranks that share a batch. Amaxes of whole tensors are joined over them before they
    /// scale; scales of rows and blocks, and the factor of a tensor above NVFP4's blocks, are of
    /// what a rank has for itself.
    pub group: Option<&'a dyn AllReduce>,
    /// Threads and instruction set.
    pub exec: Exec,
    /// Whether what casts do is counted: [`RoleStats`](super::RoleStats). It changes no number.
    pub count: bool,
}

impl<'a> Step<'a> {
    /// One rank, all threads, nothing counted.
    #[must_use]
    pub fn new(state: &'a mut RecipeState, workspace: &'a mut Workspace) -> Self {
        Self { state, workspace, group: None, exec: Exec::new(), count: false }
    }
}
