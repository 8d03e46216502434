//! The generated code and the descriptor set it came from. Nothing else.
#![expect(
    missing_docs,
    clippy::pedantic,
    clippy::large_enum_variant,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    reason = "generated code; the protos carry the documentation"
)]

include!(concat!(env!("OUT_DIR"), "/packages.rs"));

include!(concat!(env!("OUT_DIR"), "/mutations.rs"));

/// The raw descriptor set of all packages, with source comments and custom options.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
