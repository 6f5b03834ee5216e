//! ListMetrics, and what the operations have in common.
//!
//! Must not read or write any protocol.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    Refusal,
    store::{Dimensions, Name, Scope, Store},
    value::Value,
};

/// A request.
pub(super) struct Asked<'a> {
    pub(super) store: &'a Store,
    pub(super) scope: &'a Scope,
    /// Milliseconds since the epoch.
    pub(super) now: i64,
    pub(super) input: &'a Value,
}

/// Metrics of one answer.
const PAGE: usize = 500;
/// Metrics without values for so long are not listed, in minutes.
const LISTED: i64 = 14 * 24 * 60;
/// `RecentlyActive=PT3H`
const RECENT: i64 = 180;

pub(super) fn list_metrics(asked: &Asked<'_>) -> Result<Value, Refusal> {
    let Asked { store, scope, now, input } = asked;
    let (namespace, metric) = (input.string("Namespace")?, input.string("MetricName")?);
    let filters = input.list("Dimensions")?;
    let filters = filters.iter().map(|filter| Ok((filter.required("Name")?, filter.string("Value")?)));
    let filters: Vec<_> = filters.collect::<Result<_, Refusal>>()?;
    let age = match input.string("RecentlyActive")? {
        None => LISTED,
        Some("PT3H") => RECENT,
        Some(other) => {
            let message = format!("The value {other} for parameter RecentlyActive is invalid.");
            return Err(Refusal::invalid(message));
        }
    };
    let wanted = |name: &Name| {
        let has = |(key, value): &(&str, Option<&str>)| {
            let mut dimensions = name.dimensions.iter();
            dimensions.any(|(known, its)| known == key && value.is_none_or(|value| value == its))
        };
        namespace.is_none_or(|namespace| namespace == name.namespace)
            && metric.is_none_or(|metric| metric == name.metric)
            && filters.iter().all(has)
    };
    let after = input.string("NextToken")?.map(from_token).transpose()?;
    let since = now.div_euclid(60_000) - age;
    let mut found = store.list(scope, after.as_ref(), since, wanted, PAGE + 1);
    let more = found.len() > PAGE;
    found.truncate(PAGE);
    let token = found.last().filter(|_| more).map(|last| Value::text(to_token(last)));
    let metrics = found.into_iter().map(|name| {
        Value::of([
            ("Namespace", Value::Text(name.namespace)),
            ("MetricName", Value::Text(name.metric)),
            ("Dimensions", shown(name.dimensions)),
        ])
    });
    Ok(Value::of([("Metrics", Value::List(metrics.collect())), ("NextToken", Value::option(token))]))
}

fn shown(dimensions: Dimensions) -> Value {
    let shown = |(name, value)| Value::of([("Name", Value::Text(name)), ("Value", Value::Text(value))]);
    Value::List(dimensions.into_iter().map(shown).collect())
}

fn to_token(name: &Name) -> String {
    let Name { namespace, metric, dimensions } = name;
    BASE64_STANDARD.encode(serde_json::json!([namespace, metric, dimensions]).to_string())
}

fn from_token(token: &str) -> Result<Name, Refusal> {
    let bytes = BASE64_STANDARD.decode(token).ok();
    let parts: Option<(String, String, Dimensions)> =
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let (namespace, metric, dimensions) = parts.ok_or_else(Refusal::token)?;
    Ok(Name { namespace, metric, dimensions })
}

/// Reads dimensions into the order in which they are kept.
pub(super) fn dimensions(of: &Value) -> Result<Dimensions, Refusal> {
    let items = of.list("Dimensions")?;
    if items.len() > 30 {
        return Err(Refusal::invalid("The parameter Dimensions must have at most 30 members."));
    }
    let read = |item: &Value| Ok((item.required("Name")?.to_owned(), item.required("Value")?.to_owned()));
    let mut dimensions: Dimensions = items.iter().map(read).collect::<Result<_, Refusal>>()?;
    dimensions.sort();
    Ok(dimensions)
}

/// Reads a period, in minutes. Ones below a minute give whole minutes, which is what is kept.
pub(super) fn period(of: &Value) -> Result<i64, Refusal> {
    let seconds = of.number("Period")?.ok_or_else(|| Refusal::missing("Period"))?;
    match seconds as i64 {
        1 | 5 | 10 | 20 | 30 => Ok(1),
        whole @ 60..=31_536_000 if whole % 60 == 0 => Ok(whole / 60),
        _ => Err(Refusal::invalid("The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.")),
    }
}

/// Reads the times between which values are asked for, in minutes.
pub(super) fn span(input: &Value) -> Result<(i64, i64), Refusal> {
    let begin = input.time("StartTime")?.ok_or_else(|| Refusal::missing("StartTime"))?;
    let end = input.time("EndTime")?.ok_or_else(|| Refusal::missing("EndTime"))?;
    if begin >= end {
        return Err(Refusal::invalid("The parameter StartTime must be less than the parameter EndTime."));
    }
    // A minute that has begun by the end counts.
    Ok((begin.div_euclid(60_000), (end + 59_999).div_euclid(60_000)))
}
