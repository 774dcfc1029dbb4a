//! Images as documents: reading OCI layouts, assembling config, history and manifest, and the checker of all invariants.
//!
//! Knows nothing of how layers are made or where an image goes.

mod assemble;
mod layout;
mod validate;

pub use assemble::{AssembledImage, Assembly, HistoryStep, assemble};
pub use layout::{Layout, LayoutError};
pub use validate::{ValidationError, validate_layout};
