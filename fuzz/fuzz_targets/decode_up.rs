//! A frame from a client, or a header of its upgrade request, that may be anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tombolo_protocol::frame::{decode_up, encode_up, hello_from_header, hello_to_header};

fuzz_target!(|input: &[u8]| {
    if let Ok(message) = decode_up(input) {
        assert_eq!(decode_up(&encode_up(&message)), Ok(message));
    }
    if let Ok(hello) = std::str::from_utf8(input).map_err(drop).and_then(|header| hello_from_header(header).map_err(drop))
        && let Some(header) = hello_to_header(&hello)
    {
        assert_eq!(hello_from_header(&header), Ok(hello));
    }
});
