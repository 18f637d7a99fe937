//! What goes between a canary and a hub, as protocol buffers and gRPC.
//!
//! The `.proto` files below `proto/` are the contract, and their comments its words. Everything here
//! is made of them when this crate is built. A version is a package: what `v1` says does not change its
//! meaning, fields are only added.

/// How events come in: `aviary/ingest/v1/ingest.proto`.
pub mod ingest {
    /// The first version.
    #[expect(clippy::allow_attributes, clippy::allow_attributes_without_reason, reason = "what is generated has them")]
    pub mod v1 {
        tonic::include_proto!("aviary.ingest.v1");
    }
}

/// What a hub knows: `aviary/hub/v1/hub.proto`.
pub mod hub {
    /// The first version.
    #[expect(clippy::allow_attributes, clippy::allow_attributes_without_reason, reason = "what is generated has them")]
    pub mod v1 {
        tonic::include_proto!("aviary.hub.v1");
    }
}

/// A moment.
pub use prost_types::Timestamp;

/// The `.proto` files, as a set of descriptors, for whoever asks a server what it speaks.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");
