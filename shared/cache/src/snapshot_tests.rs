use super::*;
use proptest::prelude::*;

fn snapshots() -> impl Strategy<Value = Snapshot> {
    (
        0u64..12,
        0u64..12,
        proptest::collection::vec(0u64..24, 0..6),
    )
        .prop_map(|(xmin, length, list)| {
            let xmax = xmin + length;
            let list = list
                .into_iter()
                .filter(|xid| (xmin..xmax).contains(xid))
                .collect();
            Snapshot::new(xmin, xmax, list).expect("made within its bounds")
        })
}

fn tokens() -> impl Strategy<Value = Token> {
    any::<(u64, u64, u32, u64, u64)>().prop_map(|(source, system, timeline, xid, touched)| Token {
        source,
        epoch: Epoch { system, timeline },
        xid,
        touched,
    })
}

proptest! {
    #[test]
    fn within_is_the_subset_of_what_is_seen(a in snapshots(), b in snapshots()) {
        let by_hand = (0..40).all(|xid| !a.sees(xid) || b.sees(xid));
        prop_assert_eq!(a.within(&b), by_hand, "{} in {}", a, b);
    }

    #[test]
    fn a_printed_snapshot_reads_back(a in snapshots()) {
        prop_assert_eq!(Snapshot::parse(&a.to_string()), Ok(a));
    }

    #[test]
    fn what_a_standby_shows_is_within_what_the_primary_saw(a in snapshots()) {
        prop_assert!(a.below_xmin().within(&a));
    }

    #[test]
    fn no_text_makes_a_snapshot_or_a_token_panic(text in "\\PC{0,60}|[0-9:,]{0,60}") {
        let _ = (Snapshot::parse(&text), Token::decode(&text));
    }

    #[test]
    fn a_token_reads_back_and_a_changed_one_does_not(token in tokens(), at in 0usize..55) {
        let text = token.encode();
        prop_assert_eq!(Token::decode(&text), Ok(token));
        let mut bytes = text.into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ASCII");
        prop_assert!(Token::decode(&changed).is_err());
    }
}
