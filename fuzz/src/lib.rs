//! The bodies of the targets, from the library's tests: there they run on stable too.

#[path = "../../tests/common/bodies.rs"]
pub mod bodies;
#[path = "../../tests/common/exact.rs"]
pub mod exact;
#[path = "../../tests/common/recipe_bodies.rs"]
pub mod recipe_bodies;
