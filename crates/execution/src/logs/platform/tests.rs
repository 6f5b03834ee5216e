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
        snap_start: false,
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
    line.say(&context(spec, initialization)).into_iter().collect()
}

fn context(spec: &FunctionSpec, initialization: InitializationType) -> Context<'_> {
    let now = "2024-06-17T17:23:55.826Z".parse().unwrap();
    Context { spec, initialization, instance: "2024/06/17/[$LATEST]0", max_memory_mb: 36, now }
}

fn dropped(spec: &FunctionSpec) -> String {
    LogsDropped { records: 3, bytes: 40 }.say(&context(spec, InitializationType::OnDemand))
}

fn text(line: &Line) -> Vec<String> {
    lines(&spec(LogFormat::Text, None), InitializationType::OnDemand, line)
}

fn report(init: Option<u64>, status: Status, trace: Option<&str>) -> Line {
    Line::Report {
        about: about(trace, None),
        duration: Duration::from_micros(3011),
        startup: init.map(Duration::from_micros).map(Startup::Init),
        status,
        extensions: None,
    }
}

fn about(trace: Option<&str>, tenant: Option<&str>) -> About {
    About {
        request: REQUEST.parse().unwrap(),
        trace: trace.map(str::to_owned),
        tenant: tenant.map(Into::into),
    }
}

/// 2 ms to a response that takes 1 ms, then 8 µs.
fn runtime_done(status: Status, trace: Option<&str>) -> Line {
    let response = ResponseTiming {
        latency: Duration::from_millis(2),
        duration: Duration::from_millis(1),
        overhead: Duration::from_micros(8),
    };
    let timing = Timing { duration: Duration::from_micros(3008), response: Some(response) };
    Line::RuntimeDone { about: about(trace, None), status, timing, produced_bytes: 16 }
}

fn extension(error_type: Option<&str>) -> Line {
    let ready = error_type.is_none();
    Line::Extension(Extension {
        name: "foo".to_owned(),
        state: if ready { "Ready" } else { "LaunchError" },
        events: if ready { vec!["INVOKE", "SHUTDOWN"] } else { vec![] },
        error_type: error_type.map(str::to_owned),
    })
}

fn subscription(api: Api) -> Line {
    let types = vec![Category::Platform, Category::Function, Category::Extension];
    Line::Subscription { api, name: "foo".to_owned(), types }
}

fn error(error_type: &str) -> Status {
    Status::Error { error_type: error_type.to_owned() }
}

#[test]
fn text_lines() {
    let start = Line::Start(about(None, None));
    assert_eq!(text(&start), [format!("START RequestId: {REQUEST} Version: $LATEST")]);
    assert_eq!(text(&Line::End { request: REQUEST.parse().unwrap() }), [format!("END RequestId: {REQUEST}")]);
    assert_eq!(
        text(&Line::InitStart { phase: Phase::Init }),
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
    let report = |status| Line::init_report(Phase::Init, Duration::from_micros(9_999_470), status);
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
fn extensions_and_subscriptions_in_text() {
    assert_eq!(text(&extension(None)), ["EXTENSION\tName: foo\tState: Ready\tEvents: [INVOKE, SHUTDOWN]"]);
    assert_eq!(
        text(&extension(Some("PermissionDenied"))),
        ["EXTENSION\tName: foo\tState: LaunchError\tEvents: []\tError Type: PermissionDenied"]
    );
    let subscribed = "\tName: foo\tState: Subscribed\tTypes: [Platform, Function, Extension]";
    assert_eq!(text(&subscription(Api::Telemetry)), [format!("TELEMETRY{subscribed}")]);
    assert_eq!(text(&subscription(Api::Logs)), [format!("LOGS{subscribed}")]);
}

#[test]
fn what_only_telemetry_tells_is_not_in_the_log() {
    assert_eq!(text(&runtime_done(Status::Timeout, None)), [""; 0]);
    let debug = spec(LogFormat::Json, Some(SystemLogLevel::Debug));
    for line in [
        Line::InitStart { phase: Phase::Invoke },
        Line::init_runtime_done(Phase::Invoke, Status::Timeout),
        Line::init_report(Phase::Invoke, Duration::ZERO, Status::Timeout),
    ] {
        assert_eq!(text(&line), [""; 0]);
        assert_eq!(lines(&debug, InitializationType::OnDemand, &line), [""; 0]);
    }
}

#[test]
fn json_lines() {
    let spec = spec(LogFormat::Json, Some(SystemLogLevel::Debug));
    let json = |line: &Line| lines(&spec, InitializationType::OnDemand, line);
    let line = |kind: &str, record: &str| {
        let record = record.replace("REQUEST", REQUEST);
        format!(r#"{{"time":"2024-06-17T17:23:55.826Z","type":"platform.{kind}","record":{{{record}}}}}"#)
    };
    let start = |trace: Option<&str>| Line::Start(about(trace, None));
    assert_eq!(json(&start(None)), [line("start", r#""requestId":"REQUEST","version":"$LATEST""#)]);
    let tracing =
        format!(r#""tracing":{{"spanId":"53995c3f42cd8ad8","type":"X-Amzn-Trace-Id","value":"{TRACE}"}}"#);
    assert_eq!(
        json(&start(Some(TRACE))),
        [line("start", &format!(r#""requestId":"REQUEST","version":"$LATEST",{tracing}"#))]
    );
    assert_eq!(json(&Line::End { request: REQUEST.parse().unwrap() }), [""; 0]);
    assert_eq!(
        json(&Line::InitStart { phase: Phase::Init }),
        [line(
            "initStart",
            r#""initializationType":"on-demand","phase":"init","runtimeVersion":"python:3.12.v1","runtimeVersionArn":"arn:aws:lambda:us-east-1::runtime:0","functionName":"f","functionVersion":"$LATEST","instanceId":"2024/06/17/[$LATEST]0","instanceMaxMemory":134217728"#
        )]
    );
    let metrics = r#""durationMs":3.011,"billedDurationMs":114,"memorySizeMB":128,"maxMemoryUsedMB":36,"initDurationMs":110.1"#;
    assert_eq!(
        json(&report(Some(110_100), error("Runtime.ExitError"), None)),
        [line(
            "report",
            &format!(
                r#""requestId":"REQUEST","metrics":{{{metrics}}},"status":"error","errorType":"Runtime.ExitError""#
            )
        )]
    );
    let mut with_extensions = report(Some(110_100), Status::Success, None);
    if let Line::Report { extensions, .. } = &mut with_extensions {
        *extensions = Some(Span { ago: Duration::from_millis(26), duration: Duration::from_micros(25_500) });
    }
    assert_eq!(
        json(&with_extensions),
        [line(
            "report",
            &format!(
                r#""requestId":"REQUEST","metrics":{{{metrics}}},"spans":[{{"name":"extensionOverhead","start":"2024-06-17T17:23:55.800Z","durationMs":25.5}}],"status":"success""#
            )
        )]
    );
    let spans = r#""spans":[{"name":"responseLatency","start":"2024-06-17T17:23:55.822Z","durationMs":2.0},{"name":"responseDuration","start":"2024-06-17T17:23:55.824Z","durationMs":1.0},{"name":"runtimeOverhead","start":"2024-06-17T17:23:55.825Z","durationMs":0.008}]"#;
    assert_eq!(
        json(&runtime_done(Status::Success, Some(TRACE))),
        [line(
            "runtimeDone",
            &format!(
                r#""requestId":"REQUEST","status":"success",{tracing},{spans},"metrics":{{"durationMs":3.008,"producedBytes":16}}"#
            )
        )]
    );
    let timing = Timing { duration: Duration::from_secs(3), response: None };
    assert_eq!(
        json(&Line::RuntimeDone {
            about: about(None, None),
            status: error("Runtime.ExitError"),
            timing,
            produced_bytes: 0
        }),
        [line(
            "runtimeDone",
            r#""requestId":"REQUEST","status":"error","errorType":"Runtime.ExitError","spans":[],"metrics":{"durationMs":3000.0,"producedBytes":0}"#
        )]
    );
    assert_eq!(
        json(&Line::init_runtime_done(Phase::Init, Status::Timeout)),
        [line("initRuntimeDone", r#""initializationType":"on-demand","phase":"init","status":"timeout""#)]
    );
    assert_eq!(
        json(&Line::init_report(Phase::Init, Duration::from_millis(10_000), Status::Timeout)),
        [line(
            "initReport",
            r#""initializationType":"on-demand","phase":"init","status":"timeout","metrics":{"durationMs":10000.0}"#
        )]
    );
    assert_eq!(
        json(&extension(None)),
        [line("extension", r#""name":"foo","state":"Ready","events":["INVOKE","SHUTDOWN"]"#)]
    );
    assert_eq!(
        json(&extension(Some("PermissionDenied"))),
        [line(
            "extension",
            r#""name":"foo","state":"LaunchError","events":[],"errorType":"PermissionDenied""#
        )]
    );
    let subscribed = r#""name":"foo","state":"Subscribed","types":["platform","function","extension"]"#;
    assert_eq!(json(&subscription(Api::Telemetry)), [line("telemetrySubscription", subscribed)]);
    assert_eq!(json(&subscription(Api::Logs)), [line("logsSubscription", subscribed)]);
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
    let init = |status| Line::init_report(Phase::Init, Duration::ZERO, status);
    let start = Line::Start(about(None, None));
    assert_eq!(on_demand(&Line::InitStart { phase: Phase::Init }), ["initStart", "initStart", ""]);
    assert_eq!(on_demand(&start), ["start", "start", ""]);
    let init_done = |status| Line::init_runtime_done(Phase::Init, status);
    assert_eq!(on_demand(&init_done(Status::Success)), ["initRuntimeDone", "", ""]);
    assert_eq!(on_demand(&init_done(Status::Timeout)), ["initRuntimeDone"; 3]);
    assert_eq!(on_demand(&init(Status::Success)), ["initReport", "", ""]);
    assert_eq!(on_demand(&init(Status::Timeout)), ["initReport"; 3]);
    let provisioned = InitializationType::ProvisionedConcurrency;
    assert_eq!(told(&init(Status::Success), provisioned), ["initReport", "initReport", ""]);
    assert_eq!(on_demand(&extension(None)), ["extension", "", ""]);
    assert_eq!(on_demand(&extension(Some("UnknownError"))), ["extension"; 3]);
    assert_eq!(on_demand(&subscription(Api::Telemetry)), ["telemetrySubscription", "", ""]);
    assert_eq!(on_demand(&runtime_done(Status::Success, None)), ["runtimeDone", "", ""]);
    assert_eq!(on_demand(&runtime_done(handler(), None)), ["runtimeDone"; 3]);
    assert_eq!(on_demand(&report(None, Status::Success, None)), ["report", "report", ""]);
    assert_eq!(on_demand(&report(None, handler(), None)), ["report"; 3]);
    assert_eq!(on_demand(&report(None, Status::Timeout, None)), ["report"; 3]);
    assert!(dropped(&spec(LogFormat::Json, Some(SystemLogLevel::Warn))).contains("platform.logsDropped"));
    // INFO unless configured.
    let unset = lines(&spec(LogFormat::Json, None), InitializationType::OnDemand, &start);
    assert_eq!(unset.len(), 1);
}

#[test]
fn records_of_an_invocation_name_its_tenant_in_json_alone() {
    let start = Line::Start(about(None, Some("blue")));
    let (mut done, mut report) = (runtime_done(Status::Success, None), report(None, Status::Success, None));
    for line in [&mut done, &mut report] {
        if let Line::RuntimeDone { about, .. } | Line::Report { about, .. } = line {
            about.tenant = Some("blue".into());
        }
    }
    let spec = spec(LogFormat::Json, Some(SystemLogLevel::Debug));
    for line in [&start, &done, &report] {
        let records = lines(&spec, InitializationType::OnDemand, line);
        assert!(!records.is_empty());
        for record in records {
            let record: Value = serde_json::from_str(&record).unwrap();
            assert_eq!(record["record"]["tenantId"], "blue", "{record}");
        }
        assert!(!text(line).concat().contains("blue"));
    }
}
