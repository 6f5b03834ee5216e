//! GetMetricData and GetMetricStatistics: values of periods.
//!
//! Must not compute with metrics: expressions are refused.

use std::collections::{BTreeMap, HashSet};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hothouse_control::metrics::Distribution;

use super::{
    Refusal,
    operations::{Asked, dimensions, period, span},
    put::UNITS,
    statistic::Statistic,
    store::Name,
    value::Value,
};

/// Periods that GetMetricStatistics gives at once.
const STATISTICS: i64 = 1440;
/// Values that GetMetricData gives at once, if nothing else is asked for; and the most.
const DATA: usize = 100_800;
const QUERIES: usize = 500;

/// The values of each period by its first minute, by unit. Periods begin where the caller's time does.
fn periods(
    asked: &Asked<'_>,
    name: &Name,
    (begin, end): (i64, i64),
    period: i64,
    unit: Option<&str>,
) -> BTreeMap<(i64, String), Distribution> {
    let mut periods: BTreeMap<(i64, String), Distribution> = BTreeMap::new();
    for (minute, units) in asked.store.get(asked.scope, name, begin, end) {
        let first = begin + (minute - begin).div_euclid(period) * period;
        for (its, values) in units {
            if unit.is_none_or(|unit| unit == its) {
                periods.entry((first, its)).or_default().merge(&values);
            }
        }
    }
    periods
}

fn unit(of: &Value) -> Result<Option<&str>, Refusal> {
    match of.string("Unit")? {
        Some(unit) if !UNITS.contains(&unit) => {
            Err(Refusal::invalid(format!("The value {unit} for parameter Unit is invalid.")))
        }
        unit => Ok(unit),
    }
}

fn name(of: &Value) -> Result<Name, Refusal> {
    Ok(Name {
        namespace: of.required("Namespace")?.to_owned(),
        metric: of.required("MetricName")?.to_owned(),
        dimensions: dimensions(of)?,
    })
}

fn time(minute: i64) -> Value {
    Value::Time(minute as f64 * 60.0)
}

pub(super) fn get_metric_statistics(asked: &Asked<'_>) -> Result<Value, Refusal> {
    let input = asked.input;
    let name = name(input)?;
    let span = span(input)?;
    let period = period(input)?;
    let plain = input.strings("Statistics")?;
    let extended = input.strings("ExtendedStatistics")?;
    if plain.is_empty() && extended.is_empty() {
        return Err(Refusal::new(
            "MissingRequiredParameterException",
            "MissingParameter",
            "At least one of the parameters Statistics and ExtendedStatistics must be specified.",
        ));
    }
    let plain = plain.into_iter().map(|text| match Statistic::parse(text)? {
        Statistic::Percentile(_) => {
            Err(Refusal::invalid(format!("The value {text} for parameter Statistics is invalid.")))
        }
        statistic => Ok((text, statistic)),
    });
    let plain: Vec<_> = plain.collect::<Result<_, Refusal>>()?;
    let extended = extended.into_iter().map(|text| Ok((text, Statistic::percentile(text)?)));
    let extended: Vec<_> = extended.collect::<Result<_, Refusal>>()?;
    let asked_for = (span.1 - span.0).div_euclid(period);
    if asked_for > STATISTICS {
        return Err(Refusal::combination(format!(
            "You have requested up to {asked_for} datapoints, which exceeds the limit of 1,440. You may reduce the \
             datapoints requested by increasing Period, or decreasing the time range."
        )));
    }
    let points =
        periods(asked, &name, span, period, unit(input)?).into_iter().map(|((first, unit), values)| {
            let mut point = vec![("Timestamp".to_owned(), time(first))];
            let number = |(text, statistic): &(&str, Statistic)| {
                Some(((*text).to_owned(), Value::Number(statistic.of(&values)?)))
            };
            point.extend(plain.iter().filter_map(number));
            point.push(("Unit".to_owned(), Value::Text(unit)));
            if !extended.is_empty() {
                let extended = Value::Map(extended.iter().filter_map(number).collect());
                point.push(("ExtendedStatistics".to_owned(), extended));
            }
            Value::Structure(point)
        });
    let points = Value::List(points.collect());
    Ok(Value::of([("Label", Value::Text(name.metric)), ("Datapoints", points)]))
}

/// One of the queries, understood.
struct Query<'a> {
    id: &'a str,
    label: String,
    name: Name,
    period: i64,
    statistic: Statistic,
    unit: Option<&'a str>,
}

pub(super) fn get_metric_data(asked: &Asked<'_>) -> Result<Value, Refusal> {
    let input = asked.input;
    let span = span(input)?;
    let queries = input.list("MetricDataQueries")?;
    if queries.is_empty() {
        return Err(Refusal::missing("MetricDataQueries"));
    }
    if queries.len() > QUERIES {
        return Err(Refusal::validation(
            "The collection MetricDataQueries must not have a size greater than 500.",
        ));
    }
    let descending = match input.string("ScanBy")? {
        None | Some("TimestampDescending") => true,
        Some("TimestampAscending") => false,
        Some(other) => {
            return Err(Refusal::validation(format!("The value {other} for parameter ScanBy is invalid.")));
        }
    };
    let most = match input.number("MaxDatapoints")? {
        None => DATA,
        Some(most) if (1.0..=DATA as f64).contains(&most) => most as usize,
        Some(_) => return Err(Refusal::validation("The parameter MaxDatapoints must be from 1 to 100800.")),
    };
    let mut ids = HashSet::new();
    let mut results = Vec::new();
    let skipped = input.string("NextToken")?.map(from_token).transpose()?.unwrap_or(0);
    let (mut skip, mut left, mut given, mut more) = (skipped, most, 0, false);
    for query in queries {
        let Some(query) = read(query, &mut ids)? else { continue };
        let mut points: BTreeMap<i64, Distribution> = BTreeMap::new();
        for ((first, _), values) in periods(asked, &query.name, span, query.period, query.unit) {
            points.entry(first).or_default().merge(&values);
        }
        let points = points.iter().filter_map(|(first, values)| Some((*first, query.statistic.of(values)?)));
        let mut points: Vec<(i64, f64)> = points.collect();
        if descending {
            points.reverse();
        }
        let before = skip.min(points.len());
        points.drain(..before);
        skip -= before;
        let partial = points.len() > left;
        points.truncate(left);
        left -= points.len();
        given += points.len();
        more |= partial;
        let times = points.iter().map(|(minute, _)| time(*minute)).collect();
        let values = points.iter().map(|(_, value)| Value::Number(*value)).collect();
        results.push(Value::of([
            ("Id", Value::text(query.id)),
            ("Label", Value::Text(query.label)),
            ("Timestamps", Value::List(times)),
            ("Values", Value::List(values)),
            ("StatusCode", Value::text(if partial { "PartialData" } else { "Complete" })),
        ]));
    }
    let token = more.then(|| Value::text(BASE64_STANDARD.encode((skipped + given).to_string())));
    Ok(Value::of([
        ("MetricDataResults", Value::List(results)),
        ("NextToken", Value::option(token)),
        ("Messages", Value::List(Vec::new())),
    ]))
}

/// Nothing for a query whose data are not wanted.
fn read<'a>(query: &'a Value, ids: &mut HashSet<&'a str>) -> Result<Option<Query<'a>>, Refusal> {
    let id = query.required("Id")?;
    let mut characters = id.chars();
    let valid = characters.next().is_some_and(|first| first.is_ascii_lowercase())
        && characters.all(|character| character.is_ascii_alphanumeric() || character == '_')
        && id.len() <= 255;
    if !valid {
        return Err(Refusal::validation(format!(
            "The value {id} for parameter Id is invalid: it must begin with a lower-case letter and have only letters, \
             digits and underscores."
        )));
    }
    if !ids.insert(id) {
        return Err(Refusal::validation("The values for parameter id in MetricDataQueries are not unique."));
    }
    if query.get("Expression").is_some() {
        return Err(Refusal::validation(format!(
            "Hothouse does not compute with metrics: the query {id} has an Expression. Ask for metrics by MetricStat."
        )));
    }
    let stat = query.get("MetricStat").ok_or_else(|| Refusal::missing("MetricStat"))?;
    let metric = stat.get("Metric").ok_or_else(|| Refusal::missing("Metric"))?;
    let name = name(metric)?;
    let label = query.string("Label")?.map_or_else(|| name.metric.clone(), str::to_owned);
    let statistic = Statistic::parse(stat.required("Stat")?)?;
    let read = Query { id, label, name, period: period(stat)?, statistic, unit: unit(stat)? };
    Ok(query.boolean("ReturnData")?.unwrap_or(true).then_some(read))
}

fn from_token(token: &str) -> Result<usize, Refusal> {
    let bytes = BASE64_STANDARD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(Refusal::token)
}
