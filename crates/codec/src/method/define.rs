//! Turns the table of methods into types with a decoder and an encoder each.
//!
//! A row reads `"name" id Struct as Variant { fields }`. Fields that exist on the wire only (the
//! specification's reserved ones) stand in brackets before or after the real ones: they are skipped
//! on decode and written as zero. A struct that borrows says so with `<'a>`, exactly.

/// Generates a module per class, a struct per method, and [`Method`](super::Method).
macro_rules! define_methods {
    ($(
        $(#[$class_doc:meta])*
        $class:ident = $class_id:literal {
            $(
                $(#[$doc:meta])*
                $wire_name:literal $id:literal $name:ident $(<$life:lifetime>)? as $variant:ident {
                    $([$($before:ident),+])?
                    $($(#[$field_doc:meta])* $field:ident: $kind:ident),* $(,)?
                    $(+ [$($after:ident),+])?
                }
            )+
        }
    )+) => {
        /// A method with its arguments, texts and tables borrowed from the frame.
        #[derive(Clone, Copy, PartialEq, Debug)]
        pub enum Method<'a> {
            $($(
                #[doc = concat!("`", stringify!($class), ".", $wire_name, "`")]
                $variant($class::$name $(<$life>)?),
            )+)+
        }

        impl<'a> Method<'a> {
            /// Reads the payload of a method frame, by the usual limits of tables.
            ///
            /// # Errors
            /// As [`decode_within`](Self::decode_within).
            #[inline]
            pub fn decode(payload: &'a [u8]) -> Result<Self, AmqpError> {
                Self::decode_within(payload, &TableLimits::default())
            }

            /// Reads the payload of a method frame.
            ///
            /// # Errors
            /// As RabbitMQ: 503 for ids that name no method, 501 for arguments that are too short
            /// or too long or for a name that is not UTF-8. 502 for a malformed table, where
            /// RabbitMQ drops the connection, and for one beyond the limits.
            #[inline]
            pub fn decode_within(
                payload: &'a [u8],
                tables: &TableLimits,
            ) -> Result<Self, AmqpError> {
                let (id, mut reader) = super::read_id(payload, tables)?;
                let method = match (id.class, id.method) {
                    $($(
                        ($class_id, $id) => $class::$name::read(&mut reader).map(Self::$variant),
                    )+)+
                    _ => return Err(AmqpError::unknown_method(id)),
                };
                match method {
                    Ok(method) if reader.rest().is_empty() => Ok(method),
                    Ok(_) => Err(super::undecodable(ReadError::Truncated, id, payload)),
                    Err(error) => Err(super::undecodable(error, id, payload)),
                }
            }

            /// The method's class and number.
            #[must_use]
            pub fn id(&self) -> MethodId {
                match self {
                    $($(Self::$variant(_) => $class::$name::ID,)+)+
                }
            }

            /// Appends the method as a frame on `channel`. Texts over 255 bytes are cut.
            pub fn encode_frame(&self, channel: u16, out: &mut Vec<u8>) {
                match self {
                    $($(Self::$variant(method) => method.encode_frame(channel, out),)+)+
                }
            }
        }

        impl MethodId {
            /// The method's name, such as `queue.declare-ok`; `None` if there is no such method.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                Some(match (self.class, self.method) {
                    $($(
                        ($class_id, $id) => concat!(stringify!($class), ".", $wire_name),
                    )+)+
                    _ => return None,
                })
            }
        }

        $(
            $(#[$class_doc])*
            pub mod $class {
                use super::*;

                $(
                    $(#[$doc])*
                    #[derive(Clone, Copy, PartialEq, Debug)]
                    pub struct $name $(<$life>)? {
                        $(
                            #[doc = concat!("A ", stringify!($kind), " on the wire.")]
                            $(#[$field_doc])*
                            pub $field: define_methods!(@type $kind),
                        )*
                    }

                    impl $(<$life>)? $name $(<$life>)? {
                        /// Class and number of the method.
                        pub const ID: MethodId = MethodId { class: $class_id, method: $id };

                        #[inline]
                        pub(crate) fn read<'r $(: $life)?>(
                            _reader: &mut Reader<'r>,
                        ) -> Result<Self, ReadError> {
                            $($(_reader.$before()?;)+)?
                            $(let $field = _reader.$kind()?;)*
                            $($(_reader.$after()?;)+)?
                            Ok(Self { $($field),* })
                        }

                        /// Appends the method as a frame on `channel`. Texts over 255 bytes are cut.
                        #[inline]
                        pub fn encode_frame(&self, channel: u16, out: &mut Vec<u8>) {
                            let Self { $($field),* } = *self;
                            let room = 0
                                $($(+ define_methods!(@reserved_room $before))+)?
                                $(+ define_methods!(@room $kind $field))*
                                $($(+ define_methods!(@reserved_room $after))+)?;
                            let start = begin(Self::ID, channel, room, out);
                            let mut _writer = Writer::new(out);
                            $($(define_methods!(@write_reserved _writer $before);)+)?
                            $(_writer.$kind($field);)*
                            $($(define_methods!(@write_reserved _writer $after);)+)?
                            _writer.flush_bits();
                            end(start, out);
                        }
                    }
                )+
            }
        )+
    };

    (@type bit) => { bool };
    (@type octet) => { u8 };
    (@type short) => { u16 };
    (@type long) => { u32 };
    (@type longlong) => { u64 };
    (@type shortstr) => { &'a str };
    (@type longstr) => { &'a [u8] };
    (@type table) => { Table<'a> };

    (@room bit $field:ident) => { 1 };
    (@room octet $field:ident) => { 1 };
    (@room short $field:ident) => { 2 };
    (@room long $field:ident) => { 4 };
    (@room longlong $field:ident) => { 8 };
    (@room shortstr $field:ident) => { 1 + $field.len() };
    (@room longstr $field:ident) => { 4 + $field.len() };
    (@room table $field:ident) => { 4 + $field.as_bytes().len() };

    (@reserved_room bit) => { 1 };
    (@reserved_room short) => { 2 };
    (@reserved_room shortstr) => { 1 };
    (@reserved_room longstr) => { 4 };

    (@write_reserved $writer:ident bit) => { $writer.bit(false) };
    (@write_reserved $writer:ident short) => { $writer.short(0) };
    (@write_reserved $writer:ident shortstr) => { $writer.shortstr("") };
    (@write_reserved $writer:ident longstr) => { $writer.longstr(&[]) };
}

pub(super) use define_methods;
