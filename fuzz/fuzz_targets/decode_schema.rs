//! A schema file that may be anything: an operator writes it, a server sends it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tombolo_protocol::schema::Schema;

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = Schema::parse(text);
    }
});
