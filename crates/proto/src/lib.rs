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
