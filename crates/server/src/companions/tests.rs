//! Tests of the companions.
