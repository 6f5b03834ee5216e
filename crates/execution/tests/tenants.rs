//! Functions that keep their tenants apart: whose environment an invocation gets.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use hothouse_api::generated::LogFormat;
use hothouse_execution::{
    EngineConfig, VersionHandle,
    executor::fake::FakeExecutor,
    invocation::{Invocation, InvokeError, Outcome},
};
use support::{engine, invocation, spec};

/// Answers with the environment's number and the tenant that it is told of.
fn telling() -> FakeExecutor {
    let environments = AtomicUsize::new(0);
    FakeExecutor::new(move |mut runtime| {
        let number = environments.fetch_add(1, Ordering::Relaxed);
        async move {
            loop {
                let event = runtime.next().await;
                let tenant = event.headers.get("lambda-runtime-aws-tenant-id");
                let tenant = tenant.map_or("nobody", |tenant| tenant.to_str().unwrap());
                runtime.respond(&event.request_id, format!("{number} {tenant}")).await;
            }
        }
    })
}

async fn invoke(handle: &VersionHandle, tenant: Option<&str>) -> Result<String, InvokeError> {
    let invocation = Invocation { tenant_id: tenant.map(Into::into), ..invocation("{}") };
    match handle.invoke(invocation).await?.outcome {
        Outcome::Success(answer) => Ok(String::from_utf8(answer.into()).unwrap()),
        Outcome::Error(document) => panic!("{document:?}"),
    }
}

#[tokio::test]
async fn tenants_share_no_environment() {
    let (engine, _) = engine(telling(), EngineConfig::default());
    let handle = engine.version(spec());
    for (tenant, answer) in [
        (Some("blue"), "0 blue"),
        (Some("red"), "1 red"),
        (Some("blue"), "0 blue"),
        (Some("red"), "1 red"),
        (None, "2 nobody"),
        (Some("Blue"), "3 Blue"),
        (Some("blue"), "0 blue"),
    ] {
        assert_eq!(invoke(&handle, tenant).await.unwrap(), answer);
    }
    handle.retire();
    assert!(matches!(invoke(&handle, Some("blue")).await, Err(InvokeError::Retired)));
    engine.shut_down().await;
    assert!(engine.environments().is_empty());
}

#[tokio::test]
async fn retired_version_lets_go_of_its_tenants() {
    let (engine, sink) = engine(telling(), EngineConfig::default());
    let mut spec = spec();
    spec.logging.format = LogFormat::Json;
    let handle = engine.version(spec);
    for tenant in ["a", "b", "c"] {
        invoke(&handle, Some(tenant)).await.unwrap();
    }
    assert!(sink.lines().concat().contains(r#""tenantId":"b""#));
    assert_eq!(engine.environments().len(), 3);
    handle.retire();
    while !engine.environments().is_empty() {
        tokio::task::yield_now().await;
    }
    engine.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn tenants_have_no_more_environments_than_they_may_together() {
    let keep_alive = Duration::from_secs(60);
    let config = EngineConfig { tenant_environments: 5, keep_alive, ..EngineConfig::default() };
    let (engine, _) = engine(telling(), config);
    let handle = engine.version(spec());
    for tenant in ["a", "b", "c", "d", "e"] {
        invoke(&handle, Some(tenant)).await.unwrap();
    }
    assert!(matches!(invoke(&handle, Some("f")).await, Err(InvokeError::Throttled { limit: 5 })));
    // Whoever has one may go on.
    assert_eq!(invoke(&handle, Some("e")).await.unwrap(), "4 e");
    // There is room again when the others have been idle for too long.
    tokio::time::sleep(keep_alive * 2).await;
    assert_eq!(invoke(&handle, Some("f")).await.unwrap(), "5 f");
    engine.shut_down().await;
}
