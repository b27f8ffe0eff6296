//! Stories of reading: traps T1, T3, T4, T9, T26, with chunks of one row.

use super::super::{Registry, SessionConfig};
use super::peer::Peer;
use crate::testing::*;
use tombolo_protocol::change::Op;
use tombolo_protocol::cursor::CursorName;
use tombolo_protocol::ids::{Position, Section, Seq};
use tombolo_protocol::limits::DELTA_CREDIT;
use tombolo_protocol::message::{Delta, Down, Up};
use tombolo_protocol::row::StateKind;
use tombolo_protocol::value::Value;

struct Story {
    world: World,
    registry: Registry,
    other: Pusher,
}

impl Story {
    fn new() -> Self {
        Self { world: World::new(), registry: Registry::default(), other: Pusher::new(900, EVERYBODY) }
    }

    fn sync(&mut self, peer: &mut Peer) {
        peer.sync(&mut self.world, &mut self.registry);
    }

    fn push(&mut self, changes: Vec<tombolo_protocol::change::Change>) -> u64 {
        self.world.accepted(&mut self.other, changes).0
    }

    fn head(&self) -> u64 {
        self.world.workspace.head().seq.0
    }
}

fn deltas(peer: &Peer) -> Vec<Delta> {
    let all = peer.seen.iter().chain(&peer.down);
    all.filter_map(|message| if let Down::Delta(delta) = message { Some((**delta).clone()) } else { None }).collect()
}

fn patients_of(site: tombolo_protocol::ids::RowId) -> Section {
    let scope = tombolo_protocol::ids::ScopeKey { field: SITE, value: site };
    Section { table: PATIENTS, scope: Some(scope) }
}

#[test]
fn a_catch_up_in_many_chunks_loses_no_field() {
    // T1: R.f changes at 30, other rows fill the feed, R.g changes at the end: R stands once, at its last change.
    let mut story = Story::new();
    story.push((1..=4).map(|number| create_patient(number, "p", NORTH)).collect());
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    peer.cut();
    let base = story.head();
    story.push(vec![update(key(PATIENTS, 1), base, PHONE, "f")]);
    for number in 2..=4 {
        story.push(vec![update(key(PATIENTS, number), base, NOTES, "x")]);
    }
    story.push(vec![update(key(PATIENTS, 1), base, NOTES, "g")]);
    peer.connect();
    peer.serve(&mut story.world, &mut story.registry);
    // One chunk arrives, then the link is cut.
    while !matches!(peer.seen.last(), Some(Down::Delta(_))) {
        assert!(peer.receive());
    }
    peer.cut();
    story.sync(&mut peer);
    assert_eq!(peer.value(&key(PATIENTS, 1), PHONE), Value::text("f"));
    peer.assert_converged(&story.world);
}

#[test]
fn a_row_that_moves_on_just_before_the_scan_reaches_it_is_sent_whole_enough() {
    // T1, the live variant.
    let mut story = Story::new();
    story.push(vec![create_patient(1, "p", NORTH), create_patient(2, "q", NORTH)]);
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    peer.cut();
    let base = story.head();
    story.push(vec![update(key(PATIENTS, 2), base, PHONE, "first")]);
    story.push(vec![update(key(PATIENTS, 1), base, PHONE, "f")]);
    peer.config.chunk_bytes_first = 1;
    peer.acknowledges = false;
    peer.connect();
    peer.serve(&mut story.world, &mut story.registry);
    while peer.receive() {}
    story.push(vec![update(key(PATIENTS, 1), base, NOTES, "g")]);
    peer.acknowledges = true;
    story.sync(&mut peer);
    peer.assert_converged(&story.world);
}

#[test]
fn a_scan_stops_inside_a_commit_and_goes_on_there() {
    // T3: a commit of three rows, chunks of one; the second row is changed again before it is read.
    let mut story = Story::new();
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    peer.cut();
    peer.seen.clear();
    let base = story.push((1..=3).map(|number| create_patient(number, "p", NORTH)).collect());
    peer.connect();
    peer.serve(&mut story.world, &mut story.registry);
    while peer.kept.cursors.main.scanned != (Position { seq: Seq(base), ordinal: 0 }) {
        assert!(peer.receive(), "a chunk ends behind the first row: {:?}", deltas(&peer));
    }
    peer.cut();
    story.push(vec![update(key(PATIENTS, 2), base, PHONE, "g")]);
    story.sync(&mut peer);
    assert_eq!(peer.value(&key(PATIENTS, 2), NAME), Value::text("p"));
    peer.assert_converged(&story.world);
}

#[test]
fn a_commit_that_fits_into_a_chunk_is_not_split() {
    let mut story = Story::new();
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    peer.cut();
    peer.seen.clear();
    story.push((1..=2).map(|number| create_patient(number, "p", NORTH)).collect());
    let last = story.push((3..=4).map(|number| create_patient(number, "p", NORTH)).collect());
    peer.config = SessionConfig { chunk_rows_max: 3, ..SessionConfig::default() };
    story.sync(&mut peer);
    let with_rows: Vec<Delta> = deltas(&peer).into_iter().filter(|delta| !delta.rows.0.is_empty()).collect();
    assert_eq!(with_rows.iter().map(|delta| delta.rows.0.len()).collect::<Vec<_>>(), [2, 2]);
    assert!(with_rows[0].to < Position { seq: Seq(last), ordinal: 0 });
}

#[test]
fn what_is_left_of_a_chunk_does_not_split_a_commit_of_another_cursor() {
    let mut story = Story::new();
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    peer.cut();
    peer.seen.clear();
    story.push((1..=3).map(|number| create_patient(number, "p", SOUTH)).collect());
    story.push((4..=5).map(|number| create_patient(number, "p", NORTH)).collect());
    story.world.grant(NORTHERN, &[NORTH, SOUTH]);
    peer.config = SessionConfig { chunk_rows_max: 3, ..SessionConfig::default() };
    story.sync(&mut peer);
    let rows: Vec<usize> = deltas(&peer).iter().map(|delta| delta.rows.0.len()).filter(|rows| *rows > 0).collect();
    assert_eq!(rows, [2, 3]);
}

#[test]
fn a_new_schema_reaches_an_open_session_before_rows_that_need_it() {
    // H7, T21 (iv).
    let mut story = Story::new();
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    peer.seen.clear();
    let grown = SCHEMA.replace(
        "[[table.field]]\nname = \"code\"",
        "[[table.field]]\nname = \"level\"\ntag = 8\nkind = \"text\"\nlabel = \"Level\"\n[[table.field]]\nname = \"code\"",
    );
    let by = crate::access::OPERATOR;
    assert!(matches!(
        story.world.apply(crate::workspace::Job::Schema { by, text: grown }),
        crate::workspace::Reply::Schema(Ok(_))
    ));
    let mut create = create_patient(1, "p", NORTH);
    let level = tombolo_protocol::ids::FieldTag(8);
    let edit = tombolo_protocol::change::FieldChange { field: level, value: Value::text("x"), base: Seq(0) };
    create.fields.insert(1, edit);
    story.push(vec![create]);
    peer.settle(&mut story.world, &mut story.registry);
    let place = |wanted: fn(&Down) -> bool| peer.seen.iter().position(wanted);
    let schema = place(|message| matches!(message, Down::Schema { .. }));
    let rows = place(|message| matches!(message, Down::Delta(delta) if !delta.rows.0.is_empty()));
    assert!(schema.is_some() && schema < rows, "{:?}", peer.seen);
    assert_eq!(peer.value(&key(PATIENTS, 1), level), Value::text("x"));
}

#[test]
fn a_row_deleted_while_the_section_is_filled_does_not_stay_as_a_ghost() {
    // T4: R arrives in the first chunk of a long fill and is deleted before the fill ends, with a cut in between.
    let mut story = Story::new();
    let base = story.push((1..=4).map(|number| create_patient(number, "p", NORTH)).collect());
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    peer.connect();
    peer.serve(&mut story.world, &mut story.registry);
    while !peer.kept.mirror.contains_key(&key(PATIENTS, 1)) {
        if !peer.receive() {
            peer.serve(&mut story.world, &mut story.registry);
        }
    }
    assert!(peer.kept.cursors.fills.contains_key(&patients_of(NORTH)));
    peer.cut();
    story.push(vec![delete(key(PATIENTS, 1), base)]);
    story.sync(&mut peer);
    assert!(!peer.live().contains_key(&key(PATIENTS, 1)));
    peer.assert_converged(&story.world);
}

#[test]
fn tombstones_from_before_the_fill_are_not_sent() {
    let mut story = Story::new();
    let base = story.push(vec![create_patient(1, "p", NORTH), create_patient(2, "q", NORTH)]);
    story.push(vec![delete(key(PATIENTS, 1), base)]);
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    let rows: Vec<_> = deltas(&peer).into_iter().flat_map(|delta| delta.rows.0).collect();
    assert!(rows.iter().all(|row| row.kind == StateKind::Live), "{rows:?}");
    peer.assert_converged(&story.world);
}

#[test]
fn a_refetch_brings_own_rows_too_and_sweeps_the_rest() {
    // T4 (iii): own rows are not left out of a fill.
    let mut story = Story::new();
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    peer.freeze(vec![create_patient(1, "own", NORTH)]);
    story.sync(&mut peer);
    assert!(peer.live().contains_key(&key(PATIENTS, 1)));
    let ghost = patient(8, NORTH);
    peer.kept.mirror.insert(ghost.key, (ghost, 0));
    peer.refetch(patients_of(NORTH));
    story.sync(&mut peer);
    peer.assert_converged(&story.world);
}

#[test]
fn a_row_that_enters_a_section_comes_whole_and_leaves_the_other_one() {
    // T9 (i), (ii): R moves from South to North; one user has each.
    let mut story = Story::new();
    let base = story.push(vec![create_patient(1, "p", SOUTH)]);
    let mut north = Peer::new(&mut story.world, 1, NORTHERN);
    let mut south = Peer::new(&mut story.world, 2, SOUTHERN);
    story.sync(&mut north);
    story.sync(&mut south);
    assert!(south.live().contains_key(&key(PATIENTS, 1)) && !north.live().contains_key(&key(PATIENTS, 1)));
    south.cut();
    story.push(vec![change(key(PATIENTS, 1), Op::Update, base, &[(SITE, site_value(NORTH))])]);
    north.settle(&mut story.world, &mut story.registry);
    assert_eq!(north.value(&key(PATIENTS, 1), NAME), Value::text("p"));
    south.seen.clear();
    story.sync(&mut south);
    assert!(!south.kept.mirror.contains_key(&key(PATIENTS, 1)));
    let told: Vec<_> = deltas(&south).into_iter().flat_map(|delta| delta.rows.0).collect();
    assert!(told.iter().any(|row| row.kind == StateKind::Exited && row.fields.is_empty()), "{told:?}");
    north.assert_converged(&story.world);
    south.assert_converged(&story.world);
}

#[test]
fn who_may_see_both_scopes_keeps_a_row_that_moves_between_them() {
    // T9 (iii): with one row in a chunk, the marker and the row come apart.
    let mut story = Story::new();
    let base = story.push(vec![create_patient(1, "p", SOUTH), create_patient(2, "q", SOUTH)]);
    let mut peer = Peer::new(&mut story.world, 1, EVERYBODY);
    story.sync(&mut peer);
    peer.cut();
    story.push(vec![change(key(PATIENTS, 1), Op::Update, base, &[(SITE, site_value(NORTH))])]);
    story.push(vec![update(key(PATIENTS, 2), base, PHONE, "1")]);
    let head = story.head();
    story.push(vec![change(key(PATIENTS, 2), Op::Update, head, &[(SITE, site_value(NORTH))])]);
    story.push(vec![update(key(PATIENTS, 1), head, PHONE, "moved on")]);
    peer.seen.clear();
    story.sync(&mut peer);
    assert_eq!(peer.site(&key(PATIENTS, 1)), site_value(NORTH));
    // Evicted for a moment, a pending edit of the row would go to review.
    let told: Vec<_> = deltas(&peer).into_iter().flat_map(|delta| delta.rows.0).collect();
    assert!(told.iter().all(|row| row.kind == StateKind::Live), "{told:?}");
    peer.assert_converged(&story.world);
}

#[test]
fn a_row_that_comes_back_leaves_no_marker_behind() {
    let mut story = Story::new();
    let base = story.push(vec![create_patient(1, "p", NORTH)]);
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    peer.cut();
    story.push(vec![change(key(PATIENTS, 1), Op::Update, base, &[(SITE, site_value(SOUTH))])]);
    let away = story.head();
    story.push(vec![change(key(PATIENTS, 1), Op::Update, away, &[(SITE, site_value(NORTH))])]);
    let number = story.world.row(&key(PATIENTS, 1)).no;
    let entries = story.world.feed_entries();
    assert_eq!(entries.iter().filter(|(row, _)| *row == number).map(|(_, exit)| *exit).collect::<Vec<_>>(), [false, true]);
    story.sync(&mut peer);
    assert!(peer.live().contains_key(&key(PATIENTS, 1)));
    peer.assert_converged(&story.world);
}

#[test]
fn a_new_grant_is_filled_and_a_lost_one_is_evicted_in_an_open_session() {
    let mut story = Story::new();
    story.push(vec![create_patient(1, "p", NORTH), create_patient(2, "q", SOUTH)]);
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    story.world.grant(NORTHERN, &[NORTH, SOUTH]);
    peer.settle(&mut story.world, &mut story.registry);
    assert!(peer.live().contains_key(&key(PATIENTS, 2)));
    peer.assert_converged(&story.world);
    story.world.grant(NORTHERN, &[SOUTH]);
    peer.settle(&mut story.world, &mut story.registry);
    assert!(!peer.kept.mirror.contains_key(&key(PATIENTS, 1)));
    peer.assert_converged(&story.world);
}

#[test]
fn a_new_site_is_a_new_section_for_who_has_all() {
    let mut story = Story::new();
    let mut peer = Peer::new(&mut story.world, 1, EVERYBODY);
    story.sync(&mut peer);
    let west = id(0xA3);
    let site = change(key(SITES, 0xA3), Op::Create, 0, &[(NAME, Value::text("West"))]);
    story.push(vec![site, create_patient(1, "p", west)]);
    peer.settle(&mut story.world, &mut story.registry);
    assert!(peer.kept.cursors.sections.contains(&patients_of(west)));
    peer.assert_converged(&story.world);
}

#[test]
fn a_fill_joins_the_main_stream_on_a_busy_server() {
    let mut story = Story::new();
    story.push(vec![create_patient(1, "p", NORTH), create_patient(2, "q", SOUTH)]);
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    peer.config = SessionConfig::default();
    story.sync(&mut peer);
    story.world.grant(NORTHERN, &[NORTH, SOUTH]);
    // The head moves before each look of the session.
    for round in 0..6 {
        let base = story.head();
        story.push(vec![update(key(PATIENTS, 1), base, PHONE, &round.to_string())]);
        if let Some(session) = &mut peer.session {
            session.handle_head(story.world.news);
        }
        peer.serve(&mut story.world, &mut story.registry);
        while peer.receive() {}
    }
    assert!(peer.kept.cursors.fills.is_empty(), "{:?}", peer.kept.cursors);
}

#[test]
fn a_session_whose_sections_did_not_change_receives_nothing() {
    // S9: and asked for a digest, it gets an empty delta first.
    let mut story = Story::new();
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    peer.seen.clear();
    story.push(vec![create_patient(1, "p", SOUTH)]);
    peer.settle(&mut story.world, &mut story.registry);
    assert!(peer.seen.is_empty(), "{:?}", peer.seen);
    peer.say(Up::WantCaughtUp);
    peer.settle(&mut story.world, &mut story.registry);
    assert!(matches!(&peer.seen[..], [Down::Delta(delta), Down::CaughtUp(_)] if delta.rows.0.is_empty()), "{:?}", peer.seen);
}

#[test]
fn at_most_two_chunks_are_unacknowledged() {
    let mut story = Story::new();
    for number in 1..=9 {
        story.push(vec![create_patient(number, "p", NORTH)]);
    }
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    peer.acknowledges = false;
    peer.connect();
    peer.serve(&mut story.world, &mut story.registry);
    while peer.receive() {}
    let rows: usize = deltas(&peer).iter().map(|delta| delta.rows.0.len()).sum();
    assert_eq!(rows, DELTA_CREDIT as usize);
    peer.say(Up::AckDelta);
    peer.serve(&mut story.world, &mut story.registry);
    while peer.receive() {}
    assert_eq!(deltas(&peer).iter().map(|delta| delta.rows.0.len()).sum::<usize>(), rows + 1);
}

#[test]
fn a_session_that_has_nothing_to_say_keeps_no_room_for_outputs() {
    let mut story = Story::new();
    story.push((1..=3).map(|number| create_patient(number, "p", NORTH)).collect());
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    assert_eq!(peer.session.as_ref().unwrap().outputs.capacity(), 0);
}

#[test]
fn a_head_that_a_session_looked_at_is_no_news() {
    let mut story = Story::new();
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    story.sync(&mut peer);
    let session = peer.session.as_mut().unwrap();
    session.handle_head(story.world.news);
    assert!(!session.wants_snapshot());
    story.push(vec![create_patient(1, "p", NORTH)]);
    let session = peer.session.as_mut().unwrap();
    session.handle_head(story.world.news);
    assert!(session.wants_snapshot());
    peer.settle(&mut story.world, &mut story.registry);
    let session = peer.session.as_mut().unwrap();
    session.handle_head(story.world.news);
    assert!(!session.wants_snapshot(), "nor one of which it was told later");
}

#[test]
fn without_credit_a_session_looks_only_at_what_is_for_all_and_goes_on_with_credit() {
    let mut story = Story::new();
    for number in 1..=2 {
        story.push(vec![create_patient(number, "p", NORTH)]);
    }
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    peer.acknowledges = false;
    peer.connect();
    peer.serve(&mut story.world, &mut story.registry);
    while peer.receive() {}
    story.push(vec![create_patient(3, "p", NORTH)]);
    let session = peer.session.as_mut().unwrap();
    session.handle_head(story.world.news);
    assert!(!session.wants_snapshot(), "rows that may not be sent are not looked for");
    story.world.grant(NORTHERN, &[NORTH, SOUTH]);
    let session = peer.session.as_mut().unwrap();
    session.handle_head(story.world.news);
    assert!(session.wants_snapshot());
    peer.serve(&mut story.world, &mut story.registry);
    while peer.receive() {}
    assert!(peer.seen.iter().any(|down| matches!(down, Down::Sections { .. })));
    peer.acknowledges = true;
    peer.say(Up::AckDelta);
    peer.say(Up::AckDelta);
    peer.settle(&mut story.world, &mut story.registry);
    peer.assert_converged(&story.world);
}

#[test]
fn a_chunk_says_once_who_made_what_it_brings() {
    let mut story = Story::new();
    story.push((1..=3).map(|number| create_patient(number, "p", NORTH)).collect());
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    peer.config = SessionConfig::default();
    story.sync(&mut peer);
    let delta = deltas(&peer).into_iter().find(|delta| delta.rows.0.len() == 3).unwrap();
    assert_eq!(delta.authors.names, ["everybody"]);
    assert_eq!(delta.authors.commits.len(), 1);
}

#[test]
fn a_fill_named_in_one_session_keeps_its_head_in_the_next() {
    let mut story = Story::new();
    story.push((1..=3).map(|number| create_patient(number, "p", NORTH)).collect());
    let named_at = story.head() + 1;
    let mut peer = Peer::new(&mut story.world, 1, NORTHERN);
    peer.connect();
    peer.serve(&mut story.world, &mut story.registry);
    assert!(peer.receive() && peer.receive());
    peer.cut();
    let base = story.head();
    story.push(vec![update(key(PATIENTS, 1), base, PHONE, "1")]);
    peer.connect();
    peer.serve(&mut story.world, &mut story.registry);
    let heads: Vec<_> = peer.kept.cursors.fills.values().map(|fill| fill.head).collect();
    assert!(heads.iter().all(|head| *head == Some(Seq(named_at))), "{heads:?}");
    peer.settle(&mut story.world, &mut story.registry);
    assert!(deltas(&peer).iter().any(|delta| matches!(delta.cursor, CursorName::Fill(_))));
    peer.assert_converged(&story.world);
}
