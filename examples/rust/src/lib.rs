//! Examples: see `src/bin`.
