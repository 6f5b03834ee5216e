//! The lines to the letter.

use std::collections::BTreeMap;

use hothouse_api::{
    generated::{Architecture, Runtime, TracingMode},
    name::Version,
};

use super::*;
use crate::spec::Logging;

const REQUEST: &str = "8d3e4a25-9c43-4c8f-8d43-0d7d4b1b2f6a";
const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

pub(in crate::logs) fn spec(format: LogFormat, level: Option<SystemLogLevel>) -> FunctionSpec {
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
        tracing: TracingMode::PassThrough,
        logging: Logging {
            format,
            group: "/aws/lambda/f".to_owned(),
            custom_group: false,
            application_level: None,
            system_level: level,
        },
    }
}

fn lines(spec: &FunctionSpec, initialization: InitializationType, line: &Line) -> Vec<String> {
    let mut lines = Vec::new();
    line.say(&context(spec, initialization), |line| lines.push(line));
    lines
}

fn context(spec: &FunctionSpec, initialization: InitializationType) -> Context<'_> {
    let now = "2024-06-17T17:23:55.826Z".parse().unwrap();
    Context { spec, initialization, max_memory_mb: 36, now }
}

fn dropped(spec: &FunctionSpec) -> String {
    LogsDropped { records: 3, bytes: 40 }.say(&context(spec, InitializationType::OnDemand))
}

fn text(line: &Line) -> Vec<String> {
    lines(&spec(LogFormat::Text, None), InitializationType::OnDemand, line)
}

fn report(init: Option<u64>, status: Status, trace: Option<&str>) -> Line {
    Line::Report {
        request: REQUEST.to_owned(),
        duration: Duration::from_micros(3011),
        init: init.map(Duration::from_micros),
        status,
        trace: trace.map(str::to_owned),
        tenant: None,
    }
}

fn error(error_type: &str) -> Status {
    Status::Error { error_type: error_type.to_owned() }
}

#[test]
fn text_lines() {
    let start = Line::Start { request: REQUEST.to_owned(), trace: None, tenant: None };
    assert_eq!(text(&start), [format!("START RequestId: {REQUEST} Version: $LATEST")]);
    assert_eq!(text(&Line::End { request: REQUEST.to_owned() }), [format!("END RequestId: {REQUEST}")]);
    assert_eq!(
        text(&Line::InitStart),
        [
            "INIT_START Runtime Version: python:3.12.v1\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:0"
        ]
    );
    assert_eq!(
        dropped(&spec(LogFormat::Text, None)),
        format!("LOGS_DROPPED Records: 3\tBytes: 40\tReason: {DROP_REASON}")
    );
}

#[test]
fn reports_in_text() {
    let head = format!("REPORT RequestId: {REQUEST}\tDuration: 3.01 ms\tBilled Duration");
    let memory = "Memory Size: 128 MB\tMax Memory Used: 36 MB\t";
    assert_eq!(text(&report(None, Status::Success, None)), [format!("{head}: 4 ms\t{memory}")]);
    // INIT is billed too.
    assert_eq!(
        text(&report(Some(110_100), Status::Success, None)),
        [format!("{head}: 114 ms\t{memory}Init Duration: 110.10 ms\t")]
    );
    let handler = Status::HandlerError { error_type: "ValueError".to_owned() };
    assert_eq!(text(&report(None, handler, None)), [format!("{head}: 4 ms\t{memory}")]);
    assert_eq!(
        text(&report(None, Status::Timeout, None)),
        [format!("{head}: 4 ms\t{memory}Status: timeout\t")]
    );
    assert_eq!(
        text(&report(None, error("Runtime.ExitError"), None)),
        [format!("{head}: 4 ms\t{memory}Status: error\tError Type: Runtime.ExitError\t")]
    );
    assert_eq!(
        text(&report(None, Status::Success, Some(TRACE))),
        [format!(
            "{head}: 4 ms\t{memory}\nXRAY TraceId: 1-5759e988-bd862e3fe1be46a994272793\tSegmentId: 53995c3f42cd8ad8\tSampled: true\t"
        )]
    );
    let unsampled = TRACE.replace("Sampled=1", "Sampled=0");
    assert_eq!(text(&report(None, Status::Success, Some(&unsampled))), [format!("{head}: 4 ms\t{memory}")]);
}

#[test]
fn reports_of_init_in_text() {
    let report = |status| Line::init_report(Duration::from_micros(9_999_470), status);
    assert_eq!(
        text(&report(Status::Timeout)),
        ["INIT_REPORT Init Duration: 9999.47 ms\tPhase: init\tStatus: timeout"]
    );
    assert_eq!(
        text(&report(error("Runtime.Unknown"))),
        ["INIT_REPORT Init Duration: 9999.47 ms\tPhase: init\tStatus: error\tError Type: Runtime.Unknown"]
    );
    assert_eq!(text(&report(Status::Success)), [""; 0]);
    let provisioned = InitializationType::ProvisionedConcurrency;
    assert_eq!(
        lines(&spec(LogFormat::Text, None), provisioned, &report(Status::Success)),
        ["INIT_REPORT Init Duration: 9999.47 ms\tPhase: init"]
    );
}

#[test]
fn json_lines() {
    let spec = spec(LogFormat::Json, Some(SystemLogLevel::Debug));
    let json = |line: &Line| lines(&spec, InitializationType::OnDemand, line);
    let line = |kind: &str, record: &str| {
        let record = record.replace("REQUEST", REQUEST);
        format!(r#"{{"time":"2024-06-17T17:23:55.826Z","type":"platform.{kind}","record":{{{record}}}}}"#)
    };
    let start = |trace: Option<&str>| Line::Start {
        request: REQUEST.to_owned(),
        trace: trace.map(str::to_owned),
        tenant: None,
    };
    assert_eq!(json(&start(None)), [line("start", r#""requestId":"REQUEST","version":"$LATEST""#)]);
    let tracing =
        format!(r#""tracing":{{"spanId":"53995c3f42cd8ad8","type":"X-Amzn-Trace-Id","value":"{TRACE}"}}"#);
    assert_eq!(
        json(&start(Some(TRACE))),
        [line("start", &format!(r#""requestId":"REQUEST","version":"$LATEST",{tracing}"#))]
    );
    assert_eq!(json(&Line::End { request: REQUEST.to_owned() }), [""; 0]);
    assert_eq!(
        json(&Line::InitStart),
        [line(
            "initStart",
            r#""initializationType":"on-demand","phase":"init","runtimeVersion":"python:3.12.v1","runtimeVersionArn":"arn:aws:lambda:us-east-1::runtime:0","functionName":"f","functionVersion":"$LATEST""#
        )]
    );
    let metrics = r#""durationMs":3.011,"billedDurationMs":114,"memorySizeMB":128,"maxMemoryUsedMB":36,"initDurationMs":110.1"#;
    assert_eq!(
        json(&report(Some(110_100), error("Runtime.ExitError"), None)),
        [
            line(
                "runtimeDone",
                r#""requestId":"REQUEST","status":"error","errorType":"Runtime.ExitError","metrics":{"durationMs":3.011}"#
            ),
            line(
                "report",
                &format!(
                    r#""requestId":"REQUEST","metrics":{{{metrics}}},"status":"error","errorType":"Runtime.ExitError""#
                )
            ),
        ]
    );
    assert_eq!(
        json(&Line::init_report(Duration::from_millis(10_000), Status::Timeout)),
        [
            line("initRuntimeDone", r#""initializationType":"on-demand","phase":"init","status":"timeout""#),
            line(
                "initReport",
                r#""initializationType":"on-demand","phase":"init","status":"timeout","metrics":{"durationMs":10000.0}"#
            ),
        ]
    );
    assert_eq!(
        dropped(&spec),
        line("logsDropped", &format!(r#""droppedBytes":40,"droppedRecords":3,"reason":"{DROP_REASON}""#))
    );
}

/// AWS's table, as far as these events occur.
#[test]
fn system_log_levels_choose_the_events() {
    let handler = || Status::HandlerError { error_type: "ValueError".to_owned() };
    let told = |line: &Line, initialization| {
        let levels = [SystemLogLevel::Debug, SystemLogLevel::Info, SystemLogLevel::Warn];
        levels.map(|level| {
            let lines = lines(&spec(LogFormat::Json, Some(level)), initialization, line);
            let kind = |line: &String| {
                let value: Value = serde_json::from_str(line).unwrap();
                value["type"].as_str().unwrap().trim_start_matches("platform.").to_owned()
            };
            lines.iter().map(kind).collect::<Vec<_>>().join(" ")
        })
    };
    let on_demand = |line: &Line| told(line, InitializationType::OnDemand);
    let init = |status| Line::init_report(Duration::ZERO, status);
    let start = Line::Start { request: REQUEST.to_owned(), trace: None, tenant: None };
    assert_eq!(on_demand(&Line::InitStart), ["initStart", "initStart", ""]);
    assert_eq!(on_demand(&start), ["start", "start", ""]);
    assert_eq!(on_demand(&init(Status::Success)), ["initRuntimeDone initReport", "", ""]);
    assert_eq!(on_demand(&init(Status::Timeout)), ["initRuntimeDone initReport"; 3]);
    assert_eq!(
        told(&init(Status::Success), InitializationType::ProvisionedConcurrency),
        ["initRuntimeDone initReport", "initReport", ""]
    );
    assert_eq!(on_demand(&report(None, Status::Success, None)), ["runtimeDone report", "report", ""]);
    assert_eq!(on_demand(&report(None, handler(), None)), ["runtimeDone report"; 3]);
    assert_eq!(on_demand(&report(None, Status::Timeout, None)), ["runtimeDone report"; 3]);
    assert!(dropped(&spec(LogFormat::Json, Some(SystemLogLevel::Warn))).contains("platform.logsDropped"));
    // INFO unless configured.
    let unset = lines(&spec(LogFormat::Json, None), InitializationType::OnDemand, &start);
    assert_eq!(unset.len(), 1);
}

#[test]
fn records_of_an_invocation_name_its_tenant_in_json_alone() {
    let tenant = || Some("blue".into());
    let start = Line::Start { request: REQUEST.to_owned(), trace: None, tenant: tenant() };
    let report = Line::Report {
        request: REQUEST.to_owned(),
        duration: Duration::from_millis(3),
        init: None,
        status: Status::Success,
        trace: None,
        tenant: tenant(),
    };
    let spec = spec(LogFormat::Json, Some(SystemLogLevel::Debug));
    for line in [&start, &report] {
        let records = lines(&spec, InitializationType::OnDemand, line);
        assert!(!records.is_empty());
        for record in records {
            let record: Value = serde_json::from_str(&record).unwrap();
            assert_eq!(record["record"]["tenantId"], "blue", "{record}");
        }
        assert!(!text(line).concat().contains("blue"));
    }
}
