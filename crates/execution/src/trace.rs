//! The X-Ray trace header of an invocation.
//!
//! Must not sample: a decision that the caller did not make is "no".

use std::time::{SystemTime, UNIX_EPOCH};

/// The caller's header with what it lacks filled in, since clients refuse a header without root, parent or decision.
pub(crate) fn complete(header: Option<&str>, now: SystemTime) -> String {
    let header = header.unwrap_or_default();
    let has = |name: &str| {
        header.split(';').any(|part| part.trim().strip_prefix(name).is_some_and(|v| v.len() > 1))
    };
    let mut out = String::with_capacity(96);
    if !has("Root") {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as u32;
        out.push_str(&format!("Root=1-{seconds:08x}-{:024x}", fastrand::u128(..) >> 32));
    }
    if !header.is_empty() {
        if !out.is_empty() {
            out.push(';');
        }
        out.push_str(header);
    }
    if !has("Parent") {
        out.push_str(&format!(";Parent={:016x}", fastrand::u64(..)));
    }
    if !has("Sampled") {
        out.push_str(";Sampled=0");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_filled_in() {
        let now = UNIX_EPOCH + std::time::Duration::from_secs(0x5bef_4de7);
        let fresh = complete(None, now);
        assert!(fresh.starts_with("Root=1-5bef4de7-"), "{fresh}");
        assert_eq!(
            fresh.len(),
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".len()
        );

        let whole =
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1;Lineage=1:fe460cdd:0";
        assert_eq!(complete(Some(whole), now), whole);

        let rooted = complete(Some("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700"), now);
        assert!(rooted.starts_with("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent="), "{rooted}");
        assert!(rooted.ends_with(";Sampled=0"), "{rooted}");
    }
}
