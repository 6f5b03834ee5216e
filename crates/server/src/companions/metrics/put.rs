//! PutMetricData.
//!
//! Must not look at what is kept already.

use std::collections::BTreeMap;

use hothouse_control::metrics::Distribution;

use super::{
    Refusal,
    operations::{Asked, dimensions},
    store::Name,
    value::Value,
};

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;
/// Metrics of one request.
const MOST: usize = 1000;
/// Values of one metric in one request.
const VALUES: usize = 150;

/// What one member of the request says.
struct Datum {
    name: Name,
    unit: String,
    minute: i64,
    values: Distribution,
}

/// All or nothing is kept.
pub(super) fn put_metric_data(asked: &Asked<'_>) -> Result<Value, Refusal> {
    let Asked { store, scope, now, input } = asked;
    let namespace = input.required("Namespace")?;
    if namespace.starts_with(':') || namespace.starts_with("AWS/") || namespace.len() > 255 {
        return Err(Refusal::invalid(format!("The value {namespace} for parameter Namespace is invalid.")));
    }
    let mut lists = vec![input.list("MetricData")?];
    for entity in input.list("EntityMetricData")? {
        lists.push(entity.list("MetricData")?);
    }
    let all: Vec<&Value> = lists.into_iter().flatten().collect();
    if all.is_empty() {
        return Err(Refusal::missing("MetricData"));
    }
    if all.len() > MOST {
        return Err(Refusal::invalid("The collection MetricData must not have a size greater than 1000."));
    }
    let read = |(index, datum)| read(namespace, index, datum, *now);
    let data: Vec<Datum> = all.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
    // One put for each minute of each metric, however many values came.
    let mut together: BTreeMap<(Name, String, i64), Distribution> = BTreeMap::new();
    for Datum { name, unit, minute, values } in data {
        together.entry((name, unit, minute)).or_default().merge(&values);
    }
    for ((name, unit, minute), values) in together {
        store.put(scope, name, &unit, minute, &values, now.div_euclid(60_000));
    }
    Ok(Value::Structure(Vec::new()))
}

fn read(namespace: &str, index: usize, datum: &Value, now: i64) -> Result<Datum, Refusal> {
    let member = |name: &str| format!("MetricData.member.{}.{name}", index + 1);
    let metric = datum.string("MetricName")?.filter(|name| !name.is_empty() && name.len() <= 255);
    let metric = metric.ok_or_else(|| Refusal::missing(&member("MetricName")))?.to_owned();
    let time = datum.time("Timestamp")?.unwrap_or(now);
    if time < now - 14 * DAY || time > now + 2 * HOUR {
        return Err(Refusal::invalid(format!(
            "The parameter {} must specify a time no more than two weeks ago and no more than two hours ahead.",
            member("Timestamp")
        )));
    }
    let name = Name { namespace: namespace.to_owned(), metric, dimensions: dimensions(datum)? };
    let unit = datum.string("Unit")?.unwrap_or("None").to_owned();
    if !UNITS.contains(&unit.as_str()) {
        let message = format!("The value {unit} for parameter {} is invalid.", member("Unit"));
        return Err(Refusal::invalid(message));
    }
    let values = values(datum, &member)?;
    Ok(Datum { name, unit, minute: time.div_euclid(60_000), values })
}

fn values(datum: &Value, member: &impl Fn(&str) -> String) -> Result<Distribution, Refusal> {
    let mut values = Distribution::default();
    let check = |name: &str, value: f64| match value.is_finite() {
        true => Ok(value),
        false => {
            Err(Refusal::invalid(format!("The value {value} for parameter {} is invalid.", member(name))))
        }
    };
    match (datum.number("Value")?, datum.get("StatisticValues"), datum.numbers("Values")?) {
        (Some(value), None, list) if list.is_empty() => values.record(check("Value", value)?, 1.0),
        (None, Some(set), list) if list.is_empty() => {
            let number = |name: &str| {
                let missing = || Refusal::missing(&member(&format!("StatisticValues.{name}")));
                set.number(name)?.ok_or_else(missing).and_then(|value| check("StatisticValues", value))
            };
            let (count, sum) = (number("SampleCount")?, number("Sum")?);
            let (minimum, maximum) = (number("Minimum")?, number("Maximum")?);
            if count <= 0.0 || minimum > maximum {
                let message = format!("The parameter {} is not consistent.", member("StatisticValues"));
                return Err(Refusal::invalid(message));
            }
            values.record_summary(count, sum, minimum, maximum);
        }
        (None, None, list) if (1..=VALUES).contains(&list.len()) => {
            let counts = datum.numbers("Counts")?;
            if !counts.is_empty() && counts.len() != list.len() {
                let message = "The parameters Values and Counts must have the same number of members.";
                return Err(Refusal::invalid(message));
            }
            for (at, value) in list.into_iter().enumerate() {
                let count = check("Counts", counts.get(at).copied().unwrap_or(1.0))?;
                values.record(check("Values", value)?, count);
            }
        }
        (None, None, list) if list.is_empty() => return Err(Refusal::missing(&member("Value"))),
        (None, None, _) => {
            let message =
                format!("The collection {} must not have a size greater than 150.", member("Values"));
            return Err(Refusal::invalid(message));
        }
        _ => {
            let message = "The parameters Value, Values and StatisticValues are mutually exclusive and you have \
                           specified more than one.";
            return Err(Refusal::combination(message));
        }
    }
    Ok(values)
}

/// The model's.
pub(super) const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];
