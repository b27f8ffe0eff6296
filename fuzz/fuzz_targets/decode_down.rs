//! A frame from a server that may be anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tombolo_protocol::frame::{decode_down, encode_down};

fuzz_target!(|input: &[u8]| {
    if let Ok(message) = decode_down(input) {
        assert_eq!(decode_down(&encode_down(&message)), Ok(message));
    }
});
