//! The store against the state: what was committed is what is loaded.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use hothouse_api::{
    generated::{
        Architecture, FunctionUrlAuthType, LogFormat, RecursiveLoop, Runtime, SnapStartApplyOn, TracingMode,
    },
    name::{self, AliasName, Qualifier, RequestId},
};
use proptest::prelude::*;
use rusqlite::Connection;
use uuid::Uuid;

use super::{
    Change, Event, Gone, Resource, ResourceEvent, ResourceId, Setting, SqliteStore, State, Store, StoreError,
    model::{
        AdditionalVersion, Alias, Code, Configuration, FunctionKey, Logging, Package, Rare, Scope, Status,
        Version,
        layer::{Layer, LayerVersion, UsedLayer},
        mapping::{EventSourceMapping, Settings, Source, Transition},
        policy::{Policy, Statement},
        queued::{Answer, Condition, Content, Outcome, QueuedEvent, Recipient, Refusal},
        settings::FunctionUrl,
    },
};
use crate::{code::CodeHash, environments::Environments};

/// A version as simple as can be.
pub(crate) fn version(version: name::Version, seed: u8) -> Version {
    Version {
        version,
        revision_id: Uuid::from_bytes([seed; 16]),
        last_modified: 1_700_000_000_000 + i64::from(seed),
        status: if seed.is_multiple_of(2) { Status::Ready } else { Status::Updating },
        description: seed.is_multiple_of(3).then(|| format!("published {seed}")),
        configuration: Arc::new(Configuration {
            role: "arn:aws:iam::123456789012:role/r".into(),
            runtime: Some(Runtime::Python312),
            handler: Some("index.handler".into()),
            description: format!("described {}", seed % 4),
            timeout: 3,
            memory_size: 128,
            ephemeral_storage: 512,
            environment: seed.is_multiple_of(5).then(|| BTreeMap::from([("K".into(), "V".into())]).into()),
            tracing: TracingMode::PassThrough,
            snap_start: SnapStartApplyOn::None,
            logging: Logging {
                format: LogFormat::Text,
                group: None,
                application_level: None,
                system_level: None,
            },
            rare: seed.is_multiple_of(7).then(|| {
                let layer = UsedLayer {
                    arn: "arn".into(),
                    hash: CodeHash::of(&[seed % 3]),
                    size: 5,
                    unzipped_size: 7,
                };
                let layers = vec![layer; 1 + usize::from(seed % 2)];
                Box::new(Rare { kms_key_arn: Some("arn".into()), layers, ..Rare::default() })
            }),
        }),
        code: Code {
            architecture: Architecture::Arm64,
            origin: None,
            package: if seed.is_multiple_of(11) {
                Package::Image { uri: "repository:tag".into() }
            } else {
                Package::Zip {
                    hash: CodeHash::of(&[seed % 8]),
                    size: u64::from(seed),
                    unzipped_size: u64::from(seed) * 2,
                }
            },
        },
        environments: Environments::default(),
    }
}

pub(crate) fn key(account: u64, region: &str, name: &str) -> FunctionKey {
    FunctionKey {
        scope: Scope { account: format!("{account:012}").parse().unwrap(), region: region.parse().unwrap() },
        name: name.parse().unwrap(),
    }
}

fn keys() -> impl Strategy<Value = FunctionKey> {
    (0..2u64, prop::sample::select(vec!["us-east-1", "eu-west-1"]), prop::sample::select(vec!["a", "b"]))
        .prop_map(|(account, region, name)| key(account, region, name))
}

fn versions() -> impl Strategy<Value = name::Version> {
    (0..5u64).prop_map(|number| match number {
        0 => name::Version::Latest,
        4 => name::Version::LatestPublished,
        number => name::Version::Number(number),
    })
}

fn tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-c]", ".{0,3}", 0..3)
}

fn events() -> impl Strategy<Value = Event> {
    let latest = || any::<u8>().prop_map(|seed| Arc::new(version(name::Version::Latest, seed)));
    let published = || versions().prop_filter("it is never published", |of| *of != name::Version::Latest);
    let deleted = published().prop_map(|version| Event::VersionDeleted { version });
    let published = (published(), any::<u8>())
        .prop_map(|(of, seed)| Event::Published { version: Arc::new(version(of, seed)) });
    let statuses = prop::sample::select(vec![
        Status::Creating,
        Status::Ready,
        Status::Idle,
        Status::Deactivated,
        Status::Deleting,
    ]);
    let aliases = || prop::sample::select(vec!["live", "test"]).prop_map(|name| name.parse().unwrap());
    let alias = (versions(), ".{0,3}", any::<Option<(u64, f64)>>(), any::<u128>()).prop_map(
        |(version, description, additional, revision)| Alias {
            version,
            description,
            // NaN is no weight, and an SQLite integer has 63 bits.
            additional: additional
                .filter(|(_, weight)| weight.is_finite())
                .map(|(number, weight)| AdditionalVersion { number: number >> 1, weight }),
            revision_id: Uuid::from_u128(revision),
        },
    );
    prop_oneof![
        4 => (latest(), tags()).prop_map(|(latest, tags)| Event::Created { latest, tags }),
        2 => latest().prop_map(|latest| Event::Updated { latest }),
        4 => published,
        2 => (versions(), statuses, any::<u128>()).prop_map(|(version, status, revision)| Event::Amended {
            version,
            status,
            revision_id: Uuid::from_u128(revision),
        }),
        1 => deleted,
        1 => Just(Event::Deleted),
        2 => (aliases(), alias).prop_map(|(name, alias)| Event::AliasPut { name, alias: Arc::new(alias) }),
        1 => aliases().prop_map(|name| Event::AliasDeleted { name }),
        1 => tags().prop_map(|tags| Event::Tagged { tags }),
        1 => any::<Option<u32>>().prop_map(|executions| Event::ConcurrencyReserved { executions }),
        3 => (qualifiers(), settings()).prop_map(|(qualifier, setting)| Event::SettingPut {
            qualifier,
            setting: Arc::new(setting),
        }),
        1 => (qualifiers(), settings()).prop_map(|(qualifier, setting)| Event::SettingRemoved {
            qualifier,
            kind: setting.kind(),
        }),
        3 => (request_ids(), queued_events())
            .prop_map(|(id, event)| Event::Queued { id, event: Arc::new(event) }),
        1 => (request_ids(), 0..4u32, answers(), any::<i64>())
            .prop_map(|(id, attempts, answer, due)| Event::Postponed { id, attempts, answer, due }),
        2 => (request_ids(), 0..4u32, prop::option::of(answers()), outcomes(), recipients()).prop_map(
            |(id, attempts, answer, outcome, recipients)| Event::Concluded {
                id,
                attempts,
                answer,
                outcome,
                recipients,
            },
        ),
        1 => (request_ids(), recipients()).prop_map(|(id, left)| Event::Reported { id, left }),
        1 => request_ids().prop_map(|id| Event::Dequeued { id }),
    ]
}

fn request_ids() -> impl Strategy<Value = RequestId> {
    (0..4u128).prop_map(|id| Uuid::from_u128(id).to_string().parse().unwrap())
}

/// Some that the state holds, and some that only the store has.
fn contents() -> impl Strategy<Value = Content> {
    (any::<u8>(), prop::sample::select(vec![0, 3, Content::LARGEST_HELD, Content::LARGEST_HELD + 1]))
        .prop_map(|(byte, length)| Content::Here(vec![byte; length].into()))
}

fn answers() -> impl Strategy<Value = Answer> {
    (versions(), any::<bool>(), contents()).prop_map(|(version, failed, payload)| Answer {
        version,
        failed,
        payload,
    })
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    let refusals = (any::<u16>(), ".{0,3}").prop_map(|(status, message)| Refusal { status, message });
    let conditions = prop::sample::select(vec![Condition::Success, Condition::EventAgeExceeded]);
    (conditions, any::<i64>(), any::<u128>(), prop::option::of(refusals)).prop_map(
        |(condition, at, record, refusal)| Outcome {
            condition,
            at,
            record: Uuid::from_u128(record),
            refusal,
        },
    )
}

fn recipients() -> impl Strategy<Value = Vec<Recipient>> {
    prop::sample::select(vec![
        vec![Recipient::Destination("arn:1".into())],
        vec![Recipient::DeadLetter("arn:2".into())],
        vec![Recipient::Destination("arn:1".into()), Recipient::DeadLetter("arn:2".into())],
    ])
}

fn queued_events() -> impl Strategy<Value = QueuedEvent> {
    (qualifiers(), contents(), any::<i64>()).prop_map(|(qualifier, payload, accepted)| QueuedEvent {
        qualifier,
        tenant_id: (payload.bytes().is_some_and(|bytes| bytes.len() > 2)).then(|| "blue".into()),
        payload,
        trace: "Root=1".into(),
        accepted,
        attempts: 0,
        due: accepted,
        answer: None,
        outcome: None,
        recipients: Vec::new(),
    })
}

fn qualifiers() -> impl Strategy<Value = Option<Qualifier>> {
    prop::sample::select(vec!["", "$LATEST", "$LATEST.PUBLISHED", "1", "2", "live", "test"])
        .prop_map(|text| (!text.is_empty()).then(|| text.parse().unwrap()))
}

fn settings() -> impl Strategy<Value = Setting> {
    prop_oneof![
        any::<bool>().prop_map(|allow| {
            Setting::Recursion(if allow { RecursiveLoop::Allow } else { RecursiveLoop::Terminate })
        }),
        ".{0,3}".prop_map(Setting::CodeSigning),
        // No two URLs have the same id.
        "[a-z]{24}".prop_map(|id| Setting::Url(FunctionUrl {
            id,
            auth_type: FunctionUrlAuthType::None,
            cors: None,
            invoke_mode: None,
            created: 1,
            last_modified: 2,
        })),
        (".{0,3}", ".{0,3}", any::<u128>()).prop_map(|(id, document, revision)| Setting::Policy(Policy {
            version: None,
            id: (!id.is_empty()).then(|| id.clone()),
            statements: vec![Statement { id: Some(id), document }],
            revision_id: Uuid::from_u128(revision),
        })),
    ]
}

fn resource_events() -> impl Strategy<Value = ResourceEvent> {
    let ids = || {
        prop_oneof![
            ("[ab]", 1..3u64).prop_map(|(layer, number)| ResourceId::LayerVersion(layer, number)),
            "[ab]".prop_map(ResourceId::Layer),
            (0..3u128).prop_map(|number| ResourceId::EventSourceMapping(Uuid::from_u128(number))),
        ]
    };
    let resources = prop_oneof![
        any::<u8>().prop_map(|seed| Resource::LayerVersion(LayerVersion {
            hash: CodeHash::of(&[seed % 8]),
            size: u64::from(seed),
            unzipped_size: u64::from(seed) * 2,
            object: None,
            description: "d".into(),
            compatible_runtimes: Some(vec![Runtime::Python312]),
            compatible_architectures: None,
            license_info: None,
            created: 1,
            policy: None,
        })),
        any::<u32>().prop_map(|next| Resource::Layer(Layer { next_version: next.into() })),
        (prop::sample::select(vec!["f", "g"]), qualifiers()).prop_map(|(function, qualifier)| {
            Resource::EventSourceMapping(Box::new(EventSourceMapping {
                function: function.parse().unwrap(),
                qualifier,
                source: Source::Mq { arn: "arn".into(), queues: vec!["q".into()] },
                start: None,
                settings: Settings { batch_size: 7, ..Settings::default() },
                enabled: true,
                transition: Some(Transition::Updating),
                last_modified: 1,
                tags: BTreeMap::new(),
            }))
        }),
    ];
    prop_oneof![
        3 => (ids(), resources)
            .prop_map(|(id, resource)| ResourceEvent::Put { id, resource: Arc::new(resource) }),
        1 => ids().prop_map(|id| ResourceEvent::Deleted { id }),
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let function = (keys(), events()).prop_map(|(key, event)| Change::Function { key, event });
    let resource =
        (keys(), resource_events()).prop_map(|(key, event)| Change::Resource { scope: key.scope, event });
    prop::collection::vec(prop_oneof![3 => function, 1 => resource], 1..40)
}

fn commit(store: &SqliteStore, changes: &[Change]) -> Result<(), StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.commit(changes.into()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn replayed_state_equals_live_state(changes in changes(), cut in 0..40usize) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let cut = cut.min(changes.len());
        let mut live = State::default();
        for part in [&changes[..cut], &changes[cut..]] {
            let store = SqliteStore::open(&path).unwrap();
            prop_assert_eq!(&store.load().unwrap(), &live);
            commit(&store, part).unwrap();
            for change in part {
                live.apply(change);
            }
            prop_assert_eq!(&store.load().unwrap(), &live);
        }
    }

    #[test]
    fn packages_are_counted_for_as_long_as_a_version_uses_them(changes in changes()) {
        let mut state = State::default();
        for change in &changes {
            let gone = state.apply(change);
            let mut hashes = BTreeMap::<CodeHash, usize>::new();
            for version in state.all_functions().flat_map(|(_, function)| function.all_versions()) {
                for hash in version.packages() {
                    *hashes.entry(hash).or_default() += 1;
                }
            }
            for (hash, _) in state.all_resources().filter_map(|(_, _, resource)| resource.code()) {
                *hashes.entry(hash).or_default() += 1;
            }
            prop_assert_eq!(&state.code_uses, &hashes.clone().into_iter().collect());
            for scope in [key(0, "us-east-1", "a").scope, key(1, "eu-west-1", "a").scope] {
                let sizes = state.functions(&scope, None).flat_map(|(_, function)| function.all_versions());
                let size = sizes.map(|version| version.code.counted_size()).sum::<u64>();
                let layers = state.resources(&scope, ..).filter_map(|(_, resource)| resource.code());
                prop_assert_eq!(state.usage(&scope).1, size + layers.map(|(_, size)| size).sum::<u64>());
            }
            for gone in gone {
                let packages: Vec<_> = match gone {
                    Gone::Version(version) => version.packages().collect(),
                    Gone::Package(hash) => vec![hash],
                };
                for hash in packages {
                    prop_assert_eq!(state.uses_code(&hash), hashes.contains_key(&hash));
                }
            }
        }
    }
}

fn created(name: &str) -> Change {
    Change::Function {
        key: key(1, "us-east-1", name),
        event: Event::Created { latest: Arc::new(version(name::Version::Latest, 2)), tags: BTreeMap::new() },
    }
}

#[test]
fn database_is_for_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let first = SqliteStore::open(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(StoreError::InUse { .. })));
    drop(first);
    SqliteStore::open(&path).unwrap();
}

#[test]
fn database_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("state.db")).unwrap();
    commit(&store, &[created("f")]).unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
}

#[test]
fn newer_format_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    drop(SqliteStore::open(&path).unwrap());
    set_format(&path, 77);
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Format { found: 77, known: 6, .. }), "{error:?}");
    set_format(&path, 6);
    SqliteStore::open(&path).unwrap();
}

#[test]
fn database_of_the_first_format_is_upgraded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    // Written by the program that had format 1.
    Connection::open(&path).unwrap().execute_batch(include_str!("tests/format_1.sql")).unwrap();

    let store = SqliteStore::open(&path).unwrap();
    let state = store.load().unwrap();
    let key = key(1, "us-east-1", "old");
    let function = state.function(&key).unwrap();
    assert_eq!(function.next_version, 2);
    assert_eq!(function.versions[&1].configuration.handler.as_deref(), Some("index.handler"));
    assert_eq!(function.aliases[&"live".parse::<AliasName>().unwrap()].version, name::Version::Number(1));
    assert_eq!((function.reserved_concurrency, function.tags["k"].as_str()), (Some(7), "v"));

    // What is new can be kept now.
    let setting = Arc::new(Setting::Recursion(RecursiveLoop::Allow));
    let event = Event::SettingPut { qualifier: None, setting: Arc::clone(&setting) };
    let id = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    let queued = Arc::new(QueuedEvent {
        qualifier: None,
        tenant_id: Some("blue".into()),
        payload: Content::Here("{}".into()),
        trace: "Root=1".into(),
        accepted: 1,
        attempts: 0,
        due: 2,
        answer: None,
        outcome: None,
        recipients: Vec::new(),
    });
    let queuing = Event::Queued { id, event: Arc::clone(&queued) };
    commit(&store, &[event, queuing].map(|event| Change::Function { key: key.clone(), event })).unwrap();
    drop(store);
    let state = SqliteStore::open(&path).unwrap().load().unwrap();
    assert_eq!(state.function(&key).unwrap().queue[&id], queued);
    assert_eq!(state.function(&key).unwrap().setting(setting.kind(), None), Some(&*setting));
}

fn set_format(path: &Path, format: u32) {
    let connection = Connection::open(path).unwrap();
    connection.execute("UPDATE meta SET value = ?1 WHERE name = 'format'", [format.to_string()]).unwrap();
}

#[test]
fn change_that_does_not_fit_is_refused_as_a_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    // As if the disk had room for a few more pages.
    let limit = |connection: &Connection| {
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        connection.query_row(&format!("PRAGMA max_page_count = {}", pages + 2), [], |_| Ok(()))
    };
    let store = SqliteStore::open_with(&path, limit).unwrap();
    commit(&store, &[created("small")]).unwrap();
    let mut large = version(name::Version::Latest, 4);
    large.description = Some("x".repeat(100_000));
    let large = Event::Created { latest: Arc::new(large), tags: BTreeMap::new() };
    let refused = [created("first"), Change::Function { key: key(1, "us-east-1", "second"), event: large }];
    assert!(matches!(commit(&store, &refused).unwrap_err(), StoreError::Write(_)));
    let names: Vec<_> =
        store.load().unwrap().all_functions().map(|(key, _)| key.name.as_str().to_owned()).collect();
    assert_eq!(names, ["small"]);
    commit(&store, &[Change::Function { key: key(1, "us-east-1", "small"), event: Event::Deleted }]).unwrap();
    commit(&store, &[created("first")]).unwrap();
}

#[test]
fn commits_that_wait_together_are_all_made() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("state.db")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut commits = tokio::task::JoinSet::new();
        for index in 0..3000 {
            commits.spawn(store.commit([created(&format!("f{index}"))].into()));
        }
        while let Some(result) = commits.join_next().await {
            result.unwrap().unwrap();
        }
    });
    assert_eq!(store.load().unwrap().all_functions().count(), 3000);
}
