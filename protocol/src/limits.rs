//! Every maximum of the system, in one place; checked before anything is allocated.

/// Largest row: the canonical bytes of all its values together. Larger things are files.
pub const ROW_BYTES_MAX: usize = 64 * 1024;
/// Changes in one push, and so in one group (P1, O7).
pub const PUSH_CHANGES_MAX: usize = 250;
/// Canonical bytes of one push, and so of one group (P1, O7).
pub const PUSH_BYTES_MAX: usize = 64 * 1024;
/// Canonical bytes of a push that is refused as too large: a single change may carry a full row, and the values that lost to it.
pub const PUSH_BYTES_REFUSED: usize = 4 * PUSH_BYTES_MAX;
/// Frozen pushes that wait for an answer at the same time.
pub const PUSH_WINDOW_MAX: usize = 64;
/// A frame on the wire.
pub const FRAME_WIRE_BYTES_MAX: usize = 1024 * 1024;
/// A frame after inflating.
pub const FRAME_INFLATED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// First chunk of a session whose rate is not known yet, in inflated bytes.
pub const CHUNK_BYTES_FIRST: usize = 16 * 1024;
/// Rows of the largest chunk and of any other message with rows, in inflated bytes, with the commits that they name. They may
/// not compress at all, so this stays under [`FRAME_WIRE_BYTES_MAX`]; a quarter is left for names, sections and verdicts.
pub const CHUNK_BYTES_MAX: usize = 768 * 1024;
/// Rows in one chunk.
pub const CHUNK_ROWS_MAX: usize = 16 * 1024;
/// Delta chunks that may be unacknowledged (S9).
pub const DELTA_CREDIT: u32 = 2;
/// Hello inside the upgrade request: longer ones travel in the first frame.
pub const HELLO_HEADER_BYTES_MAX: usize = 2 * 1024;
/// Common pairs that a client keeps and may be asked for (H3).
pub const COMMON_PAIRS_MAX: usize = 64;
/// Rows asked for in one WantRow.
pub const WANT_ROWS_MAX: usize = 250;
/// Sections of one user. A user with all rights has one for each scope of each scoped table, and one for each other table: that
/// bounds the scopes of a workspace, and a server refuses what would go beyond.
pub const SECTIONS_MAX: usize = 4096;
/// One record of an embedded store.
pub const STORE_RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Tables in a schema.
pub const TABLES_MAX: usize = 256;
/// Fields in a table.
pub const FIELDS_MAX: usize = 256;
/// Choices of a field.
pub const CHOICES_MAX: usize = 1024;
/// Bytes of a schema file.
pub const SCHEMA_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a name (user, table, field).
pub const NAME_BYTES_MAX: usize = 64;
/// History entries in one answer.
pub const HISTORY_ENTRIES_MAX: usize = 1000;
/// Pushes that one answer tells of when it is asked what was done lately.
pub const ACTIVITY_DEEDS_MAX: usize = 200;
/// Rounds in which a provisional conflict that is none is sent again within one sync (C6).
pub const PROVISIONAL_ROUNDS_MAX: u8 = 3;
/// Sessions that a push may end without an answer before it is voided (P6).
pub const PUSH_FAILED_SESSIONS_MAX: u32 = 3;
/// Days that an acknowledged push is kept for being offered again (O11).
pub const ACKNOWLEDGED_DAYS_MAX: u64 = 90;
/// Bytes of acknowledged pushes kept (O11).
pub const ACKNOWLEDGED_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Confirmations that a client keeps for views of pending values (O2). Twice as many may stand in its store; then the oldest go.
pub const SETTLED_MAX: usize = 10_000;
/// Confirmations of the edits of one row that a client keeps for views that showed them as pending: a view shows two at most, and
/// one from before the newest edit shows older ones.
pub const SETTLED_OF_ROW_MAX: usize = 4;
/// Commits of which a client remembers who made them and when; the newest.
pub const AUTHORS_KEPT_MAX: u64 = 100_000;
/// Changes decided in one durable write of the server (group commit).
pub const GROUP_COMMIT_CHANGES_MAX: usize = 1500;
/// Bytes that an unauthenticated peer may send.
pub const UNAUTHENTICATED_BYTES_MAX: usize = 8 * 1024;
/// Milliseconds that an unauthenticated peer has.
pub const UNAUTHENTICATED_MS_MAX: u64 = 30_000;
/// Milliseconds in which the checks of a session must have passed; the largest Hello takes half of them at 9.6 kbit/s.
pub const CHECKS_MS_MAX: i64 = 60_000;
/// Connections of one device at the same time: those that a bad link left behind die within a minute.
pub const DEVICE_SESSIONS_MAX: usize = 16;
/// Unauthenticated peers at the same time.
pub const UNAUTHENTICATED_PEERS_MAX: usize = 1000;
