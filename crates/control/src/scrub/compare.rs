//! Comparing what the replicas of a partition say of a page of chunks. Pure.

use std::collections::{BTreeMap, BTreeSet};
use wire::inspect::{ChunkBytes, Chunks};

/// Object and chunk.
pub(super) type Place = (u64, u64);

/// What one page of every replica shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Places of which not all say the same. They may only be at different places of their logs.
    pub suspects: Vec<Place>,
    /// Which replica, by its place in the list, has damage, and what; the first of each.
    pub damages: Vec<(usize, String)>,
    /// Up to where all of them were seen; `None`: to the end.
    pub upto: Option<Place>,
}

fn place(chunk: &ChunkBytes) -> Place {
    (chunk.object, chunk.chunk)
}

/// What can be compared of a chunk; nothing of one that is damaged.
fn value(chunk: &ChunkBytes) -> Option<(u64, u64)> {
    chunk.damages.is_empty().then_some((chunk.bytes, chunk.digest))
}

/// Whether a page is what was asked for: what comes after a place, in order, and something unless it is
/// the end. Another would be taken for the end, or for ever be asked for again. No object has the number 0.
pub(super) fn is_page_after(after: Place, page: &Chunks) -> bool {
    let places = || page.chunks.iter().map(place);
    (page.end || !page.chunks.is_empty())
        && places().all(|place| place > after && place.0 > 0)
        && places().is_sorted_by(|one, next| one < next)
}

/// The place before a chunk, so that a page after it begins with that chunk.
pub(super) fn before((object, chunk): Place) -> Place {
    match chunk.checked_sub(1) {
        Some(chunk) => (object, chunk),
        None => (object.saturating_sub(1), u64::MAX),
    }
}

/// Looks at pages that begin at the same place, as far as the shortest goes.
pub(super) fn pages(pages: &[Chunks]) -> Seen {
    let open = pages.iter().filter(|page| !page.end);
    let upto = open.filter_map(|page| page.chunks.last().map(place)).min();
    let within = |chunk: &&ChunkBytes| upto.is_none_or(|upto| place(chunk) <= upto);
    let maps: Vec<BTreeMap<Place, &ChunkBytes>> = pages
        .iter()
        .map(|page| page.chunks.iter().filter(within).map(|chunk| (place(chunk), chunk)).collect())
        .collect();
    let places: BTreeSet<Place> = maps.iter().flat_map(|map| map.keys().copied()).collect();
    let suspects = places.into_iter().filter(|place| differs(&maps, *place)).collect();
    let damage = |(at, map): (usize, &BTreeMap<Place, &ChunkBytes>)| {
        let mut damages = map.values().flat_map(|chunk| {
            chunk
                .damages
                .iter()
                .map(|what| format!("chunk {} of inode {}: {what}", chunk.chunk, chunk.object))
        });
        damages.next().map(|what| (at, what))
    };
    let damages = maps.iter().enumerate().filter_map(damage).collect();
    Seen { suspects, damages, upto }
}

fn differs(maps: &[BTreeMap<Place, &ChunkBytes>], place: Place) -> bool {
    let said = maps.iter().map(|map| map.get(&place).map(|chunk| value(chunk)));
    // One that is damaged says nothing; one that has no such chunk says that.
    let said = said.filter(|said| *said != Some(None));
    said.collect::<BTreeSet<_>>().len() > 1
}

/// Whether what all of them say of one chunk is the same; they are at the same place of their logs.
pub(super) fn alike(pages: &[Chunks], place: Place) -> bool {
    let found =
        pages.iter().map(|page| page.chunks.iter().find(|chunk| self::place(chunk) == place));
    let maps: Vec<BTreeMap<Place, &ChunkBytes>> =
        found.map(|chunk| chunk.map(|chunk| (place, chunk)).into_iter().collect()).collect();
    !differs(&maps, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(object: u64, digest: u64) -> ChunkBytes {
        ChunkBytes { object, chunk: 0, bytes: 10, digest, damages: Vec::new() }
    }

    fn page(chunks: &[ChunkBytes], end: bool) -> Chunks {
        Chunks { head: None, chunks: chunks.to_vec(), end }
    }

    #[test]
    fn what_is_alike_to_the_end_is_no_suspect() {
        let one = page(&[chunk(1, 5), chunk(2, 6)], true);
        assert_eq!(pages(&[one.clone(), one]), Seen::default());
    }

    #[test]
    fn pages_are_compared_as_far_as_the_shortest_goes() {
        let short = page(&[chunk(1, 5)], false);
        let long = page(&[chunk(1, 5), chunk(2, 6)], false);
        let whole = page(&[chunk(1, 5), chunk(2, 7)], true);
        let seen = pages(&[short, long, whole]);
        assert_eq!((seen.suspects, seen.upto), (vec![], Some((1, 0))));
    }

    #[test]
    fn other_bytes_missing_chunks_and_damage_are_told_apart() {
        let mut bad = chunk(3, 0);
        bad.damages.push("offset 0: checksum".into());
        let one = page(&[chunk(1, 5), chunk(2, 6), chunk(3, 7)], true);
        let other = page(&[chunk(1, 4), bad], true);
        let seen = pages(&[one.clone(), other.clone()]);
        assert_eq!(seen.suspects, [(1, 0), (2, 0)]);
        assert_eq!(seen.damages, [(1, "chunk 0 of inode 3: offset 0: checksum".to_owned())]);
        assert!(!alike(&[one.clone(), other.clone()], (2, 0)));
        assert!(alike(&[one, other], (3, 0)), "of damage nothing is compared");
    }

    /// A node that sent nothing, and did not say that this was all, had everything else called verified.
    #[test]
    fn what_is_no_page_is_not_taken_for_the_end() {
        let one = [chunk(1, 5), chunk(2, 6)];
        assert!(
            is_page_after((0, 0), &page(&one, false)) && is_page_after((0, 9), &page(&one, true))
        );
        assert!(is_page_after((2, 0), &page(&[], true)));
        assert!(!is_page_after((2, 0), &page(&[], false)), "nothing, and more to come");
        assert!(!is_page_after((1, 0), &page(&one, true)), "what came before");
        assert!(!is_page_after((0, 0), &page(&[chunk(2, 6), chunk(1, 5)], true)), "no order");
        assert!(!is_page_after((0, 0), &page(&[chunk(0, 5)], false)), "it would not get on");
        assert_eq!(
            (before((2, 3)), before((2, 0)), before((0, 0))),
            ((2, 2), (1, u64::MAX), (0, u64::MAX))
        );
    }

    #[test]
    fn an_empty_partition_ends_at_once() {
        assert_eq!(pages(&[page(&[], true), page(&[], true)]), Seen::default());
    }
}
