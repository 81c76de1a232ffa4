//! The payload of a method frame: what is accepted survives encoding and decoding.
#![no_main]

use leveret_codec::{Method, MethodId, split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    match Method::decode(payload) {
        Ok(method) => {
            let mut out = Vec::new();
            method.encode_frame(1, &mut out);
            let (frame, used) = split(&out, 0).expect("a sound frame").expect("a whole frame");
            assert_eq!(used, out.len());
            let again = Method::decode(frame.payload).expect("what was just encoded");
            assert_eq!(again.id(), method.id());
            // As text, so that NaN equals itself.
            assert_eq!(format!("{again:?}"), format!("{method:?}"));
        }
        Err(error) => {
            assert!(error.reply_text().len() <= 255);
            let mut out = Vec::new();
            error.encode_close(1, &mut out);
            assert!(split(&out, 4096).is_ok_and(|frame| frame.is_some()));
            assert!(error.method() == MethodId::NONE || payload.len() >= 4);
        }
    }
});
