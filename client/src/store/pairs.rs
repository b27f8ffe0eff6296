//! Which (seq, hash) pairs are kept to find what is common with a server whose history differs (T6): dense near the newest,
//! and thinner by powers of two the further back, so that a common one is never much further back than the histories part.

use std::cmp::Ordering;

/// The seq that is missed least of ascending seqs: neither the oldest nor the newest, and the one whose neighbours lie nearest
/// to each other for how far back they are.
pub(crate) fn spare(seqs: &[u64]) -> Option<u64> {
    let newest = *seqs.last()?;
    // What a history that parts just before the newer neighbour would lose by it, and how far back that is.
    let gap = |[older, _, newer]: [u64; 3]| (u128::from(newer - older), u128::from(newest - newer) + 1);
    let smaller = |(gap_a, back_a): (u128, u128), (gap_b, back_b): (u128, u128)| -> Ordering {
        (gap_a.saturating_mul(back_b)).cmp(&gap_b.saturating_mul(back_a))
    };
    let triples = seqs.windows(3).filter_map(|seqs| <[u64; 3]>::try_from(seqs).ok());
    triples.min_by(|a, b| smaller(gap(*a), gap(*b))).map(|[_, seq, _]| seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AcknowledgedPush, Store, StoreError};
    use redb::backends::InMemoryBackend;
    use tombolo_protocol::ids::{Hash16, Mark, PushNo, Seq};

    #[test]
    fn however_long_the_history_a_pair_is_never_much_further_back_than_where_histories_part() {
        let (mut kept, last) = (Vec::new(), 200_000);
        for seq in 1..=last {
            kept.push(seq);
            if kept.len() > 63
                && let Some(spare) = spare(&kept)
            {
                kept.retain(|seq| *seq != spare);
            }
        }
        assert_eq!((kept.len(), kept[0], kept[62]), (63, 1, last));
        for pair in kept.windows(2) {
            let (gap, back) = (pair[1] - pair[0], last - pair[1]);
            assert!(gap <= 1 + back, "between {} and {} nothing is kept", pair[0], pair[1]);
        }
    }

    #[test]
    fn hostile_seqs_are_only_numbers() {
        assert_eq!(spare(&[]), None);
        assert_eq!(spare(&[1, 2]), None);
        assert_eq!(spare(&[0, 7, u64::MAX]), Some(7));
    }

    #[test]
    fn acknowledged_pushes_fill_the_gaps_and_the_beginning_is_common_to_all() {
        let store = Store::with_backend(InMemoryBackend::new()).unwrap();
        let mark = |seq: u64| Mark { seq: Seq(seq), hash: Hash16([seq as u8; 16]) };
        let pairs = store
            .write(|tables| -> Result<_, StoreError> {
                tables.put_pair(mark(3))?;
                for seq in 2000..2200 {
                    tables.put_pair(mark(seq))?;
                }
                for (number, seq) in (1..).zip((10..1000).step_by(10)) {
                    let push = AcknowledgedPush { commit: mark(seq), changes: Vec::new(), at_ms: None };
                    tables.put_acknowledged(PushNo(number), &push)?;
                }
                tables.common_pairs()
            })
            .unwrap();
        assert_eq!((pairs.len(), pairs[0], pairs[62], pairs[63]), (64, mark(2199), mark(3), Mark::default()));
        assert!(pairs.windows(2).all(|pair| pair[0].seq > pair[1].seq));
        assert!(pairs.iter().any(|mark| mark.seq > Seq(700) && mark.seq < Seq(1000)), "{pairs:?}");
    }
}
