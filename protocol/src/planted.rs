//! Planted bugs: small wrongs, of which the simulation must find every one. Each switches one rule off where the code has it.
//!
//! A shipping build has none: without `--cfg planted`, [`planted()`] is a constant `false`, and the compiler drops what hangs on
//! it. With the flag one wrong can be chosen at run time, for the whole process.

macro_rules! wrongs {
    ($($(#[doc = $says:literal])+ $wrong:ident = $name:literal,)+) => {
        /// A wrong.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Planted {
            $($(#[doc = $says])+ $wrong,)+
        }

        impl Planted {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$wrong,)+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$wrong => $name,)+
                }
            }

            /// What is wrong, in a sentence.
            pub fn says(self) -> &'static str {
                match self {
                    $(Self::$wrong => concat!($($says),+),)+
                }
                .trim()
            }
        }
    };
}

wrongs! {
    // What is sent to whom.
    /// T1, S1: a scan sends the fields newer than where it has come, and not those newer than `complete`.
    ScanByScanned = "scan_by_scanned",
    /// T3, S2: a chunk that ends inside a commit counts as the whole commit.
    PositionIsASeq = "position_is_a_seq",
    /// T2, S6: own rows are left out of deltas although their result never reached the device.
    OwnLeftOutUnanswered = "own_left_out_unanswered",
    /// T4, S4: a section being filled is told of no deletion, however new.
    FillSkipsTombstones = "fill_skips_tombstones",
    /// T9, S1: a row that came into its section is sent and stored like one that was there all the time.
    SinceIgnored = "since_ignored",
    /// T9, S5: nobody is told that a row left a section.
    ExitUntold = "exit_untold",
    /// Section 9: in place of an exit marker the row is sent whole to everybody.
    ExitShowsTheRow = "exit_shows_the_row",
    /// T22, P5: a result brings rows that the user may not see any more.
    ResultWithoutRights = "result_without_rights",
    /// H5: the history of a row that was brought back goes on behind its purge.
    HistoryBehindPurge = "history_behind_purge",
    /// H5: what was done to rows whose values were purged is told as what was done lately.
    ActivityOfPurged = "activity_of_purged",
    /// T9, section 8: a session is not told that the user's sections changed.
    SectionsUntold = "sections_untold",
    /// T21, H7: a session is not told of a new schema.
    SchemaUntold = "schema_untold",
    /// S1: a chunk of a first sync that was made for another device is sent again, whatever became of its rows.
    PreparedUnchecked = "prepared_unchecked",
    /// S9: a session that only hands a push on takes the head for looked at: what others committed with it stays unsent.
    HandingOnLooks = "handing_on_looks",

    // Identity, history, exactly once.
    /// H1: the witness is not compared with the log.
    WitnessUnchecked = "witness_unchecked",
    /// T11, P3: a store that was put back is greeted as if nothing had happened.
    CopyGreeted = "copy_greeted",
    /// T11, P2: a known push number is answered from the record, whatever the push holds.
    OtherPushAnswered = "other_push_answered",
    /// P2: a push that comes again is decided again.
    RetryDecidedAgain = "retry_decided_again",
    /// P6: a void is recorded without the hash of the push that it stands for.
    VoidUnchained = "void_unchained",
    /// P9: the server answers before its commit is durable.
    ServerNotDurable = "server_not_durable",
    /// T19, H5: a compaction puts away the last pushes of each device too.
    CompactedOutcomeLost = "compacted_outcome_lost",
    /// H5: of a row that changed both behind the base of a push and before the horizon, a result says that nothing else happened.
    ExpectedBehindHorizon = "expected_behind_horizon",

    // Deciding.
    /// T19, H5: an update of an id that the server never knew makes the row.
    UpdateCreates = "update_creates",
    /// T19, H5: a create of a deleted row brings it back.
    CreateRevives = "create_revives",
    /// O4: a row is deleted although it changed since the base.
    DeleteUnseen = "delete_unseen",
    /// C3: a strict table is merged by field.
    StrictMerged = "strict_merged",
    /// T13: of a change in conflict the other fields go through.
    HalfAChange = "half_a_change",
    /// T15, C5: a restore overwrites what others changed before the deletion.
    RestoreOverwrites = "restore_overwrites",
    /// T13: of a group goes through what can.
    GroupHalfAdmitted = "group_half_admitted",
    /// T20, P7: a reference to a row that is not there is accepted.
    ParentUnchecked = "parent_unchecked",
    /// T20, P7: a unique value is accepted twice.
    UniqueUnchecked = "unique_unchecked",
    /// T20, P7: a row is deleted that others refer to.
    ReferrersUnchecked = "referrers_unchecked",
    /// T9, S5: a row is moved into a scope without the right to write there.
    ScopeUnchecked = "scope_unchecked",
    /// T21, H7: the initial value of a later field is not written into creates of older apps.
    InitialForgotten = "initial_forgotten",
    /// C1: who comes last wins.
    LastWriteWins = "last_write_wins",
    /// T7, C2: members of a field group are compared one by one.
    GroupByField = "group_by_field",

    // Local writes.
    /// T17, O2: the base is the mirror of the moment and not what was displayed.
    BaseOfTheMoment = "base_of_the_moment",
    /// O2: what is set back leaves the outbox, although by now the server has the value that was replaced.
    AgreedSetBack = "agreed_set_back",
    /// O2, O3: what an old form writes over a newer own edit stands on what that edit had seen.
    OlderViewIgnored = "older_view_ignored",
    /// C1: of what only others changed, the base that is shown is the value before the last change, and not what the person saw.
    NewestDisplaced = "newest_displaced",
    /// T16, O4: a delete of an entry in conflict takes what it conflicts with for seen.
    DeleteForgetsConflict = "delete_forgets_conflict",
    /// T41, O2: a view of a pending value is worth nothing once that value is confirmed.
    ViewOfPendingForgotten = "view_of_pending_forgotten",
    /// T41, O2: any view is taken for one of the value that was confirmed.
    GenerationIgnored = "generation_ignored",
    /// T42, O3: a delete over a create that was sent is nothing.
    SentCreateSquashed = "sent_create_squashed",
    /// O3: of two edits of a field the newer base is kept.
    NewestBase = "newest_base",
    /// T25, O9: a discard takes what is in flight along.
    DiscardInFlight = "discard_in_flight",
    /// O9: what is put back takes the place of what was done, sent or answered since.
    PutBackOverNewer = "put_back_over_newer",
    /// O9: what is put back is taken for an edit of the row as it is by then.
    PutBackRebased = "put_back_rebased",
    /// O9, H3: what was discarded in a history that is lost is put back as it was.
    PutBackOfLostHistory = "put_back_of_lost_history",
    /// T18, O7: groups that share an entry stay two.
    GroupsStayApart = "groups_stay_apart",
    /// O1: a local write is not durable when the call returns.
    ClientNotDurable = "client_not_durable",

    // Freezing.
    /// T12, O5: a row with a change in flight is frozen again.
    InFlightFrozenAgain = "in_flight_frozen_again",
    /// T36, O5: bases are lifted to the main cursor while the section is being filled.
    LiftedInFill = "lifted_in_fill",
    /// T18, O7: the members of a group are sent one by one.
    GroupSplit = "group_split",
    /// O5: an entry in conflict is sent.
    ConflictSent = "conflict_sent",
    /// T14, P6: a push that ends every session is sent for ever.
    PoisonForEver = "poison_for_ever",
    /// T14, P6: a change that fails alone is sent again.
    VoidedAloneAgain = "voided_alone_again",

    // Answers.
    /// O6: an answer clears what was edited meanwhile.
    AnswerClearsNext = "answer_clears_next",
    /// O6: what is in conflict is discarded.
    ConflictDiscards = "conflict_discards",
    /// O6: what was edited meanwhile keeps its base behind an accepted push.
    NextNotRebased = "next_not_rebased",
    /// T35, O6: the row base of what was edited meanwhile always becomes the result's seq.
    RowBaseAlwaysMoves = "row_base_always_moves",
    /// T5: the witness is the newest delta, and not the newest of any message.
    WitnessOfDeltas = "witness_of_deltas",
    /// T37: the witness of an answer is its commit, and not the snapshot from which its rows were read.
    WitnessOfCommit = "witness_of_commit",
    /// T5: a notice of sections gives fills a head, and the witness stays where it was.
    WitnessOfRows = "witness_of_rows",
    /// T24, O11: acknowledged pushes are not kept.
    AcknowledgedForgotten = "acknowledged_forgotten",
    /// O11: acknowledged pushes are dropped before a backup covers them.
    BackupAssumed = "backup_assumed",

    // The mirror.
    /// S2: the cursor of a delta is durable before its rows.
    CursorBeforeRows = "cursor_before_rows",
    /// T9, section 8: rows of sections that are no longer listed stay.
    GoneSectionStays = "gone_section_stays",
    /// T39, S4: rows are stored before the head of their fill is known.
    StoredBeforeHead = "stored_before_head",

    // A new life.
    /// P3, P6: what is thawed, by a void or with a new device id, is dropped.
    FrozenDropped = "frozen_dropped",
    /// T23, P4: being replaced by a foreign process is taken for nothing.
    TakeoverIgnored = "takeover_ignored",
    /// T6, H3: bases of the lost history are kept.
    BasesOfLostHistory = "bases_of_lost_history",
    /// T38, H3: rows of the lost history stay in the mirror.
    MirrorOfLostHistory = "mirror_of_lost_history",
    /// T8, H4: a deletion that a restore undid is offered again without a question.
    DeletionUnasked = "deletion_unasked",
}

#[cfg(planted)]
static CHOSEN: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(u8::MAX);

/// Chooses the wrong, or none, for the whole process.
#[cfg(planted)]
pub fn plant(wrong: Option<Planted>) {
    CHOSEN.store(wrong.map_or(u8::MAX, |wrong| wrong as u8), std::sync::atomic::Ordering::SeqCst);
}

/// Whether the code is to do this wrong.
#[cfg(planted)]
pub fn planted(wrong: Planted) -> bool {
    CHOSEN.load(std::sync::atomic::Ordering::Relaxed) == wrong as u8
}

/// Whether the code is to do this wrong: never in a shipping build.
#[cfg(not(planted))]
#[inline(always)]
pub const fn planted(_wrong: Planted) -> bool {
    false
}
