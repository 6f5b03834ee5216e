//! Pages of lists: `Marker`, `MaxItems`, `NextMarker`.
//!
//! A marker holds the last item's key, so that what is added or deleted between two pages harms neither.
//! Must not hold on to anything between two pages.

use std::str::FromStr;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hothouse_api::ApiError;

use crate::error::invalid_parameter;

/// Items on a page if the caller does not say.
const DEFAULT: usize = 50;

/// One page.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_marker: Option<String>,
}

impl<T> Page<T> {
    /// Takes as many items as fit. `show` gives an item's key, which the next page starts behind, and the item.
    pub(crate) fn collect<I>(
        mut all: impl Iterator<Item = I>,
        max_items: Option<i32>,
        most: usize,
        show: impl Fn(I) -> (String, T),
    ) -> Self {
        let wanted = max_items.and_then(|max| usize::try_from(max).ok()).unwrap_or(DEFAULT).clamp(1, most);
        let mut items = Vec::new();
        let mut last = None;
        for item in all.by_ref().take(wanted) {
            let (key, item) = show(item);
            items.push(item);
            last = Some(key);
        }
        let more = all.next().is_some();
        Self { items, next_marker: last.filter(|_| more).map(|key| BASE64_URL_SAFE_NO_PAD.encode(key)) }
    }
}

/// What a marker holds.
///
/// # Errors
/// If it is not one of ours.
pub(crate) fn marker<K: FromStr>(marker: Option<&str>) -> Result<Option<K>, ApiError> {
    let decode = |text: &str| String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?.parse().ok();
    match marker {
        None => Ok(None),
        Some(text) => decode(text).map(Some).ok_or_else(|| invalid_parameter("Marker is invalid")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let mut seen = Vec::new();
        let mut after: Option<u32> = None;
        loop {
            let numbers = (0..7u32).filter(|number| after.is_none_or(|after| *number > after));
            let page = Page::collect(numbers, Some(3), 50, |number| (number.to_string(), number));
            seen.push(page.items);
            let Some(next) = page.next_marker else { break };
            after = marker(Some(&next)).unwrap();
        }
        assert_eq!(seen, [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    }

    #[test]
    fn page_is_no_longer_than_the_operation_allows() {
        let page = Page::collect(0..100, Some(10_000), 50, |number| (number.to_string(), number));
        assert_eq!(page.items.len(), 50);
        let page = Page::collect(0..50, None, 10_000, |number| (number.to_string(), number));
        assert_eq!((page.items.len(), page.next_marker), (50, None));
    }

    #[test]
    fn foreign_marker_is_refused() {
        for text in ["*", "", "eA"] {
            assert_eq!(marker::<u32>(Some(text)).unwrap_err().message(), Some("Marker is invalid"));
        }
    }
}
