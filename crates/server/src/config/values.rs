//! Parsers of single values. Each answers with the hint that helps whoever wrote the value.
//!
//! Must not know which option it parses for.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::{Isolation, Network, auth::Check};

type Parsed<T> = Result<T, String>;

/// The port of LocalStack, which clients expect.
const DEFAULT_PORT: u16 = 4566;

/// `HOST:PORT`, `HOST`, `:PORT` or `PORT`-less forms as LocalStack's `GATEWAY_LISTEN` has them; a bare port means loopback.
pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    let hint = || "write IP:PORT, for example 127.0.0.1:4566, or 0.0.0.0:4566 for all interfaces".to_owned();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, DEFAULT_PORT));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "4566"));
    if !matches!(host, "" | "localhost") {
        return Err(hint());
    }
    let port = port.parse().map_err(|_| hint())?;
    Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("write true or false (1, 0, yes, no, on and off also work)".to_owned()),
    }
}

/// A variable that says the opposite of its option.
pub(super) fn negated(text: &str) -> Parsed<String> {
    Ok((!boolean(text)?).to_string())
}

pub(super) fn milliseconds(text: &str) -> Parsed<String> {
    text.parse::<u64>()
        .map(|number| format!("{number}ms"))
        .map_err(|_| "write a number of milliseconds".to_owned())
}

pub(super) fn seconds(text: &str) -> Parsed<String> {
    text.parse::<u64>().map(|number| format!("{number}s")).map_err(|_| "write a number of seconds".to_owned())
}

/// LocalStack has levels that `tracing` does not.
pub(super) fn localstack_log_level(text: &str) -> Parsed<String> {
    match text.to_ascii_lowercase().as_str() {
        "trace-internal" => Ok("trace".to_owned()),
        "warning" => Ok("warn".to_owned()),
        "critical" => Ok("error".to_owned()),
        level @ ("trace" | "debug" | "info" | "warn" | "error") => Ok(level.to_owned()),
        _ => Err("write trace, debug, info, warn or error".to_owned()),
    }
}

/// LocalStack runs the programs of a debugged start as root.
pub(super) fn debugged_user(text: &str) -> Parsed<String> {
    Ok(if boolean(text)? { "root" } else { "sbx_user1051" }.to_owned())
}

/// A user's name as `/etc/passwd` can have it.
pub(super) fn user_name(text: &str) -> Parsed<String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let starts = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if starts && text.len() <= 32 && text.bytes().all(valid) {
        Ok(text.to_owned())
    } else {
        Err("write a user name, for example sbx_user1051, or root".to_owned())
    }
}

pub(super) fn log_level(text: &str) -> Parsed<String> {
    let lower = text.to_ascii_lowercase();
    let is_directive = text.contains('=') && tracing_subscriber::EnvFilter::try_new(text).is_ok();
    match lower.as_str() {
        "error" | "warn" | "info" | "debug" | "trace" | "off" => Ok(lower),
        _ if is_directive => Ok(text.to_owned()),
        _ => {
            Err("write error, warn, info, debug or trace, or directives such as `info,hyper=off`".to_owned())
        }
    }
}

pub(super) fn duration(text: &str) -> Parsed<Duration> {
    let hint = || "write a number and a unit: 500ms, 20s, 10m or 1h".to_owned();
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(hint)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| hint())?;
    let milliseconds = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(hint()),
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(hint)
}

pub(super) fn size(text: &str) -> Parsed<u64> {
    let hint = || "write a number of bytes, or a number with KiB, MiB or GiB".to_owned();
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| hint())?;
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "kib" | "k" => 10,
        "mib" | "m" => 20,
        "gib" | "g" => 30,
        _ => return Err(hint()),
    };
    number.checked_mul(1 << shift).ok_or_else(hint)
}

pub(super) fn count(text: &str) -> Parsed<u32> {
    text.parse().map_err(|_| "write a whole number".to_owned())
}

pub(super) fn positive(text: &str) -> Parsed<usize> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "write a whole number above 0".to_owned())
}

/// Checks, separated by commas.
pub(super) fn auth_checks(text: &str) -> Parsed<Vec<Check>> {
    let check = |text: &str| match text.trim() {
        "sigv4" => Ok(Check::Sigv4),
        "policies" => Ok(Check::Policies),
        _ => Err("write sigv4, policies or sigv4,policies".to_owned()),
    };
    text.split(',').map(check).collect()
}

pub(super) fn isolation(text: &str) -> Parsed<Isolation> {
    match text {
        "best" => Ok(Isolation::Best),
        "full" => Ok(Isolation::Full),
        "partial" => Ok(Isolation::Partial),
        "none" => Ok(Isolation::None),
        _ => Err("write best, full, partial or none".to_owned()),
    }
}

pub(super) fn network(text: &str) -> Parsed<Network> {
    match text {
        "auto" => Ok(Network::Auto),
        "host" => Ok(Network::Host),
        "isolated" => Ok(Network::Isolated),
        _ => Err("write auto, host or isolated".to_owned()),
    }
}

pub(super) fn text(text: &str) -> Parsed<String> {
    Ok(text.to_owned())
}

pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() { Err("write a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// A `Host` header's name: without port, lower case.
pub(super) fn host(text: &str) -> Parsed<String> {
    let valid = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if valid && !text.is_empty() {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("write a host name without scheme and port, for example lambda.internal".to_owned())
    }
}

pub(super) fn origin(text: &str) -> Parsed<String> {
    let hint = || {
        "write scheme, host and port as browsers send them, for example https://app.example.com".to_owned()
    };
    let (scheme, host) = text.split_once("://").ok_or_else(hint)?;
    let valid = !scheme.is_empty() && !host.is_empty() && !host.contains(['/', ' ', '*']);
    if valid { Ok(text.to_ascii_lowercase()) } else { Err(hint()) }
}

/// An endpoint to forward to.
pub(super) fn endpoint_url(text: &str) -> Parsed<String> {
    let hint = || "write a URL, for example http://127.0.0.1:5000".to_owned();
    let uri: http::Uri = text.parse().map_err(|_| hint())?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    if known && uri.host().is_some_and(|host| !host.is_empty()) {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(hint())
    }
}

/// A running service: plain HTTP.
pub(super) fn http_url(text: &str) -> Parsed<String> {
    let url = endpoint_url(text).map_err(|_| "write a URL, for example http://127.0.0.1:4566".to_owned())?;
    if url.starts_with("http://") {
        Ok(url)
    } else {
        Err("Hothouse serves plain HTTP: write http://HOST:PORT".to_owned())
    }
}

pub(super) fn region(text: &str) -> Parsed<String> {
    let valid = text.contains('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if valid { Ok(text.to_owned()) } else { Err("write a region, for example us-east-1".to_owned()) }
}

pub(super) fn account(text: &str) -> Parsed<String> {
    let valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { Ok(text.to_owned()) } else { Err("write the twelve digits of an account".to_owned()) }
}

pub(super) fn runtime_path(text: &str) -> Parsed<(String, PathBuf)> {
    match text.split_once('=') {
        Some((runtime, path)) if !runtime.is_empty() && !path.is_empty() => {
            Ok((runtime.to_owned(), PathBuf::from(path)))
        }
        _ => Err("write RUNTIME=PATH, for example python3.12=/opt/python3.12/bin/python3.12".to_owned()),
    }
}
