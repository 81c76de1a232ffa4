//! A stream: two bytes of frame-max, then frames and all that is in them.
#![no_main]

use leveret_codec::{
    ContentHeader, FRAME_END, FRAME_OVERHEAD, FrameKind, Greeting, Method, Properties, TableLimits,
    split,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = Greeting::of(input);
    let Some((frame_max, mut rest)) = input.split_first_chunk() else { return };
    let frame_max = u32::from(u16::from_be_bytes(*frame_max));
    while let Ok(Some((frame, used))) = split(rest, frame_max) {
        assert_eq!(used, frame.payload.len() + FRAME_OVERHEAD);
        assert_eq!(rest[used - 1], FRAME_END);
        assert_eq!(split(&rest[..used - 1], frame_max), Ok(None));
        if frame_max >= 8 {
            assert!(frame.payload.len() <= frame_max as usize);
        }
        assert!(frame.misplaced().reply_text().len() <= 255);
        match frame.kind {
            FrameKind::Method => {
                if let Err(error) = Method::decode(frame.payload) {
                    assert!(error.reply_text().len() <= 255);
                }
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).expect("twelve bytes");
                let _ = Properties::parse(header.properties, &TableLimits::default());
            }
            FrameKind::Body => assert_ne!(frame.channel, 0),
            FrameKind::Heartbeat => assert_eq!((frame.channel, used), (0, 8)),
        }
        rest = &rest[used..];
    }
});
