//! The control plane over its API, with a fake executor below it.

#![expect(clippy::unwrap_used, reason = "what is not as expected ends the test")]

mod admission;
mod aliases;
mod capacity_providers;
mod code_signing;
mod concurrency;
mod configuration;
mod cross_account;
mod durability;
mod durable_operations;
mod event_invoke;
mod event_source_mappings;
mod events;
mod function_layers;
mod function_scenarios;
mod function_urls;
mod functions;
mod fuzz;
mod idle;
mod invoke;
mod isolation;
mod latest_published;
mod layers;
mod packages;
mod permissions;
mod provisioned;
mod recorded;
mod runtime_management;
mod scenario;
mod snapshots;
mod states;
mod streaming;
mod support;
mod tags;
mod tenancy;
mod versions;
