//! The conversations.
