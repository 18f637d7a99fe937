//! The rules of the house as checks: each takes what it looks at and gives the list of problems.
//!
//! `xtask/tests/house.rs` runs them on this repository; the tests beside each check run it on small
//! trees that break the rule, so that each is seen to fail.

mod kinds;
mod layers;
mod lists;
mod manifests;
mod sources;
mod tree;

pub use kinds::kinds_are_in_order;
pub use layers::arrows_point_down;
pub use lists::folders_and_list_agree;
pub use manifests::{dependencies_come_from_the_workspace, lints_come_from_the_workspace};
pub use sources::{
    changelog_has_a_head, files_are_not_long, files_say_what_they_are_for, names_explain_themselves,
    nothing_is_left_open, nothing_names_this_machine,
};
pub use tree::Tree;
