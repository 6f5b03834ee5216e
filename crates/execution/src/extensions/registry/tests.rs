//! What the registry lets each extension do, one by one and at random.

use proptest::prelude::*;

use super::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn register(registry: &mut Registry, name: &str, events: &[&str]) -> Result<Uuid, (String, String)> {
    registry.register(name, &names(events)).map(|registration| registration.id).map_err(told)
}

fn told(refusal: Refusal) -> (String, String) {
    assert_eq!(refusal.status, StatusCode::FORBIDDEN);
    (refusal.error_type.to_owned(), refusal.message)
}

fn refused(error_type: &str, message: impl Into<String>) -> (String, String) {
    (error_type.to_owned(), message.into())
}

#[test]
fn an_extension_goes_from_registration_to_its_end() {
    let mut registry = Registry::new(&names(&["tool"]));
    assert!(!registry.all_registered());
    let id = register(&mut registry, "tool", &["SHUTDOWN", "INVOKE"]).unwrap();
    assert!(registry.all_registered() && !registry.all_ready());
    assert_eq!(registry.extensions()[0].events(), ["INVOKE", "SHUTDOWN"]);
    registry.close_registration();
    assert_eq!(registry.next(id).unwrap(), Next::Wait(0));
    assert!(registry.all_ready());
    registry.initialized();
    assert_eq!(registry.invoke().collect::<Vec<_>>(), [0]);
    assert!(!registry.all_ready());
    assert_eq!(registry.next(id).unwrap(), Next::Wait(0));
    assert!(registry.all_ready());
    assert_eq!(registry.shut_down().collect::<Vec<_>>(), [0]);
    assert_eq!(registry.extensions()[0].state(), "Running");
    registry.ended(0, &Exit { status: ExitStatus::Code(0), out_of_memory: false });
    assert_eq!(registry.extensions()[0].state(), "Exited");
}

#[test]
fn who_does_not_subscribe_hears_nothing_and_is_not_waited_for() {
    let mut registry = Registry::new(&names(&["quiet"]));
    let quiet = register(&mut registry, "quiet", &[]).unwrap();
    let inner = register(&mut registry, "inner", &["INVOKE"]).unwrap();
    registry.next(quiet).unwrap();
    registry.next(inner).unwrap();
    registry.close_registration();
    registry.initialized();
    assert_eq!(registry.invoke().collect::<Vec<_>>(), [1]);
    registry.next(inner).unwrap();
    assert!(registry.all_ready());
    assert_eq!(registry.shut_down().count(), 0);
    assert!(!registry.extensions()[0].hears_of_shutdown());
}

#[test]
fn who_was_busy_hears_of_the_end_when_it_asks() {
    let mut registry = Registry::new(&names(&["tool"]));
    let id = register(&mut registry, "tool", &["INVOKE", "SHUTDOWN"]).unwrap();
    registry.next(id).unwrap();
    registry.initialized();
    assert_eq!(registry.invoke().count(), 1);
    assert_eq!(registry.shut_down().count(), 0);
    assert_eq!(registry.next(id).unwrap(), Next::Shutdown);
    assert_eq!(registry.next(id).unwrap(), Next::Wait(0), "it is told once");
    registry.extensions[0].state = State::Running;
    registry.ended(0, &Exit { status: ExitStatus::Signal(9), out_of_memory: false });
    assert_eq!(registry.extensions()[0].state(), "ShutdownFailed");
}

#[test]
fn refusals_to_the_letter() {
    let mut registry = Registry::new(&names(&["tool"]));
    let event = |registry: &mut Registry, name, event| register(registry, name, &[event]).unwrap_err();
    assert_eq!(
        event(&mut registry, "tool", "START"),
        refused("Extension.InvalidEventType", "START: ErrorInvalidEventType")
    );
    assert_eq!(
        event(&mut registry, "inner", "SHUTDOWN"),
        refused("Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension")
    );
    assert!(registry.extensions()[0].events().is_empty(), "a refused registration leaves nothing");
    let tool = register(&mut registry, "tool", &[]).unwrap();
    let not_allowed = |from: &str, to: &str, who: &str| {
        refused(
            "Extension.InvalidExtensionState",
            format!(
                "State transition from {from} to {to} failed for extension {who}. Error: State transition is not allowed"
            ),
        )
    };
    let again = register(&mut registry, "tool", &[]).unwrap_err();
    assert_eq!(again, not_allowed("Registered", "Registered", "tool"));
    register(&mut registry, "inner", &[]).unwrap();
    assert_eq!(
        register(&mut registry, "inner", &[]).unwrap_err(),
        refused("Extension.InvalidExtensionState", "Extension with this name already registered")
    );
    let nobody = Uuid::new_v4();
    let unknown = "Extension.UnknownExtensionIdentifier";
    assert_eq!(
        told(registry.next(nobody).unwrap_err()),
        refused(unknown, format!("Unknown extension {nobody}"))
    );
    for refusal in
        [registry.init_error(nobody, "x").unwrap_err(), registry.exit_error(nobody, "x").unwrap_err()]
    {
        assert_eq!(told(refusal), refused(unknown, "Unknown Lambda-Extension-Identifier"));
    }
    registry.next(tool).unwrap();
    let who = tool.to_string();
    assert_eq!(told(registry.next(tool).unwrap_err()), not_allowed("Ready", "Ready", &who));
    assert_eq!(told(registry.init_error(tool, "x").unwrap_err()), not_allowed("Ready", "InitError", &who));
    registry.exit_error(tool, "My.Error").unwrap();
    registry.exit_error(tool, "Another.Error").unwrap();
    assert_eq!(registry.extensions()[0].error_type(), Some("My.Error"), "the first one stays");
    assert_eq!(told(registry.next(tool).unwrap_err()), not_allowed("ExitError", "Ready", &who));
    assert_eq!(
        told(registry.init_error(tool, "x").unwrap_err()),
        not_allowed("ExitError", "InitError", &who)
    );
    registry.close_registration();
    assert_eq!(
        register(&mut registry, "late", &[]).unwrap_err(),
        refused("Extension.RegistrationClosed", "Extension registration closed already")
    );
}

#[test]
fn there_are_ten_at_most() {
    let external: Vec<String> = (0..8).map(|number| format!("e{number}")).collect();
    let mut registry = Registry::new(&external);
    register(&mut registry, "one", &[]).unwrap();
    register(&mut registry, "two", &[]).unwrap();
    let many = register(&mut registry, "three", &[]).unwrap_err();
    assert_eq!(many, refused("Extension.TooManyExtensions", "Extension limit (10) reached"));
}

#[test]
fn the_first_error_names_what_follows() {
    let crash = |registry: &mut Registry, status| {
        let fault = registry.ended(0, &Exit { status, out_of_memory: false });
        (fault.error_type, fault.message)
    };
    let mut registry = Registry::new(&names(&["a", "b"]));
    assert_eq!(crash(&mut registry, ExitStatus::Code(0)), refused("Extension.Crash", "exit code 0"));
    assert_eq!(crash(&mut registry, ExitStatus::Code(3)), refused("Extension.Crash", "exit status 3"));
    let b = register(&mut registry, "b", &[]).unwrap();
    assert!(registry.init_error(b, "My.Error").unwrap());
    assert!(!registry.init_error(b, "My.Error").unwrap(), "it is no news");
    assert_eq!(crash(&mut registry, ExitStatus::Signal(9)), refused("Extension.InitError", "signal: killed"));
    let mut registry = Registry::new(&names(&["a"]));
    let a = register(&mut registry, "a", &[]).unwrap();
    registry.exit_error(a, "My.Error").unwrap();
    assert_eq!(crash(&mut registry, ExitStatus::Code(1)), refused("Extension.ExitError", "exit status 1"));
    let mut registry = Registry::new(&names(&["a"]));
    let why = "fork/exec /opt/extensions/a: permission denied".to_owned();
    let denied = ExitStatus::NotExecuted { why: why.clone(), denied: true };
    assert_eq!(crash(&mut registry, denied), refused("Extension.LaunchError", why));
    assert_eq!(registry.extensions()[0].state(), "LaunchError");
    assert_eq!(registry.extensions()[0].error_type(), Some("PermissionDenied"));
}

/// What may happen to a registry, as far as the test chooses it.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Register { who: usize, invoke: bool, shutdown: bool },
    Next { who: usize },
    InitError { who: usize },
    ExitError { who: usize },
    Close,
    Initialized,
    Invoke,
    ShutDown,
    Ended { who: usize, code: i32 },
}

fn happening() -> impl Strategy<Value = Happening> {
    let who = 0..14_usize;
    prop_oneof![
        6 => (who.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(who, invoke, shutdown)| Happening::Register { who, invoke, shutdown }),
        8 => who.clone().prop_map(|who| Happening::Next { who }),
        1 => who.clone().prop_map(|who| Happening::InitError { who }),
        1 => who.clone().prop_map(|who| Happening::ExitError { who }),
        1 => Just(Happening::Close),
        1 => Just(Happening::Initialized),
        3 => Just(Happening::Invoke),
        1 => Just(Happening::ShutDown),
        1 => (who, 0..3_i32).prop_map(|(who, code)| Happening::Ended { who, code }),
    ]
}

proptest! {
    /// Whatever is called in whatever order: nobody is told an event for which it does not wait or did not subscribe,
    /// identifiers are different, names are taken once, and there are never more than ten.
    #[test]
    fn events_are_told_to_those_who_wait_for_them(
        external in 0..11_usize,
        happenings in proptest::collection::vec(happening(), 1..120),
    ) {
        let all: Vec<String> = (0..14).map(|number| format!("e{number}")).collect();
        let mut registry = Registry::new(&all[..external]);
        let mut ids: Vec<Option<Uuid>> = vec![None; all.len()];
        let mut waiting = std::collections::BTreeSet::new();
        for happening in happenings {
            let id = |who: usize| ids[who].unwrap_or_else(Uuid::new_v4);
            match happening {
                Happening::Register { who, invoke, shutdown } => {
                    let events = [(invoke, "INVOKE"), (shutdown, "SHUTDOWN")];
                    let events: Vec<&str> = events.iter().filter(|(on, _)| *on).map(|(_, event)| *event).collect();
                    if let Ok(id) = register(&mut registry, &all[who], &events) {
                        prop_assert!(ids[who].is_none(), "registered twice");
                        prop_assert!(who < external || !shutdown);
                        ids[who] = Some(id);
                    }
                }
                Happening::Next { who } => match registry.next(id(who)) {
                    Ok(Next::Wait(index)) => prop_assert!(waiting.insert(index), "waits twice"),
                    Ok(Next::Shutdown) => prop_assert!(registry.find(id(who)).unwrap().1.hears_of_shutdown()),
                    Err(_) => {}
                },
                Happening::InitError { who } => drop(registry.init_error(id(who), "x")),
                Happening::ExitError { who } => {
                    if registry.exit_error(id(who), "x").is_ok() {
                        let index = registry.find(id(who)).unwrap().0;
                        waiting.remove(&index);
                    }
                }
                Happening::Close => registry.close_registration(),
                Happening::Initialized => registry.initialized(),
                Happening::Invoke => {
                    for index in registry.invoke().collect::<Vec<_>>() {
                        prop_assert!(waiting.remove(&index), "told without waiting");
                        prop_assert!(registry.extensions()[index].events().contains(&"INVOKE"));
                    }
                }
                Happening::ShutDown => {
                    for index in registry.shut_down().collect::<Vec<_>>() {
                        prop_assert!(waiting.remove(&index), "told without waiting");
                        prop_assert!(index < external);
                    }
                }
                Happening::Ended { who, code } => {
                    if who < external {
                        let fault = registry.ended(who, &Exit { status: ExitStatus::Code(code), out_of_memory: false });
                        prop_assert!(fault.error_type.starts_with("Extension."));
                    }
                }
            }
            prop_assert!(registry.extensions().len() <= MOST.max(external));
            if registry.all_ready() {
                prop_assert_eq!(waiting.len(), registry.extensions().len());
            }
        }
    }
}
