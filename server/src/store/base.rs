//! The base: everything that is folded from the log, as it was at the horizon, in one canonical stream. It stands for the commits
//! whose contents were put away, and its hash stands in the log.
//!
//! The stream has the tables in the order of [`super::tables`]: `length of the name: u8, name, entries: u64 LE`, and for each
//! entry in the order of its key `length: u32 LE, key, length: u32 LE, value`. It is kept in chunks, each a zstd frame.

use super::StoreError;
use super::compare::GoesOn;
use super::tables::{ReadTables, Tables, WriteTables};
use redb::{Key, ReadOnlyTable, ReadableTable, ReadableTableMetadata, Table, Value};
use tombolo_protocol::hash::InParts;
use tombolo_protocol::limits::STORE_RECORD_BYTES_MAX;

/// Bytes of the stream in one chunk.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Entries that are written between two looks at whether to go on.
const ENTRIES_AT_ONCE: usize = 1000;
/// Effort of the compression: a base is written once and read seldom.
const LEVEL: i32 = 3;

/// Makes the base of `from` in `into`, which has none. Returns its hash.
///
/// # Errors
/// [`StoreError`]; the transaction must be given up then.
pub(crate) fn write(from: &ReadTables, into: &mut WriteTables<'_>, goes_on: GoesOn<'_>) -> Result<[u8; 32], StoreError> {
    let mut writer =
        BaseWriter { chunks: &mut into.base, next: 0, chunk: Vec::with_capacity(CHUNK_BYTES), hash: InParts::default() };
    from.dump(&mut writer, goes_on)?;
    writer.finish()
}

/// The hash of the base that a store has; none where it has none.
///
/// # Errors
/// [`StoreError::Damaged`] where a chunk cannot be read.
pub(crate) fn hash(tables: &impl Tables, goes_on: GoesOn<'_>) -> Result<Option<[u8; 32]>, StoreError> {
    let mut stream = Stream::of(tables.base());
    let mut hash = None;
    while stream.next_chunk()? {
        goes_on()?;
        hash.get_or_insert_with(InParts::default).add(&stream.chunk);
    }
    Ok(hash.map(|hash| hash.finish()))
}

/// Puts the base that a store has in place of what another one has. Returns its hash.
///
/// # Errors
/// [`StoreError`]; the transaction must be given up then.
pub(crate) fn copy(from: &impl Tables, into: &mut WriteTables<'_>) -> Result<[u8; 32], StoreError> {
    let (mut stream, mut hash) = (Stream::of(from.base()), InParts::default());
    while stream.next_chunk()? {
        hash.add(&stream.chunk);
        into.base.insert(stream.next - 1, compressed(&stream.chunk)?.as_slice())?;
    }
    into.base.retain_in(stream.next.., |_, _| false)?;
    Ok(hash.finish())
}

/// Puts everything that the base holds into the tables of an empty store. The caller has looked at its hash.
///
/// # Errors
/// [`StoreError`]; the transaction must be given up then.
pub(crate) fn load(from: &ReadTables, into: &mut WriteTables<'_>, goes_on: GoesOn<'_>) -> Result<(), StoreError> {
    let mut stream = Stream::of(&from.base);
    while !stream.is_over()? {
        let length = usize::from(stream.array::<1>()?[0]);
        let name = String::from_utf8(stream.take(length)?).map_err(|_| malformed())?;
        for count in 0..u64::from_le_bytes(stream.array()?) {
            if count.is_multiple_of(ENTRIES_AT_ONCE as u64) {
                goes_on()?;
            }
            let (key, value) = (stream.bytes()?, stream.bytes()?);
            into.load(&name, &key, &value)?;
        }
    }
    Ok(())
}

/// Writes the stream into chunks.
pub(super) struct BaseWriter<'t, 'txn> {
    chunks: &'t mut Table<'txn, u64, &'static [u8]>,
    next: u64,
    chunk: Vec<u8>,
    hash: InParts,
}

impl BaseWriter<'_, '_> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK_BYTES {
                self.end_chunk()?;
            }
        }
        Ok(())
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= STORE_RECORD_BYTES_MAX);
        let length = length.ok_or_else(|| StoreError::damaged("a record that is larger than any may be"))?;
        self.put(&length.to_le_bytes())?;
        self.put(bytes)
    }

    fn end_chunk(&mut self) -> Result<(), StoreError> {
        self.hash.add(&self.chunk);
        self.chunks.insert(self.next, compressed(&self.chunk)?.as_slice())?;
        self.next += 1;
        self.chunk.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<[u8; 32], StoreError> {
        if !self.chunk.is_empty() {
            self.end_chunk()?;
        }
        Ok(self.hash.finish())
    }
}

/// Writes all entries of a table.
pub(super) fn dump_table<K: Key + 'static, V: Value + 'static>(
    name: &str,
    table: &ReadOnlyTable<K, V>,
    into: &mut BaseWriter<'_, '_>,
    goes_on: GoesOn<'_>,
) -> Result<(), StoreError> {
    into.put(&[u8::try_from(name.len()).map_err(|_| malformed())?])?;
    into.put(name.as_bytes())?;
    into.put(&table.len()?.to_le_bytes())?;
    for (count, entry) in table.iter()?.enumerate() {
        if count.is_multiple_of(ENTRIES_AT_ONCE) {
            goes_on()?;
        }
        let (key, value) = entry?;
        into.put_bytes(K::as_bytes(&key.value()).as_ref())?;
        into.put_bytes(V::as_bytes(&value.value()).as_ref())?;
    }
    Ok(())
}

/// Puts an entry into its table.
pub(super) fn load_entry<K: Key + 'static, V: Value + 'static>(
    table: &mut Table<'_, K, V>,
    key: &[u8],
    value: &[u8],
) -> Result<(), StoreError> {
    table.insert(K::from_bytes(key), V::from_bytes(value))?;
    Ok(())
}

/// Reads the stream from chunks.
struct Stream<'t, T> {
    chunks: &'t T,
    next: u64,
    chunk: Vec<u8>,
    at: usize,
}

impl<'t, T: ReadableTable<u64, &'static [u8]>> Stream<'t, T> {
    fn of(chunks: &'t T) -> Self {
        Self { chunks, next: 0, chunk: Vec::new(), at: 0 }
    }

    /// False behind the last one.
    fn next_chunk(&mut self) -> Result<bool, StoreError> {
        let Some(frame) = self.chunks.get(self.next)? else { return Ok(false) };
        self.chunk = zstd::bulk::decompress(frame.value(), CHUNK_BYTES).map_err(|_| malformed())?;
        (self.next, self.at) = (self.next + 1, 0);
        Ok(true)
    }

    fn is_over(&mut self) -> Result<bool, StoreError> {
        Ok(self.at == self.chunk.len() && !self.next_chunk()?)
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, StoreError> {
        let mut taken = Vec::with_capacity(length);
        while taken.len() < length {
            if self.is_over()? {
                return Err(malformed());
            }
            let part = &self.chunk[self.at..];
            let part = &part[..part.len().min(length - taken.len())];
            taken.extend_from_slice(part);
            self.at += part.len();
        }
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.take(N)?.try_into().map_err(|_| malformed())
    }

    /// A key or a value.
    fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        let length = usize::try_from(u32::from_le_bytes(self.array()?)).unwrap_or(usize::MAX);
        if length > STORE_RECORD_BYTES_MAX { Err(malformed()) } else { self.take(length) }
    }
}

fn compressed(chunk: &[u8]) -> Result<Vec<u8>, StoreError> {
    zstd::bulk::compress(chunk, LEVEL).map_err(StoreError::Io)
}

fn malformed() -> StoreError {
    StoreError::damaged("the base of the log cannot be read")
}
