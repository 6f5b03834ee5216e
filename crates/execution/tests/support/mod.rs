//! An engine over the fake executor, with a log that can be read back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hothouse_api::{
    arn::FunctionArn,
    generated::{Architecture, LogFormat, Runtime, TracingMode},
    name::{RequestId, Version},
};
use hothouse_execution::{
    Engine, EngineConfig, Ports,
    executor::Executor,
    invocation::{Follow, Invocation},
    ports::{
        CredentialError, CredentialSource, Credentials, LogAppender, LogEvent, LogSink, LogStream,
        SystemClock,
    },
    spec::{FunctionSpec, Logging},
    timeline::Timeline,
};

/// Keeps all events in memory.
#[derive(Debug, Default, Clone)]
pub(crate) struct MemorySink {
    lines: Arc<Mutex<Vec<String>>>,
}

impl MemorySink {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl LogSink for MemorySink {
    fn open(&self, _stream: LogStream) -> Box<dyn LogAppender> {
        Box::new(self.clone())
    }
}

impl LogAppender for MemorySink {
    fn append(&mut self, events: Vec<LogEvent>) -> Result<(), Vec<LogEvent>> {
        let mut lines = self.lines.lock().unwrap();
        lines.extend(
            events
                .iter()
                .map(|event| String::from_utf8_lossy(&event.message).trim_end_matches('\n').to_owned()),
        );
        Ok(())
    }

    fn dropped(&mut self, records: u64, _bytes: u64) {
        panic!("{records} records were dropped, though there is always room");
    }
}

#[derive(Debug)]
struct FixedCredentials;

impl CredentialSource for FixedCredentials {
    fn assume_role<'a>(
        &'a self,
        _spec: &'a FunctionSpec,
    ) -> BoxFuture<'a, Result<Credentials, CredentialError>> {
        Box::pin(async {
            Ok(Credentials {
                access_key_id: "ASIA".to_owned(),
                secret_access_key: "secret".to_owned(),
                session_token: "token".to_owned(),
            })
        })
    }
}

pub(crate) fn engine(executor: impl Executor + 'static, config: EngineConfig) -> (Engine, Arc<MemorySink>) {
    let sink = Arc::new(MemorySink::default());
    let ports = Ports {
        executor: Arc::new(executor),
        sink: sink.clone(),
        credentials: Arc::new(FixedCredentials),
        clock: Arc::new(SystemClock),
        timeline: Timeline::default(),
        observer: None,
    };
    (Engine::new(config, ports), sink)
}

pub(crate) fn spec() -> FunctionSpec {
    FunctionSpec {
        account: "000000000000".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        function_name: "f".parse().unwrap(),
        version: Version::Latest,
        runtime: Runtime::Python312,
        runtime_version_arn: "arn:aws:lambda:us-east-1::runtime:0".to_owned(),
        architecture: Architecture::X8664,
        handler: "handler.handler".to_owned(),
        role: "arn:aws:iam::000000000000:role/r".to_owned(),
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
            group: "/aws/lambda/f".to_owned(),
            custom_group: false,
            application_level: None,
            system_level: None,
        },
    }
}

pub(crate) fn invocation(payload: impl Into<Bytes>) -> Invocation {
    let arn: FunctionArn = "arn:aws:lambda:us-east-1:000000000000:function:f".parse().unwrap();
    Invocation {
        request_id: RequestId::random(),
        payload: payload.into(),
        invoked_arn: arn,
        client_context: None,
        tenant_id: None,
        trace_id: None,
        tail: false,
        follow: Follow::default(),
    }
}
