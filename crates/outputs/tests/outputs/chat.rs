//! Chat and push services against receivers that answer as the vendors do.
