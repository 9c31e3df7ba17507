//! Segments that have left the buffer and have not landed yet.
//!
//! A segment counts as in flight from the moment it leaves the buffer, so that a flush waits for it
//! even before its task has run. Segments that overlap land in the order in which they left.

use super::buffer::Segment;
use std::collections::BTreeMap;

/// The ranges in flight, in the order in which they left the buffer.
#[derive(Debug, Default)]
pub(super) struct Flights {
    ranges: BTreeMap<u64, (u64, u64)>,
    ticket_next: u64,
}

/// A segment in flight. It must be landed, or everybody who waits for it waits for ever.
#[derive(Debug)]
pub(super) struct Departed {
    pub ticket: u64,
    pub segment: Segment,
}

impl Flights {
    /// Takes note of segments that leave the buffer.
    pub(super) fn depart(&mut self, segments: Vec<Segment>) -> Vec<Departed> {
        let depart = |segment: Segment| {
            let ticket = self.ticket_next;
            self.ticket_next += 1;
            self.ranges.insert(ticket, (segment.start, segment.end()));
            Departed { ticket, segment }
        };
        segments.into_iter().map(depart).collect()
    }

    /// Takes note that a segment is acknowledged, or has failed.
    pub(super) fn land(&mut self, ticket: u64) {
        let landed = self.ranges.remove(&ticket);
        assert!(landed.is_some(), "what lands has departed");
    }

    /// Whether an overlapping segment that left earlier is still in flight.
    pub(super) fn must_wait(&self, ticket: u64) -> bool {
        let (start, end) = self.ranges[&ticket];
        self.ranges.range(..ticket).any(|(_, (from, until))| *from < end && *until > start)
    }

    /// Whether anything of a range is in flight.
    pub(super) fn overlaps(&self, start: u64, end: u64) -> bool {
        self.ranges.values().any(|(from, until)| *from < end && *until > start)
    }

    /// Where the last of them ends; 0 when there is none.
    pub(super) fn end(&self) -> u64 {
        self.ranges.values().map(|(_, until)| *until).max().unwrap_or(0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start: u64, length: usize) -> Segment {
        Segment { start, bytes: vec![0; length].into(), room: None, reserved: true }
    }

    #[test]
    fn overlapping_segments_land_in_the_order_in_which_they_left() {
        let mut flights = Flights::default();
        let departed =
            flights.depart(vec![segment(0, 10), segment(20, 10), segment(5, 10), segment(8, 2)]);
        let tickets: Vec<u64> = departed.iter().map(|departed| departed.ticket).collect();
        let waiting = |flights: &Flights| {
            tickets[2..].iter().map(|ticket| flights.must_wait(*ticket)).collect::<Vec<_>>()
        };
        assert!(!flights.must_wait(tickets[0]) && !flights.must_wait(tickets[1]));
        assert_eq!(waiting(&flights), [true, true]);
        flights.land(tickets[0]);
        assert_eq!(waiting(&flights), [false, true]);
        assert!(flights.overlaps(29, 40) && !flights.overlaps(30, 40));
        tickets.iter().skip(1).for_each(|ticket| flights.land(*ticket));
        assert!(flights.is_empty());
    }
}
