use super::*;
use crate::local::LocalWrite;
use crate::store::MirrorRow;
use crate::testing::{clinic, site};
use tombolo_protocol::ids::{RowNo, Seq, Version};
use tombolo_protocol::outbox::Write;
use tombolo_protocol::row::{Life, Row, Stamped};

const SITES: TableTag = TableTag(1);
const PATIENTS: TableTag = TableTag(2);
const VISITS: TableTag = TableTag(3);
const NAME: FieldTag = FieldTag(1);
const PHONE: FieldTag = FieldTag(2);
const SEX: FieldTag = FieldTag(5);
const NOTES: FieldTag = FieldTag(6);
const WEIGHT: FieldTag = FieldTag(7);
const SITE: FieldTag = FieldTag(9);

fn id(n: u32) -> RowId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    RowId::from_bytes(bytes)
}

fn patient(n: u32) -> RowKey {
    RowKey { table: PATIENTS, id: id(n) }
}

fn write(key: RowKey, write: Write) -> LocalWrite {
    LocalWrite { key, write, seen: None }
}

/// A new patient at the site that no mirror has.
fn new(n: u32, name: &str, others: &[(FieldTag, Value)]) -> LocalWrite {
    let mut fields: BTreeMap<FieldTag, Value> = others.iter().cloned().collect();
    fields.insert(NAME, Value::text(name));
    fields.entry(SITE).or_insert(Value::Uuid(*site().bytes()));
    write(patient(n), Write::Create(fields))
}

fn rename(key: RowKey, name: &str) -> LocalWrite {
    write(key, Write::Update([(NAME, Value::text(name))].into()))
}

fn with(writes: Vec<LocalWrite>) -> (Client, Lister) {
    let client = clinic();
    client.transaction(writes, false).unwrap();
    let lister = Lister::new(&client, PATIENTS, Order::default()).unwrap();
    (client, lister)
}

fn titles(listing: &Listing, wanted: &Wanted) -> Vec<String> {
    listing.find(wanted).into_iter().map(|place| listing.row(place).title.to_owned()).collect()
}

fn search(listing: &Listing, text: &str) -> Vec<String> {
    titles(listing, &Wanted { text: text.to_owned(), ..Wanted::default() })
}

/// Everything that is shown, in its order.
fn all(listing: &Listing) -> Vec<(RowId, RowStanding, String, String)> {
    let row = |place| {
        let Listed { id, standing, title, below } = listing.row(place);
        (id, standing, title.to_owned(), below.to_owned())
    };
    listing.find(&Wanted::default()).into_iter().map(row).collect()
}

#[test]
fn long_texts_are_searched_less_far_in_a_list_that_has_much_to_search() {
    let notes = |n: u32| Value::text(&format!("{} hidden{n:04}", "x".repeat(SEARCHED_ALWAYS)));
    let (_, lister) = with((1..=STEP as u32 + 1).map(|n| new(n, &format!("Patient {n}"), &[(NOTES, notes(n))])).collect());
    let listing = lister.listing();
    assert!(listing.pieces.iter().map(|piece| piece.folded.len()).sum::<usize>() > SEARCHED_BYTES_MAX);
    assert_eq!(search(listing, "hidden0007"), ["Patient 7"]);
    let last = format!("Patient {}", STEP + 1);
    assert_eq!((search(listing, &format!("hidden{:04}", STEP + 1)).len(), search(listing, &last)), (0, vec![last]));
}

#[test]
fn every_word_is_found_without_case_and_accents_in_whatever_is_shown_or_written() {
    let notes = format!("Fièvre depuis hier {} hidden", "x".repeat(SEARCHED_MAX));
    let (_, lister) = with(vec![
        new(1, "Zoë Müller", &[(PHONE, Value::text("+254 700 111")), (NOTES, Value::text(&notes))]),
        new(2, "Amina Müller", &[(PHONE, Value::text("+254 700 222"))]),
    ]);
    let found = |text: &str| search(lister.listing(), text);
    assert_eq!(found("muller"), ["Amina Müller", "Zoë Müller"]);
    assert_eq!(found("ZOE mül"), ["Zoë Müller"]);
    assert_eq!(found("muller 222"), ["Amina Müller"]);
    assert_eq!(found("FIEVRE"), ["Zoë Müller"]);
    assert_eq!(found("amina zoe"), Vec::<String>::new());
    // Behind the part of a long text that is searched.
    assert_eq!(found("hidden"), Vec::<String>::new());
    // Nothing runs on from one row into the next.
    assert_eq!(found("222zoe").len() + found("222\nzoe").len(), 0);
}

#[test]
fn a_title_comes_before_those_that_begin_with_it_and_no_title_comes_last() {
    let (client, mut lister) = with(vec![
        new(1, "Ann Lee", &[(PHONE, Value::text("000"))]),
        new(2, "Ann", &[(PHONE, Value::text("zzz"))]),
        new(3, "ånd", &[]),
        new(4, "", &[]),
    ]);
    let shown = |lister: &Lister, descending| titles(lister.listing(), &Wanted { descending, ..Wanted::default() });
    assert_eq!(shown(&lister, false), ["ånd", "Ann", "Ann Lee", ""]);
    assert_eq!(shown(&lister, true), ["Ann Lee", "Ann", "ånd", ""]);
    lister.set_order(&client, Order { by: Some(PHONE) }).unwrap();
    assert_eq!(shown(&lister, false), ["Ann Lee", "Ann", "", "ånd"]);
    assert_eq!(shown(&lister, true), ["Ann", "Ann Lee", "", "ånd"]);
}

#[test]
fn numbers_are_ordered_as_numbers() {
    let weights = [-0.5, 61.5, 7.0, 100.0];
    let new = |(n, weight): (usize, &f64)| new(n as u32, &weight.to_string(), &[(WEIGHT, Value::Float(*weight))]);
    let (client, mut lister) = with(weights.iter().enumerate().map(new).collect());
    lister.set_order(&client, Order { by: Some(WEIGHT) }).unwrap();
    assert_eq!(titles(lister.listing(), &Wanted::default()), ["-0.5", "7", "61.5", "100"]);
}

#[test]
fn rows_are_filtered_by_choice_reference_and_none() {
    let other = Value::Uuid([8; 16]);
    let (_, lister) = with(vec![
        new(1, "Rose", &[(SEX, Value::text("F"))]),
        new(2, "Otieno", &[(SEX, Value::text("M"))]),
        new(3, "Kin", &[(SITE, other.clone())]),
    ]);
    let found = |equal: &[(FieldTag, Value)]| titles(lister.listing(), &Wanted { equal: equal.to_vec(), ..Wanted::default() });
    assert_eq!(found(&[(SEX, Value::text("F"))]), ["Rose"]);
    assert_eq!(found(&[(SEX, Value::Null)]), ["Kin"]);
    assert_eq!(found(&[(SITE, other.clone())]), ["Kin"]);
    assert_eq!(found(&[(SITE, other), (SEX, Value::text("F"))]), Vec::<String>::new());
    // A field that rows are not filtered by, and a value that no row has.
    assert_eq!(found(&[(NAME, Value::text("Rose"))]), Vec::<String>::new());
    assert_eq!(found(&[(SEX, Value::text("O"))]), Vec::<String>::new());
}

#[test]
fn rows_are_filtered_by_how_they_stand() {
    let (client, mut lister) = with(vec![new(1, "mine", &[])]);
    let clean = Row {
        key: patient(2),
        no: RowNo(1),
        seq: Seq(1),
        ordinal: 0,
        version: Version(1),
        since: Seq(1),
        life: Life::Live,
        fields: [(NAME, Stamped { value: Value::text("theirs"), stamp: Seq(1) })].into(),
    };
    let put = move |engine: &mut crate::engine::Engine, _| {
        Ok(engine.store().write(|tables| tables.put_mirror(&MirrorRow { row: clean, refetch: 0 }))?)
    };
    client.act(put).unwrap();
    assert!(lister.refresh(&client, &[patient(2)]).unwrap());
    let found = |standings| titles(lister.listing(), &Wanted { standings, ..Wanted::default() });
    assert_eq!(found(Standings::All), ["mine", "theirs"]);
    assert_eq!(found(Standings::Pending), ["mine"]);
    assert_eq!(found(Standings::Review), Vec::<String>::new());
    let review = |standing| Standings::Review.admits(standing);
    assert!(review(RowStanding::Conflict) && review(RowStanding::Refused));
    assert!(!review(RowStanding::Pending) && !review(RowStanding::Clean));
}

#[test]
fn a_snapshot_stays_and_the_next_one_shares_what_did_not_change() {
    let (client, mut lister) = with((0..2000).map(|n| new(n, &format!("p{n:04}"), &[])).collect());
    let before = lister.listing().clone();
    client.transaction(vec![rename(patient(700), "Zuhura")], false).unwrap();
    assert!(lister.refresh(&client, &[patient(700)]).unwrap());
    let after = lister.listing();
    assert!(after.generation() > before.generation());
    assert_eq!((search(&before, "zuhura").len(), search(after, "zuhura").len()), (0, 1));
    let pairs = before.pieces.iter().zip(after.pieces.iter());
    let copied = pairs.filter(|(before, after)| !Arc::ptr_eq(before, after)).count();
    assert_eq!((copied, before.pieces.len()), (1, 4));
}

#[test]
fn a_row_is_found_by_its_id_where_it_stands() {
    let (client, mut lister) = with((0..1500).map(|n| new(2 * n + 1, &format!("p{n}"), &[])).collect());
    client.transaction(vec![write(patient(9), Write::Delete)], false).unwrap();
    lister.refresh(&client, &[patient(9)]).unwrap();
    let listing = lister.listing();
    for n in 0..3002 {
        let found = listing.position(id(n)).map(|place| listing.row(place).id);
        assert_eq!(found, (n % 2 == 1 && n != 9 && n < 3000).then_some(id(n)), "{n}");
    }
}

#[test]
fn refreshed_again_and_again_a_list_is_what_a_new_one_would_be() {
    let (client, mut lister) = with((0..600).map(|n| new(7 * n, &format!("p{n}"), &[])).collect());
    for round in 0..12u32 {
        // New ones in bulk between two old ones, new ones at both ends, changed ones, and deleted ones.
        let place = 7 * round * 40 + 1;
        let mut writes: Vec<LocalWrite> = (0..5).map(|n| new(place + n, &format!("q{round} {n}"), &[])).collect();
        // Once more than go in one step.
        let at_an_end = if round == 0 { 3 * PIECE_MAX as u32 } else { 300 };
        writes.extend((0..at_an_end).map(|n| new(100_000 * (12 - round) + n, &format!("r{n}"), &[])));
        writes.push(rename(patient(7 * round), "changed"));
        writes.extend((0..20).map(|n| write(patient(7 * (20 + 20 * round + n)), Write::Delete)));
        let changed: Vec<RowKey> = writes.iter().map(|write| write.key).collect();
        client.transaction(writes, false).unwrap();
        lister.refresh(&client, &changed).unwrap();
        let new = Lister::new(&client, PATIENTS, Order::default()).unwrap();
        assert_eq!(all(lister.listing()), all(new.listing()), "round {round}");
        assert!(lister.listing().pieces.iter().all(|piece| (1..=PIECE_MAX).contains(&piece.items.len())));
    }
}

#[test]
fn a_reference_shows_the_title_of_its_row_and_follows_it() {
    let site = RowKey { table: SITES, id: site() };
    let visit = RowKey { table: VISITS, id: id(5) };
    let other = RowKey { table: VISITS, id: id(6) };
    let visited = |key: RowKey, patient: RowKey, day: i32| {
        let fields = [
            (FieldTag(1), Value::Uuid(*patient.id.bytes())),
            (FieldTag(2), Value::Date(day)),
            (FieldTag(5), Value::Uuid(*site.id.bytes())),
        ];
        write(key, Write::Create(fields.into()))
    };
    let (client, _) = with(vec![
        write(site, Write::Create([(NAME, Value::text("Kisumu"))].into())),
        new(1, "Rose", &[]),
        new(2, "Otieno", &[]),
        visited(visit, patient(1), 0),
        visited(other, patient(2), 1),
    ]);
    let mut visits = Lister::new(&client, VISITS, Order::default()).unwrap();
    assert_eq!(all(visits.listing())[0].3, "Rose \u{b7} Kisumu");
    let schema = client.schema().unwrap();
    let field = schema.table(VISITS).unwrap().field(FieldTag(1)).unwrap();
    let referred = |visits: &Lister| visits.referred(field, 2).unwrap().into_iter().map(|(_, title)| title).collect::<Vec<_>>();
    assert_eq!(referred(&visits), ["Otieno", "Rose"]);
    assert_eq!(visits.referred(field, 1), None, "more than are wanted");
    // Of the patient something changed that no visit shows.
    client.transaction(vec![write(patient(1), Write::Update([(PHONE, Value::text("1"))].into()))], false).unwrap();
    assert!(!visits.refresh(&client, &[patient(1)]).unwrap());
    client.transaction(vec![rename(patient(1), "Rosa")], false).unwrap();
    assert!(visits.refresh(&client, &[patient(1)]).unwrap());
    let below: Vec<String> = all(visits.listing()).into_iter().map(|row| row.3).collect();
    assert_eq!(below, ["Rosa \u{b7} Kisumu", "Otieno \u{b7} Kisumu"]);
    assert_eq!(referred(&visits), ["Otieno", "Rosa"]);
    assert_eq!(search(visits.listing(), "rosa").len(), 1);
    // Deleted, it is still what the visit was about.
    client.transaction(vec![write(patient(1), Write::Delete)], false).unwrap();
    visits.refresh(&client, &[patient(1)]).unwrap();
    assert_eq!(client.title_of(patient(2)).unwrap(), "Otieno");
}

#[test]
fn what_fails_leaves_the_list_as_it_was() {
    let (client, mut lister) = with(vec![new(1, "Rose", &[]), new(2, "Otieno", &[])]);
    let before = (lister.listing().generation(), all(lister.listing()));
    client.close();
    assert!(lister.rebuild(&client).is_err());
    assert!(lister.set_order(&client, Order { by: Some(PHONE) }).is_err());
    assert!(lister.refresh(&client, &[patient(1)]).is_err());
    assert_eq!((lister.listing().generation(), all(lister.listing())), before);
    // The old order is still that of the list, so that asking for the new one reads again.
    assert_eq!(lister.order, Order::default());
    assert!(matches!(Lister::new(&clinic(), TableTag(99), Order::default()), Err(ClientError::Local(_))));
}

#[test]
fn a_hundred_thousand_patients_with_short_notes_are_below_25_mb() {
    let notes = "Fever and cough since three days; back on Monday.";
    let patients = (0..2048).map(|n| {
        let text = |text: &str| Value::text(&format!("{text}{n}"));
        let fields = [
            (PHONE, text("+25471234")),
            (FieldTag(3), text("Kadem Kanyuor ")),
            (FieldTag(4), Value::Date(n as i32)),
            (SEX, Value::text("F")),
            (NOTES, Value::text(notes)),
        ];
        new(n, &format!("Achieng Rose Otieno {n}"), &fields)
    });
    let (_, lister) = with(patients.collect());
    let listing = lister.listing();
    let of = |piece: &Arc<Piece>| {
        let items = piece.items.capacity() * size_of::<Item>() + piece.facets.capacity() * size_of::<u32>();
        items + piece.shown.capacity() + piece.folded.capacity() + piece.keys.capacity()
    };
    let bytes: usize = listing.pieces.iter().map(of).sum::<usize>() + listing.order.capacity() * size_of::<u32>();
    let each = bytes / listing.len();
    assert!(each * 100_000 < 25_000_000, "{each} bytes a row");
}

#[test]
fn text_is_folded_the_same_with_and_without_letters_of_other_scripts() {
    assert_eq!(fold("Ann\tO'Neil\n"), "ann o'neil ");
    assert_eq!(fold("ANN\tO'Neil\n \u{c9}TÉ ﬁ"), "ann o'neil  ete fi");
}
