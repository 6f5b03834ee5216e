//! Credentials through the service's own interface, with a clock that can be moved.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use hothouse_api::generated::{Architecture, LogFormat, Runtime, TracingMode};
use hothouse_execution::spec::Logging;

use super::*;

#[derive(Debug)]
struct MovedClock(Mutex<SystemTime>);

impl MovedClock {
    fn new() -> Arc<Self> {
        Arc::new(MovedClock(Mutex::new(UNIX_EPOCH + Duration::from_secs(1_795_392_000))))
    }
}

impl Clock for MovedClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

fn spec(name: &str, role: &str) -> FunctionSpec {
    FunctionSpec {
        account: "000000000000".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        function_name: name.parse().unwrap(),
        version: "$LATEST".parse().unwrap(),
        runtime: Runtime::Python312,
        runtime_version_arn: String::new(),
        architecture: Architecture::X8664,
        handler: "a.b".into(),
        role: role.into(),
        timeout: Duration::from_secs(3),
        memory_mb: 128,
        ephemeral_storage_mb: 512,
        environment: BTreeMap::new(),
        code: "/nowhere".into(),
        layers: None,
        snap_start: false,
        tracing: TracingMode::PassThrough,
        logging: Logging {
            format: LogFormat::Text,
            group: String::new(),
            custom_group: false,
            application_level: None,
            system_level: None,
        },
    }
}

fn credential(credentials: &Credentials) -> Credential {
    Credential {
        access_key_id: credentials.access_key_id.clone(),
        session_token: Some(credentials.session_token.clone()),
        ..Credential::default()
    }
}

fn identity(sts: &Sts, credential: &Credential) -> (StatusCode, String) {
    let response = sts.handle(credential, "", b"Action=GetCallerIdentity&Version=2011-06-15");
    let xml = String::from_utf8(response.body().to_vec()).unwrap();
    let text = query::element(&xml, "Arn").or_else(|| query::element(&xml, "Code")).unwrap();
    (response.status(), text)
}

#[tokio::test]
async fn environments_are_the_role_in_its_account() {
    let sts = Sts::open(None, MovedClock::new()).unwrap();
    let role = "arn:aws:iam::123456789012:role/path/worker";
    for (name, session) in [("resize", "resize"), ("f", "f@lambda_function")] {
        let credentials = CredentialSource::assume_role(&sts, &spec(name, role)).await.unwrap();
        let expected = format!("arn:aws:sts::123456789012:assumed-role/worker/{session}");
        assert_eq!(identity(&sts, &credential(&credentials)), (StatusCode::OK, expected));
        let account = sts.account_of(&credential(&credentials));
        assert_eq!(account.to_string(), "123456789012");
        assert_eq!(credentials.secret_access_key.len(), 40);
    }
    let error = CredentialSource::assume_role(&sts, &spec("f", "worker")).await.unwrap_err();
    assert_eq!(error.to_string(), "failed to assume role `worker`: it is not the ARN of a role");
}

#[tokio::test]
async fn credentials_end_after_twelve_hours() {
    let clock = MovedClock::new();
    let sts = Sts::open(None, clock.clone()).unwrap();
    let role = "arn:aws:iam::000000000000:role/worker";
    let credentials = CredentialSource::assume_role(&sts, &spec("f", role)).await.unwrap();
    *clock.0.lock().unwrap() += Duration::from_secs(43_199);
    assert_eq!(identity(&sts, &credential(&credentials)).0, StatusCode::OK);
    *clock.0.lock().unwrap() += Duration::from_secs(1);
    assert_eq!(identity(&sts, &credential(&credentials)), (StatusCode::FORBIDDEN, "ExpiredToken".into()));
}

#[tokio::test]
async fn credentials_outlive_a_restart_but_not_another_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let role = "arn:aws:iam::123456789012:role/worker";
    let first = Sts::open(Some(directory.path()), MovedClock::new()).unwrap();
    let credentials = CredentialSource::assume_role(&first, &spec("resize", role)).await.unwrap();
    let again = Sts::open(Some(directory.path()), MovedClock::new()).unwrap();
    let arn = "arn:aws:sts::123456789012:assumed-role/worker/resize".to_owned();
    assert_eq!(identity(&again, &credential(&credentials)), (StatusCode::OK, arn));

    let other = Sts::open(None, MovedClock::new()).unwrap();
    let refused = (StatusCode::FORBIDDEN, "InvalidClientTokenId".to_owned());
    assert_eq!(identity(&other, &credential(&credentials)), refused);
    assert_eq!(other.account_of(&credential(&credentials)), AccountId::DEFAULT);
    // A token goes with its own key only.
    let stolen = Credential { access_key_id: "123456789012".into(), ..credential(&credentials) };
    assert_eq!(identity(&again, &stolen), refused);
}

#[test]
fn the_secret_is_for_its_owner_only_and_must_be_whole() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    Sts::open(Some(directory.path()), MovedClock::new()).unwrap();
    let path = directory.path().join("sts.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&path, "short").unwrap();
    let error = Sts::open(Some(directory.path()), MovedClock::new()).unwrap_err();
    assert!(matches!(error, SecretError::Length { found: 5, .. }), "{error:?}");
}

#[test]
fn any_account_can_be_read_from_its_keys() {
    let tokens = Tokens::open(None).unwrap();
    for account in ["000000000000", "000000000001", "123456789012", "999999999999"] {
        let key = tokens.access_key_id(account.parse().unwrap()).unwrap();
        assert_eq!(key.len(), 20);
        assert_eq!(account_in_key(&key).unwrap().to_string(), account);
    }
    // From AWS's documentation of GetAccessKeyInfo come keys of the older form, which tell nothing.
    assert_eq!(account_in_key("AKIA"), None);
}
