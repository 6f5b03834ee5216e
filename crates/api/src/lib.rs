//! The wire of AWS Lambda: names, ARNs, generated shapes and constraints, rest-json codec, dispatch.
