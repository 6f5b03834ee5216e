//! Queries for events: pages of a stream and searches through a group.
//!
//! Must not decide what callers see of it: tokens and limits of the API are in `operations`.

use std::{collections::HashSet, ops::ControlFlow};

use super::database::{Database, Group, LogsError, StoredEvent, Stream};

/// Messages and their bookkeeping (26 bytes each) that a page holds at most.
const PAGE_BYTES: usize = 1 << 20;

/// A place between two events, in the order of time and then of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) timestamp_ms: i64,
    pub(super) id: i64,
}

impl Position {
    /// Before all events of this time.
    pub(super) fn before_time(timestamp_ms: i64) -> Self {
        Position { timestamp_ms, id: 0 }
    }

    pub(super) fn before(event: &StoredEvent) -> Self {
        Position { timestamp_ms: event.timestamp_ms, id: event.id }
    }

    pub(super) fn after(event: &StoredEvent) -> Self {
        Position { timestamp_ms: event.timestamp_ms, id: event.id + 1 }
    }
}

/// Which way a page goes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// A range of events: from `low` to before `high`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) low: Position,
    pub(super) high: Position,
    pub(super) direction: Direction,
}

/// Which streams a search looks at.
#[derive(Debug)]
pub(super) enum Selection {
    All,
    One(Stream),
    Some(HashSet<i64>),
}

/// Collects events until a page is full.
#[derive(Debug)]
pub(super) struct Page {
    limit: usize,
    bytes: usize,
    /// An event did not fit any more.
    closed: bool,
    pub(super) events: Vec<StoredEvent>,
}

impl Page {
    pub(super) fn new(limit: usize) -> Self {
        Page { limit, bytes: 0, closed: false, events: Vec::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.closed || self.events.len() >= self.limit
    }

    /// Takes the event in, or says that the page is full. An empty page takes everything.
    pub(super) fn push(&mut self, event: StoredEvent) -> ControlFlow<()> {
        let size = event.message.len() + 26;
        if self.is_full() || (!self.events.is_empty() && self.bytes + size > PAGE_BYTES) {
            self.closed = true;
            return ControlFlow::Break(());
        }
        self.bytes += size;
        self.events.push(event);
        ControlFlow::Continue(())
    }
}

impl Database {
    /// A page of one stream's events, always oldest first.
    pub(super) fn page(
        &self,
        stream: &Stream,
        range: Range,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, LogsError> {
        let mut page = Page::new(limit);
        self.scan(Rows::OfStream(stream.id), range, |_, event| page.push(event))?;
        if range.direction == Direction::Backward {
            page.events.reverse();
        }
        Ok(page.events)
    }

    /// Looks at up to `budget` events of a group and moves those that `accept` takes into the page.
    /// Gives the place to go on from, if the search did not reach its end.
    pub(super) fn search(
        &self,
        group: &Group,
        selection: &Selection,
        range: Range,
        budget: usize,
        page: &mut Page,
        accept: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Position>, LogsError> {
        let rows = match selection {
            Selection::One(stream) => Rows::OfStream(stream.id),
            Selection::All | Selection::Some(_) => Rows::OfGroup(group.id),
        };
        let mut looked_at = 0;
        let mut next = None;
        self.scan(rows, range, |stream, event| {
            let here = match range.direction {
                Direction::Forward => Position::before(&event),
                Direction::Backward => Position::after(&event),
            };
            looked_at += 1;
            if looked_at > budget {
                next = Some(here);
                return ControlFlow::Break(());
            }
            let selected = match selection {
                Selection::Some(streams) => streams.contains(&stream),
                Selection::All | Selection::One(_) => true,
            };
            if !selected || !accept(&event.message) {
                return ControlFlow::Continue(());
            }
            let pushed = page.push(event);
            if pushed.is_break() {
                next = Some(here);
            }
            pushed
        })?;
        Ok(next)
    }

    /// Visits the events of a range in its direction, with the row of their stream.
    fn scan(
        &self,
        rows: Rows,
        range: Range,
        mut visit: impl FnMut(i64, StoredEvent) -> ControlFlow<()>,
    ) -> Result<(), LogsError> {
        let (column, id) = match rows {
            Rows::OfGroup(id) => ("group_id", id),
            Rows::OfStream(id) => ("stream_id", id),
        };
        let direction = match range.direction {
            Direction::Forward => "ASC",
            Direction::Backward => "DESC",
        };
        // The bounds on the time alone are implied; they are what SQLite searches the index with.
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT event.stream_id, event.id, log_stream.name, timestamp_ms, event.ingested_ms, message
             FROM event CROSS JOIN log_stream ON log_stream.id = event.stream_id
             WHERE event.{column} = ?1 AND timestamp_ms BETWEEN ?2 AND ?4
               AND (timestamp_ms, event.id) >= (?2, ?3) AND (timestamp_ms, event.id) < (?4, ?5)
             ORDER BY timestamp_ms {direction}, event.id {direction}"
        ))?;
        let Range { low, high, .. } = range;
        let mut rows = statement.query([id, low.timestamp_ms, low.id, high.timestamp_ms, high.id])?;
        while let Some(row) = rows.next()? {
            let (stream, event) = event_row(row)?;
            if visit(stream, event).is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Rows {
    OfGroup(i64),
    OfStream(i64),
}

fn event_row(row: &rusqlite::Row<'_>) -> Result<(i64, StoredEvent), rusqlite::Error> {
    let event = StoredEvent {
        id: row.get(1)?,
        stream: row.get(2)?,
        timestamp_ms: row.get(3)?,
        ingested_ms: row.get(4)?,
        message: row.get(5)?,
    };
    Ok((row.get(0)?, event))
}
