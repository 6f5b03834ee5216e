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

/// Upper bounds that are the model's only for capacity providers. Functions on AWS's own machines have these: the service
/// quotas' page says so, and errors seen in the field print them (`Value '1200' at 'timeout' … less than or equal to 900`).
const MAXIMA: [(&str, &str, &str); 3] = [
    // Shape, the model's bound, the bound that is enforced.
    ("EphemeralStorageSize", "32768", "10240"),
    ("MemorySize", "32768", "10240"),
    ("Timeout", "5400", "900"),
];

/// Patterns that messages print in another form than the model has. Matching is by the model's.
const PRINTED_PATTERNS: [(&str, &str, &str); 2] = [
    // Recorded: `test_layer_exceptions` and `test_layer_function_exceptions` have no parentheses around the whole.
    (
        "LayerVersionArn",
        r"((arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+))",
        r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)",
    ),
    // Recorded: `test_tag_exceptions` lists layers and has no network connectors.
    (
        "TaggableResource",
        r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|(capacity-provider|network-connector):[a-zA-Z0-9-_]{1,64})",
        r"arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)",
    ),
];

/// Enums that messages list in another order, or as another set, than the model. What is accepted is the model's.
const PRINTED_ENUMS: [(&str, &[&str]); 4] = [
    // Seen in the errors of CreateEventSourceMapping.
    ("EventSourcePosition", &["LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"]),
    // Recorded: `test_lambda_url_invalid_invoke_mode`.
    ("InvokeMode", &["RESPONSE_STREAM", "BUFFERED"]),
    // Recorded: `test_put_function_recursion_config_invalid_value`.
    ("RecursiveLoop", &["Terminate", "Allow"]),
    // Recorded: `test_layer_exceptions`; CreateFunction prints the same.
    (
        "Runtime",
        &[
            "nodejs20.x",
            "python3.14",
            "provided.al2023",
            "python3.12",
            "python3.13",
            "nodejs24.x",
            "nodejs22.x",
            "java25",
            "python3.10",
            "python3.11",
            "java21",
            "ruby3.3",
            "ruby3.4",
            "ruby3.2",
            "python3.8",
            "python3.9",
            "java17",
            "nodejs16.x",
            "dotnet10",
            "dotnet8",
            "java11",
            "dotnet6",
            "nodejs18.x",
            "provided.al2",
            "java8.al2",
        ],
    ),
];

/// Lists whose messages are not `Member must satisfy constraint: […, Member must not be null]`.
const LIST_MESSAGES: [(&str, &str); 3] = [
    // Recorded: `test_layer_exceptions` prints the constraint of the items as if it were the list's.
    ("CompatibleRuntimes", "Flat"),
    // Seen in `test_invalid_vpc_config_security_group` and `test_invalid_vpc_config_subnet`: nothing about null.
    ("SecurityGroupIds", "WithoutNull"),
    ("SubnetIds", "WithoutNull"),
];

/// An error that AWS's front end or we answer and the model does not know.
#[derive(Debug)]
pub(crate) struct FrontError {
    pub(crate) name: &'static str,
    pub(crate) status: u16,
    pub(crate) message_key: &'static str,
    pub(crate) about: &'static str,
}

/// Errors beside the model's.
pub(crate) const FRONT_ERRORS: [FrontError; 10] = [
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
        name: "IncompleteSignatureException",
        status: 403,
        message_key: "message",
        about: "The request's signature lacks a part, or a part of it cannot be read.",
    },
    FrontError {
        name: "InvalidSignatureException",
        status: 403,
        message_key: "message",
        about: "The request's signature is another than its key makes, or is too old.",
    },
    FrontError {
        name: "ExpiredTokenException",
        status: 403,
        message_key: "message",
        about: "The request is signed with temporary credentials whose time is over.",
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

/// Values that AWS sends although the model's enum does not have them. No input has these enums.
///
/// The recordings of UpdateFunctionCode and UpdateFunctionConfiguration have `Creating`.
const EXTRA_VALUES: [(&str, &str); 1] = [("LastUpdateStatusReasonCode", "Creating")];

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

/// The upper bound that is enforced.
pub(crate) fn maximum<'a>(shape: &str, modelled: &'a str) -> &'a str {
    MAXIMA.iter().find(|(name, ..)| *name == shape).map_or(modelled, |(_, _, real)| real)
}

/// How messages print a pattern.
pub(crate) fn printed_pattern<'a>(shape: &str, modelled: &'a str) -> &'a str {
    PRINTED_PATTERNS.iter().find(|(name, ..)| *name == shape).map_or(modelled, |(_, _, printed)| printed)
}

/// How messages list an enum, if not as the model does.
pub(crate) fn printed_enum(shape: &str) -> Option<&'static [&'static str]> {
    PRINTED_ENUMS.iter().find(|(name, _)| *name == shape).map(|(_, printed)| *printed)
}

/// A value of an enum that is missing in the model.
pub(crate) fn extra_value(shape: &str) -> Option<&'static str> {
    EXTRA_VALUES.iter().find(|(name, _)| *name == shape).map(|(_, value)| *value)
}

/// The form of messages about a list's items.
pub(crate) fn list_message(shape: &str) -> &'static str {
    LIST_MESSAGES.iter().find(|(name, _)| *name == shape).map_or("Nested", |(_, form)| form)
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
    for (shape, modelled, real) in MAXIMA {
        let bound = model.shape(shape).max.as_deref();
        assert_eq!(bound, Some(modelled), "the model's maximum of `{shape}` changed; {real} is enforced");
    }
    for (shape, modelled, _) in PRINTED_PATTERNS {
        assert_eq!(
            model.shape(shape).pattern.as_deref(),
            Some(modelled),
            "the model's pattern of `{shape}` changed"
        );
    }
    for (shape, printed) in PRINTED_ENUMS {
        let Kind::Enum(values) = &model.shape(shape).kind else { panic!("`{shape}` is no enum any more") };
        let unknown: Vec<_> =
            printed.iter().filter(|value| !values.iter().any(|known| known == *value)).collect();
        assert!(unknown.is_empty(), "`{shape}` is printed with what it no longer has: {unknown:?}");
        // AWS's list of runtimes leaves out those that are blocked; the others are complete.
        assert!(shape == "Runtime" || printed.len() == values.len(), "`{shape}` has more values now");
    }
    for (shape, form) in LIST_MESSAGES {
        assert!(matches!(model.shape(shape).kind, Kind::List(_)), "`{shape}` is {form}, but no list");
    }
    for (shape, value) in EXTRA_VALUES {
        let Kind::Enum(values) = &model.shape(shape).kind else { panic!("`{shape}` is no enum any more") };
        assert!(!values.iter().any(|known| known == value), "the model's `{shape}` has `{value}` now");
    }
    for error in &FRONT_ERRORS {
        assert!(!model.shapes.contains_key(error.name), "the model has its own `{}` now", error.name);
    }
}
