//! Numbers of messages: what is counted, and the sum of what is gone.

/// Defines totals of messages, and a sum of those whose channel or queue is gone.
macro_rules! totals {
    (
        $(#[$totals_doc:meta])+ $totals:ident, $(#[$past_doc:meta])+ $past:ident
        { $($(#[$doc:meta])+ $name:ident,)+ }
    ) => {
        $(#[$totals_doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $totals {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl $totals {
            /// Adds another reading.
            pub fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)+
            }

            /// All of them together: another number whenever one has been added to.
            #[must_use]
            pub fn sum(&self) -> u64 {
                [$(self.$name,)+].into_iter().fold(0, u64::wrapping_add)
            }
        }

        $(#[$past_doc])+
        #[derive(Debug, Default)]
        pub(crate) struct $past {
            $($name: $crate::connections::Sum,)+
        }

        impl $past {
            pub(crate) fn add(&self, more: &$totals) {
                $(if more.$name > 0 { self.$name.add(more.$name); })+
            }

            pub(crate) fn read(&self) -> $totals {
                $totals { $($name: self.$name.get(),)+ }
            }
        }
    };
}

pub(crate) use totals;
