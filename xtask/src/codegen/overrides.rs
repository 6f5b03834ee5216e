//! Where the generated code departs from the model, each departure with a check that the model still is as it was.
//!
//! Must not hold a departure without its check.

use super::model::{Kind, Location, Model, Operation};

/// Shapes that need another name in Rust. The durable `Operation` gives way to the API's own operations.
const RENAMED: [(&str, &str); 1] = [("Operation", "DurableOperation")];

/// Error codes that AWS sends under another name than the model's.
const WIRE_CODES: [(&str, &str); 1] = [("RequestTooLargeException", "RequestEntityTooLargeException")];

/// Statuses that AWS sends and the model does not say.
const STATUSES: [(&str, u16, u16); 1] = [("DeleteFunction", 200, 204)];

/// Members that the model binds to the status and that AWS sends in the body, too: `InvokeAsync` answers `{"Status":202}`.
const ALSO_IN_BODY: [(&str, &str); 1] = [("InvokeAsyncResponse", "Status")];

/// Labels whose values contain `/`. Clients send it percent-encoded; a bare one is understood as well.
const LABELS_WITH_SLASHES: [&str; 3] = ["CallbackId", "DurableExecutionArn", "ResourceArn"];

/// An error that AWS's front end or we answer and the model does not know.
#[derive(Debug)]
pub(crate) struct FrontError {
    pub(crate) name: &'static str,
    pub(crate) status: u16,
    pub(crate) message_key: &'static str,
    pub(crate) about: &'static str,
}

/// Errors beside the model's.
pub(crate) const FRONT_ERRORS: [FrontError; 7] = [
    FrontError {
        name: "ValidationException",
        status: 400,
        message_key: "message",
        about: "A member of the input breaks a constraint of the model.",
    },
    FrontError {
        name: "SerializationException",
        status: 400,
        message_key: "Message",
        about: "The body is no JSON, or a member has another type than the model's.",
    },
    FrontError {
        name: "AccessDeniedException",
        status: 403,
        message_key: "Message",
        about: "The caller may not do that.",
    },
    FrontError {
        name: "MissingAuthenticationTokenException",
        status: 403,
        message_key: "message",
        about: "The request is not signed.",
    },
    FrontError {
        name: "UnrecognizedClientException",
        status: 403,
        message_key: "message",
        about: "The request is signed with a key that is not known.",
    },
    FrontError {
        name: "UnknownOperationException",
        status: 404,
        message_key: "message",
        about: "No operation has this method and path.",
    },
    FrontError {
        name: "NotImplementedException",
        status: 501,
        message_key: "message",
        about: "AWS has this operation; Hothouse does not have it yet.",
    },
];

/// The name of a shape in Rust.
pub(crate) fn rust_name(shape: &str) -> &str {
    RENAMED.iter().find(|(name, _)| *name == shape).map_or(shape, |(_, renamed)| renamed)
}

/// The code of an error on the wire.
pub(crate) fn wire_code(shape: &str) -> &str {
    WIRE_CODES.iter().find(|(name, _)| *name == shape).map_or(shape, |(_, code)| code)
}

/// The status of an operation's success on the wire.
pub(crate) fn status(operation: &str, modelled: u16) -> u16 {
    STATUSES.iter().find(|(name, ..)| *name == operation).map_or(modelled, |(_, _, real)| *real)
}

/// Whether a member travels in the body although the model binds it elsewhere.
pub(crate) fn is_also_in_body(structure: &str, member: &str) -> bool {
    ALSO_IN_BODY.contains(&(structure, member))
}

/// Whether a label may span segments of the path.
pub(crate) fn spans_segments(label: &str) -> bool {
    LABELS_WITH_SLASHES.contains(&label)
}

/// Fails loudly where a new model makes an override wrong or needless.
pub(crate) fn check(model: &Model) {
    for (shape, renamed) in RENAMED {
        assert!(
            matches!(model.shape(shape).kind, Kind::Structure(_)),
            "`{shape}` is renamed, but no structure"
        );
        assert!(!model.shapes.contains_key(renamed), "the model has its own `{renamed}` now");
    }
    for (shape, code) in WIRE_CODES {
        assert!(model.structure(shape).exception.is_some(), "`{shape}` is no error any more");
        assert!(!model.shapes.contains_key(code), "the model has its own `{code}` now");
    }
    for (name, modelled, real) in STATUSES {
        let operation = model.operations.iter().find(|operation| operation.name == name);
        let status = operation.unwrap_or_else(|| panic!("the operation `{name}` is gone")).status;
        assert_eq!(status, modelled, "the model's status of `{name}` changed; AWS sent {real}");
    }
    for (structure, name) in ALSO_IN_BODY {
        let member = model.structure(structure).members.iter().find(|member| member.name == name);
        assert_eq!(
            member.map(|member| &member.location),
            Some(&Location::Status),
            "`{structure}.{name}` is no status any more"
        );
    }
    for label in LABELS_WITH_SLASHES {
        let labelled = |operation: &Operation| operation.path.contains(&format!("{{{label}}}"));
        assert!(model.operations.iter().any(labelled), "no path has `{{{label}}}` any more");
    }
    for error in &FRONT_ERRORS {
        assert!(!model.shapes.contains_key(error.name), "the model has its own `{}` now", error.name);
    }
}
