//! Frames: a message as bytes, compressed where that is smaller. `protocol/WIRE.md` describes them to the byte.
//!
//! The WebSocket carries whole messages, so a frame has no length. Its first byte is the kind: 0 plain, 1 one zstd frame.
//! Decoding checks sizes before it allocates, and what `check` says of collections before a message is handed out.

mod check;

use crate::codec;
use crate::columns::compressed_len;
use crate::error::DecodeError;
use crate::limits::{FRAME_INFLATED_BYTES_MAX, FRAME_WIRE_BYTES_MAX, HELLO_HEADER_BYTES_MAX, UNAUTHENTICATED_BYTES_MAX};
use crate::message::{Down, Hello, Up};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use check::within;
use std::cell::RefCell;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe;

/// The number of [`Up::Hello`].
const HELLO: u8 = 0;
/// What a Hello from anyone may take in memory; a section takes twenty times its bytes on the wire.
const HELLO_MEMORY_MAX: usize = 32 * UNAUTHENTICATED_BYTES_MAX;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// The lowest level that splits the blocks also of a large batch where their content changes, as columns do. Most of a batch is
/// packed, and takes no time.
const ZSTD_LEVEL: i32 = 16;
/// Below this a zstd frame is never smaller in practice, and pings stay cheap.
const COMPRESS_BYTES_MIN: usize = 64;
/// Below this an answer is looked at before it is compressed.
const SHORT_ANSWER_BYTES: usize = 256;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// Exponent of the largest zstd window that a frame may ask for: [`FRAME_INFLATED_BYTES_MAX`].
const WINDOW_LOG_MAX: u32 = FRAME_INFLATED_BYTES_MAX.ilog2();

/// Makes frames. Holds a compression context of a few megabytes: share one per worker, not one per session.
pub struct FrameEncoder {
    context: Compressor<'static>,
}

impl FrameEncoder {
    /// With a context of its own.
    ///
    /// # Panics
    /// Where memory for the context is not to be had.
    pub fn new() -> Self {
        Self { context: Compressor::new(ZSTD_LEVEL).expect("a compression context needs nothing but memory") }
    }

    /// The frame of a client's message.
    pub fn up(&mut self, message: &Up) -> Vec<u8> {
        self.frame(codec::encode(message))
    }

    /// The frame of a server's message.
    pub fn down(&mut self, message: &Down) -> Vec<u8> {
        let envelope = codec::encode(message);
        if stays_plain(&envelope) { with_kind(PLAIN, &envelope) } else { self.frame(envelope) }
    }

    fn frame(&mut self, envelope: Vec<u8>) -> Vec<u8> {
        if envelope.len() >= COMPRESS_BYTES_MIN
            && let Ok(compressed) = self.context.compress(&envelope)
            && compressed.len() < envelope.len()
        {
            return with_kind(ZSTD, &compressed);
        }
        with_kind(PLAIN, &envelope)
    }
}

impl Default for FrameEncoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether it is not tried to compress an answer: that takes longer than all else that is done for a short one, of which hashes are
/// most, and by an estimate it would not get smaller.
fn stays_plain(answer: &[u8]) -> bool {
    (COMPRESS_BYTES_MIN..SHORT_ANSWER_BYTES).contains(&answer.len()) && compressed_len(answer) >= answer.len()
}

fn with_kind(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(1 + content.len());
    frame.push(kind);
    frame.extend_from_slice(content);
    frame
}

/// Reads frames. Holds a decompression context: share one per worker, not one per session.
#[derive(Default)]
pub struct FrameDecoder {
    context: Decompressor<'static>,
}

impl FrameDecoder {
    /// With a context of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// The client's message in a frame.
    ///
    /// # Errors
    /// [`DecodeError`] when the frame is not one, or breaks a limit.
    pub fn up(&mut self, frame: &[u8]) -> Result<Up, DecodeError> {
        let message = self.read(frame, FRAME_INFLATED_BYTES_MAX, codec::decode)?;
        check::up(&message)?;
        Ok(message)
    }

    /// The server's message in a frame.
    ///
    /// # Errors
    /// [`DecodeError`] when the frame is not one, or breaks a limit.
    pub fn down(&mut self, frame: &[u8]) -> Result<Down, DecodeError> {
        let message = self.read(frame, FRAME_INFLATED_BYTES_MAX, codec::decode)?;
        check::down(&message)?;
        Ok(message)
    }

    /// Hello and nothing else, from a peer that may be anyone.
    fn hello(&mut self, frame: &[u8]) -> Result<Hello, DecodeError> {
        let hello = self.read(frame, UNAUTHENTICATED_BYTES_MAX, |envelope| match envelope.split_first() {
            Some((&HELLO, content)) => codec::decode_within::<_, HELLO_MEMORY_MAX>(content),
            _ => Err(DecodeError::Malformed("another message than Hello in the header".into())),
        })?;
        check::hello(&hello)?;
        Ok(hello)
    }

    fn read<T>(
        &mut self,
        frame: &[u8],
        inflated_max: usize,
        decode: fn(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        within("a frame", frame.len(), FRAME_WIRE_BYTES_MAX)?;
        match frame.split_first() {
            Some((&PLAIN, envelope)) => {
                within("a message", envelope.len(), inflated_max)?;
                decode(envelope)
            }
            Some((&ZSTD, compressed)) => decode(&self.inflate(compressed, inflated_max)?),
            Some((&kind, _)) => Err(DecodeError::UnknownFrame(kind)),
            None => Err(DecodeError::Malformed("an empty frame".into())),
        }
    }

    fn inflate(&mut self, compressed: &[u8], inflated_max: usize) -> Result<Vec<u8>, DecodeError> {
        let malformed = |what: &str| DecodeError::Malformed(what.into());
        check_window(compressed)?;
        if zstd_safe::get_dict_id_from_frame(compressed).is_some() {
            return Err(malformed("a zstd frame that wants a dictionary"));
        }
        let size = match zstd_safe::get_frame_content_size(compressed) {
            Ok(Some(size)) => usize::try_from(size).unwrap_or(usize::MAX),
            Ok(None) | Err(_) => return Err(malformed("a zstd frame that does not tell its size")),
        };
        within("a message", size, inflated_max)?;
        let used = zstd_safe::find_frame_compressed_size(compressed).map_err(|_| malformed("a broken zstd frame"))?;
        if used != compressed.len() {
            return Err(DecodeError::TrailingBytes { count: compressed.len().saturating_sub(used) });
        }
        let mut inflated = Vec::with_capacity(size);
        self.context.decompress_to_buffer(compressed, &mut inflated).map_err(|e| DecodeError::Malformed(e.to_string()))?;
        Ok(inflated)
    }
}

/// Refuses what is no zstd frame (also a skippable one) and windows that no peer has to keep. Inflating in one piece needs
/// no window here, but a peer that streams does.
fn check_window(compressed: &[u8]) -> Result<(), DecodeError> {
    let Some([descriptor, window, ..]) = compressed.strip_prefix(&ZSTD_MAGIC) else {
        return Err(DecodeError::Malformed("not a zstd frame".into()));
    };
    let single_segment = descriptor & 0x20 != 0;
    let log = 10 + u32::from(window >> 3);
    if !single_segment && (log > WINDOW_LOG_MAX || (log == WINDOW_LOG_MAX && window & 7 != 0)) {
        return Err(DecodeError::TooLarge { what: "a zstd window", found: 1 << log.min(31), limit: 1 << WINDOW_LOG_MAX });
    }
    Ok(())
}

thread_local! {
    static ENCODER: RefCell<FrameEncoder> = RefCell::new(FrameEncoder::new());
    static DECODER: RefCell<FrameDecoder> = RefCell::new(FrameDecoder::new());
}

/// The frame of a client's message, with the contexts of this thread.
pub fn encode_up(message: &Up) -> Vec<u8> {
    ENCODER.with_borrow_mut(|encoder| encoder.up(message))
}

/// The frame of a server's message, with the contexts of this thread.
pub fn encode_down(message: &Down) -> Vec<u8> {
    ENCODER.with_borrow_mut(|encoder| encoder.down(message))
}

/// The client's message in a frame, with the contexts of this thread.
///
/// # Errors
/// [`DecodeError`] when the frame is not one, or breaks a limit.
pub fn decode_up(frame: &[u8]) -> Result<Up, DecodeError> {
    DECODER.with_borrow_mut(|decoder| decoder.up(frame))
}

/// The server's message in a frame, with the contexts of this thread.
///
/// # Errors
/// [`DecodeError`] when the frame is not one, or breaks a limit.
pub fn decode_down(frame: &[u8]) -> Result<Down, DecodeError> {
    DECODER.with_borrow_mut(|decoder| decoder.down(frame))
}

/// Hello as the header [`crate::version::HELLO_HEADER`] carries it; `None` where it is too long and travels in the first frame.
pub fn hello_to_header(hello: &Hello) -> Option<String> {
    let header = URL_SAFE_NO_PAD.encode(encode_up(&Up::Hello(Box::new(hello.clone()))));
    (header.len() <= HELLO_HEADER_BYTES_MAX).then_some(header)
}

/// Hello from its header. The peer may be anyone: nothing larger than [`UNAUTHENTICATED_BYTES_MAX`] is inflated.
///
/// # Errors
/// [`DecodeError`] when the header is not that, or breaks a limit.
pub fn hello_from_header(header: &str) -> Result<Hello, DecodeError> {
    within("the header with Hello", header.len(), HELLO_HEADER_BYTES_MAX)?;
    let frame = URL_SAFE_NO_PAD.decode(header).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    DECODER.with_borrow_mut(|decoder| decoder.hello(&frame))
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
