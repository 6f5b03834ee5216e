//! The X-Ray trace header of an invocation.
//!
//! Must not send segments: what it decides, others act on.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use hothouse_api::{
    generated::TracingMode,
    name::{AccountId, FunctionName, Region},
};

use crate::{lineage::Link, pool::VersionHandle};

/// Of the invocations of `Active` functions beyond one a second, this part is sampled: X-Ray's default rule.
const SAMPLED_PART: f64 = 0.05;

/// X-Ray counts the invocations of all functions together.
static SAMPLER: Sampler = Sampler { last: AtomicU64::new(0) };

/// The part of the header that tells the chain of invocations.
const LINEAGE: &str = "Lineage";

/// What trace headers of a function depend on.
#[derive(Debug, Clone, Copy)]
pub struct TracedFunction<'a> {
    /// Account that owns the function.
    pub account: AccountId,
    /// Region that the function lives in.
    pub region: &'a Region,
    /// The function's name.
    pub name: &'a FunctionName,
    /// `TracingConfig.Mode`.
    pub tracing: TracingMode,
}

impl TracedFunction<'_> {
    /// The trace header that one invocation sees: the caller's, completed by the function's own rules, with the function
    /// at the end of the lineage.
    pub fn header(&self, header: Option<&str>, now: SystemTime) -> String {
        of_function(header, self, &SAMPLER, now)
    }

    /// How often the function was invoked before in the chain of invocations that led to the one with this header.
    pub fn repetitions(&self, header: &str) -> u32 {
        self.link().count_in(value(header, LINEAGE).unwrap_or_default()).unwrap_or_default()
    }

    fn link(&self) -> Link {
        Link::of(self.account, self.region, self.name)
    }
}

impl VersionHandle {
    /// The trace header that one invocation of this version sees ([`TracedFunction::header`]).
    pub fn trace(&self, header: Option<&str>, now: SystemTime) -> String {
        self.traced().header(header, now)
    }

    /// How often the function was invoked before in the chain that a header tells ([`TracedFunction::repetitions`]).
    pub fn repetitions(&self, header: &str) -> u32 {
        self.traced().repetitions(header)
    }

    fn traced(&self) -> TracedFunction<'_> {
        let spec = self.spec();
        TracedFunction {
            account: spec.account,
            region: &spec.region,
            name: &spec.function_name,
            tracing: spec.tracing,
        }
    }
}

/// Chooses which invocations of functions with `Active` tracing are sampled.
#[derive(Debug)]
struct Sampler {
    /// The second in which one was sampled last.
    last: AtomicU64,
}

impl Sampler {
    fn samples(&self, now: SystemTime) -> bool {
        let second = seconds(now);
        let first_of_its_second = self.last.swap(second, Ordering::Relaxed) != second;
        first_of_its_second || fastrand::f64() < SAMPLED_PART
    }
}

/// The caller's header with what it lacks filled in, since clients refuse a header without root, parent or decision.
/// Who asks for no decision gets the one of `PassThrough`: no.
pub(crate) fn complete(header: Option<&str>, now: SystemTime) -> String {
    fill(header.unwrap_or_default(), now, || false)
}

fn of_function(
    header: Option<&str>,
    function: &TracedFunction<'_>,
    sampler: &Sampler,
    now: SystemTime,
) -> String {
    let active = match function.tracing {
        TracingMode::Active => true,
        TracingMode::PassThrough => false,
    };
    let out = fill(header.unwrap_or_default(), now, || active && sampler.samples(now));
    // A traced function has a segment of its own, and what it does hangs below that, not below the caller's.
    let has_segment = active && out.split(';').any(|part| part == "Sampled=1");
    let own = format!("Parent={:016x}", fastrand::u64(..));
    let lineage = function.link().appended_to(value(&out, LINEAGE).unwrap_or_default());
    let parts = out.split(';').filter(|part| !part.starts_with("Lineage="));
    let parts = parts.map(|part| if has_segment && part.starts_with("Parent=") { &own } else { part });
    let mut header = parts.collect::<Vec<_>>().join(";");
    write!(header, ";{LINEAGE}={lineage}").expect("writing to a string cannot fail");
    header
}

fn fill(header: &str, now: SystemTime, decide: impl FnOnce() -> bool) -> String {
    let mut out = String::with_capacity(128);
    let add = |out: &mut String, part: std::fmt::Arguments<'_>| {
        if !out.is_empty() {
            out.push(';');
        }
        out.write_fmt(part).expect("writing to a string cannot fail");
    };
    if !has(header, "Root") {
        let second = seconds(now) as u32;
        add(&mut out, format_args!("Root=1-{second:08x}-{:024x}", fastrand::u128(..) >> 32));
    }
    // A part without a value counts as missing, and would hide what is put in its place.
    for part in header.split(';').map(str::trim).filter(|part| !part.is_empty() && !part.ends_with('=')) {
        add(&mut out, format_args!("{part}"));
    }
    if !has(header, "Parent") {
        add(&mut out, format_args!("Parent={:016x}", fastrand::u64(..)));
    }
    // `?` hands the decision on to whom it is sent.
    if !has(header, "Sampled") || header.split(';').any(|part| part.trim() == "Sampled=?") {
        out = out.replace(";Sampled=?", "");
        add(&mut out, format_args!("Sampled={}", u8::from(decide())));
    }
    out
}

/// Whether the header has a part of this name with a value.
fn has(header: &str, name: &str) -> bool {
    value(header, name).is_some()
}

/// The value of the first part of this name that has one.
fn value<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let value = |part: &'a str| part.trim().strip_prefix(name)?.strip_prefix('=');
    header.split(';').find_map(|part| value(part).filter(|value| !value.is_empty()))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ROOT: &str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700";
    const WHOLE: &str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1";

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(0x5bef_4de7)
    }

    #[test]
    fn what_is_missing_is_filled_in() {
        let fresh = complete(None, now());
        assert!(fresh.starts_with("Root=1-5bef4de7-"), "{fresh}");
        assert_eq!(fresh.len(), WHOLE.len());
        assert_eq!(complete(Some(WHOLE), now()), WHOLE);
        let rooted = complete(Some(ROOT), now());
        assert!(rooted.starts_with(&format!("{ROOT};Parent=")), "{rooted}");
        assert!(rooted.ends_with(";Sampled=0"), "{rooted}");
    }

    #[test]
    fn parts_without_a_value_are_filled_in_and_unknown_ones_kept() {
        let header = format!(" {ROOT} ; Parent= ;Self=1-2;Sampled=?");
        let completed = complete(Some(&header), now());
        assert!(completed.starts_with(&format!("{ROOT};Self=1-2;Parent=")), "{completed}");
        assert!(completed.ends_with(";Sampled=0"), "{completed}");
        assert_eq!(completed.matches("Sampled").count(), 1);
    }

    #[test]
    fn a_function_is_at_the_end_of_the_lineage_that_it_sees() {
        let (region, name, other) = (region(), name("f"), name("g"));
        let function = TracedFunction { name: &name, ..function(&region, &name) };
        let other = TracedFunction { name: &other, ..function };
        let sampler = Sampler { last: AtomicU64::new(0) };
        let invoked = |function: &TracedFunction<'_>, header: &str| {
            of_function(Some(header), function, &sampler, now())
        };
        let first = invoked(&function, WHOLE);
        let lineage =
            first.strip_prefix(&format!("{WHOLE};Lineage=1:")).expect("the caller's header is kept");
        let (hash, count) = lineage.split_once(':').expect("three parts");
        assert!(
            hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && count == "0",
            "{lineage}"
        );
        assert_eq!(function.repetitions(&first), 0);
        let second = invoked(&function, &first);
        assert_eq!(second, format!("{WHOLE};Lineage=1:{hash}:1"));
        assert_eq!((function.repetitions(&second), other.repetitions(&second)), (1, 0));
        let third = invoked(&function, &invoked(&other, &second));
        assert_eq!((function.repetitions(&third), other.repetitions(&third)), (2, 0));
        assert_eq!(third.matches("Lineage=").count(), 1, "{third}");
    }

    #[test]
    fn who_decides_is_the_caller_then_the_function() {
        let (region, name) = (region(), name("f"));
        let mut function = function(&region, &name);
        let sampler = Sampler { last: AtomicU64::new(0) };
        let sampled = |header: Option<&str>, function: &TracedFunction<'_>| {
            of_function(header, function, &sampler, now()).contains(";Sampled=1")
        };
        assert!(!sampled(None, &function), "PassThrough");
        assert!(sampled(Some(WHOLE), &function), "the caller's yes");
        function.tracing = TracingMode::Active;
        assert!(sampled(Some(ROOT), &function), "the first of a second");
        let seen = of_function(Some(WHOLE), &function, &sampler, now());
        assert!(seen.starts_with(ROOT) && !seen.contains("9a9197af755a6419"), "a segment of its own: {seen}");
        assert!(
            !sampled(Some(&WHOLE.replace("=1", "=0").replace("Root=0", "Root=1")), &function),
            "the caller's no"
        );
    }

    fn region() -> Region {
        "us-east-1".parse().unwrap()
    }

    fn name(name: &str) -> FunctionName {
        name.parse().unwrap()
    }

    fn function<'a>(region: &'a Region, name: &'a FunctionName) -> TracedFunction<'a> {
        let account = "123456789012".parse().unwrap();
        TracedFunction { account, region, name, tracing: TracingMode::PassThrough }
    }

    #[test]
    fn one_a_second_and_a_part_of_the_others_are_sampled() {
        let sampler = Sampler { last: AtomicU64::new(0) };
        let sampled = (0..10_000).filter(|_| sampler.samples(now())).count();
        assert!((300..=700).contains(&sampled), "5 % of 10,000, not {sampled}");
        assert!(sampler.samples(now() + Duration::from_secs(1)));
    }
}
