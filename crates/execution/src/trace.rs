//! The X-Ray trace header of an invocation.
//!
//! Must not send segments: what it decides, others act on.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use hothouse_api::generated::TracingMode;

use crate::{pool::VersionHandle, spec::FunctionSpec};

/// Of the invocations of `Active` functions beyond one a second, this part is sampled: X-Ray's default rule.
const SAMPLED_PART: f64 = 0.05;

/// X-Ray counts the invocations of all functions together.
static SAMPLER: Sampler = Sampler { last: AtomicU64::new(0) };

impl VersionHandle {
    /// The trace header that an invocation of this version sees: the caller's, completed by the function's own rules
    /// (`TracingConfig`), with its lineage. Completing it again changes nothing.
    pub fn trace(&self, header: Option<&str>, now: SystemTime) -> String {
        of_function(header, self.spec(), &SAMPLER, now)
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

fn of_function(header: Option<&str>, spec: &FunctionSpec, sampler: &Sampler, now: SystemTime) -> String {
    let header = header.unwrap_or_default();
    let active = match spec.tracing {
        TracingMode::Active => true,
        TracingMode::PassThrough => false,
    };
    let mut out = fill(header, now, || active && sampler.samples(now));
    // A traced function has a segment of its own, and what it does hangs below that, not below the caller's.
    if active && out.split(';').any(|part| part == "Sampled=1") {
        let own = format!("Parent={:016x}", fastrand::u64(..));
        let parts = out.split(';').map(|part| if part.starts_with("Parent=") { own.as_str() } else { part });
        out = parts.collect::<Vec<_>>().join(";");
    }
    if !has(header, "Lineage") {
        // Unverified: `1` is a weight, and the last number counts how often the function was in the chain before.
        write!(out, ";Lineage=1:{:08x}:0", function_hash(spec)).expect("writing to a string cannot fail");
    }
    out
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
    let value = |part: &str| part.trim().strip_prefix(name)?.strip_prefix('=').map(|value| !value.is_empty());
    header.split(';').any(|part| value(part).unwrap_or(false))
}

/// The same for every invocation of a function. Unverified: what AWS hashes is not told.
fn function_hash(spec: &FunctionSpec) -> u32 {
    // FNV-1a: stable from one release to the next, unlike the standard library's hashes.
    let mut hash = 0x811c_9dc5_u32;
    let mut add = |text: &str| {
        for byte in text.bytes().chain([b':']) {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    };
    add(spec.region.as_str());
    add(&spec.account.to_string());
    add(spec.function_name.as_str());
    hash
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtimes::fixtures;

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
    fn a_function_sees_its_lineage_once() {
        let spec = fixtures::spec("python3.13");
        let sampler = Sampler { last: AtomicU64::new(0) };
        let seen = of_function(Some(WHOLE), &spec, &sampler, now());
        let lineage = seen.strip_prefix(&format!("{WHOLE};Lineage=1:")).expect("the caller's header is kept");
        let (hash, count) = lineage.split_once(':').expect("three parts");
        assert!(
            hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && count == "0",
            "{lineage}"
        );
        assert_eq!(of_function(Some(&seen), &spec, &sampler, now()), seen);
        let mut other = spec.clone();
        other.function_name = "another".parse().unwrap();
        assert_ne!(of_function(Some(WHOLE), &other, &sampler, now()), seen);
    }

    #[test]
    fn who_decides_is_the_caller_then_the_function() {
        let mut spec = fixtures::spec("python3.13");
        let sampler = Sampler { last: AtomicU64::new(0) };
        let sampled = |header: Option<&str>, spec: &FunctionSpec| {
            of_function(header, spec, &sampler, now()).contains(";Sampled=1")
        };
        assert!(!sampled(None, &spec), "PassThrough");
        assert!(sampled(Some(WHOLE), &spec), "the caller's yes");
        spec.tracing = TracingMode::Active;
        assert!(sampled(Some(ROOT), &spec), "the first of a second");
        let seen = of_function(Some(WHOLE), &spec, &sampler, now());
        assert!(seen.starts_with(ROOT) && !seen.contains("9a9197af755a6419"), "a segment of its own: {seen}");
        assert!(
            !sampled(Some(&WHOLE.replace("=1", "=0").replace("Root=0", "Root=1")), &spec),
            "the caller's no"
        );
    }

    #[test]
    fn one_a_second_and_a_part_of_the_others_are_sampled() {
        let sampler = Sampler { last: AtomicU64::new(0) };
        let sampled = (0..10_000).filter(|_| sampler.samples(now())).count();
        assert!((300..=700).contains(&sampled), "5 % of 10,000, not {sampled}");
        assert!(sampler.samples(now() + Duration::from_secs(1)));
    }
}
