//! The door: configuration, listeners, companions and the command line.

fn main() {}
