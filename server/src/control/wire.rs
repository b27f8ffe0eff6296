//! What goes through the control socket: parts of `length: u32 LE, kind: u8, content`, the length counting kind and content.
//!
//! A request is one JSON part; with an import the file follows as data parts, ended by an empty one. The answer is any number
//! of progress and data parts, and one JSON part: `{"Ok": Answer}` or `{"Err": Refused}`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};

/// Largest part, kind and content.
const PART_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Content of the data parts that are sent.
const DATA_BYTES: usize = 64 * 1024;

/// A part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// 1
    Json(Vec<u8>),
    /// 2
    Data(Vec<u8>),
    /// 3: a line for people.
    Progress(String),
}

pub(super) fn send_json(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    send(to, 1, &serde_json::to_vec(message).map_err(io::Error::other)?)
}

/// Sends data, in as many parts as it takes; nothing where there is none.
pub(super) fn send_data(to: &mut impl Write, data: &[u8]) -> io::Result<()> {
    data.chunks(DATA_BYTES).try_for_each(|part| send(to, 2, part))
}

/// Ends the data of a request.
pub(super) fn end_data(to: &mut impl Write) -> io::Result<()> {
    send(to, 2, &[])
}

pub(super) fn send_progress(to: &mut impl Write, text: &str) -> io::Result<()> {
    send(to, 3, text.as_bytes())
}

fn send(to: &mut impl Write, kind: u8, content: &[u8]) -> io::Result<()> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "the message is too large");
    if content.len() >= PART_BYTES_MAX {
        return Err(too_large());
    }
    let length = u32::try_from(content.len() + 1).map_err(|_| too_large())?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&[kind])?;
    to.write_all(content)?;
    to.flush()
}

pub(super) fn receive(from: &mut impl Read) -> io::Result<Part> {
    let malformed = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if !(1..=PART_BYTES_MAX).contains(&length) {
        return Err(malformed("a part of no allowed length"));
    }
    let mut content = vec![0; length];
    from.read_exact(&mut content)?;
    match content.remove(0) {
        1 => Ok(Part::Json(content)),
        2 => Ok(Part::Data(content)),
        3 => String::from_utf8(content).map(Part::Progress).map_err(|_| malformed("progress that is no text")),
        _ => Err(malformed("a part of unknown kind")),
    }
}

pub(super) fn read_json<T: DeserializeOwned>(json: &[u8]) -> io::Result<T> {
    serde_json::from_slice(json).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The data of a request, up to the empty part.
pub(super) fn receive_data(from: &mut impl Read, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        match receive(from)? {
            Part::Data(part) if part.is_empty() => return Ok(data),
            Part::Data(part) if data.len() + part.len() <= bytes_max => data.extend(part),
            Part::Data(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too large")),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "another part where data was to follow")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let mut pipe = Vec::new();
        send_json(&mut pipe, &("a", 1)).unwrap();
        send_progress(&mut pipe, "half").unwrap();
        let data = vec![7; 3 * DATA_BYTES + 1];
        send_data(&mut pipe, &data).unwrap();
        end_data(&mut pipe).unwrap();
        let mut pipe = pipe.as_slice();
        let Part::Json(json) = receive(&mut pipe).unwrap() else { panic!("JSON was sent first") };
        assert_eq!(read_json::<(String, i32)>(&json).unwrap(), ("a".to_owned(), 1));
        assert_eq!(receive(&mut pipe).unwrap(), Part::Progress("half".into()));
        assert_eq!(receive_data(&mut pipe, data.len()).unwrap(), data);
        assert!(pipe.is_empty());
    }

    #[test]
    fn lengths_that_are_not_allowed_are_refused_before_anything_is_allocated() {
        for length in [0, u32::MAX] {
            let error = receive(&mut length.to_le_bytes().as_slice()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        let mut pipe = Vec::new();
        send_data(&mut pipe, &[0; 10]).unwrap();
        assert!(receive_data(&mut pipe.as_slice(), 9).is_err());
    }
}
