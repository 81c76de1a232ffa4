//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};

use leveret_store::Distribution;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    Histogram,
    Untyped,
}

/// Metrics as text.
pub(crate) struct Exposition {
    prefix: &'static str,
    out: String,
}

/// The name and value of a label.
pub(crate) type Label<'a> = (&'a str, &'a str);

impl Exposition {
    /// Begins; the prefix stands in front of each name.
    pub(crate) fn new(prefix: &'static str) -> Self {
        Self { prefix, out: String::new() }
    }

    /// Begins a metric.
    pub(crate) fn metric(&mut self, name: &str, kind: Kind, help: &str) {
        let prefix = self.prefix;
        self.metric_named(&format!("{prefix}{name}"), kind, help);
    }

    /// Begins a metric under a name without the prefix.
    pub(crate) fn metric_named(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Untyped => "untyped",
        };
        // Writing to a string doesn't fail.
        let _ = writeln!(self.out, "# TYPE {name} {kind}\n# HELP {name} {help}");
    }

    /// Adds a sample to the metric begun last.
    pub(crate) fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.out.push_str(self.prefix);
        self.sample_named(name, labels, value);
    }

    /// Adds a sample under a name without the prefix.
    pub(crate) fn sample_named(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.out.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.out.push(if index == 0 { '{' } else { ',' });
            self.out.push_str(label);
            self.out.push_str("=\"");
            value.chars().for_each(|character| match character {
                '\\' => self.out.push_str("\\\\"),
                '"' => self.out.push_str("\\\""),
                '\n' => self.out.push_str("\\n"),
                other => self.out.push(other),
            });
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        // Writing to a string doesn't fail.
        let _ = writeln!(self.out, " {value}");
    }

    /// Adds a histogram under a name without the prefix: values are shown divided by `unit`.
    pub(crate) fn distribution(&mut self, name: &str, distribution: &Distribution, unit: f64) {
        #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
        let scaled = |value: u64| value as f64 / unit;
        let bucket = format!("{name}_bucket");
        for (bound, count) in &distribution.up_to {
            self.sample_named(&bucket, &[("le", &scaled(*bound).to_string())], count);
        }
        self.sample_named(&bucket, &[("le", "+Inf")], distribution.count);
        self.sample_named(&format!("{name}_sum"), &[], scaled(distribution.sum));
        self.sample_named(&format!("{name}_count"), &[], distribution.count);
    }

    /// A metric with one sample.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.metric(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_end_with_all_there_is() {
        let mut out = Exposition::new("p_");
        let distribution = Distribution { up_to: vec![(500, 1), (1000, 3)], count: 4, sum: 5000 };
        out.distribution("m", &distribution, 1000.0);
        let expected = "m_bucket{le=\"0.5\"} 1\nm_bucket{le=\"1\"} 3\nm_bucket{le=\"+Inf\"} 4\n\
                        m_sum 5\nm_count 4\n";
        assert_eq!(out.finish(), expected);
    }

    #[test]
    fn labels_are_escaped() {
        let mut out = Exposition::new("p_");
        out.metric("m", Kind::Gauge, "Help.");
        out.sample("m", &[("a", "x\"\\\ny"), ("b", "")], 1.5);
        out.sample("m", &[], 2);
        let expected =
            "# TYPE p_m gauge\n# HELP p_m Help.\np_m{a=\"x\\\"\\\\\\ny\",b=\"\"} 1.5\np_m 2\n";
        assert_eq!(out.finish(), expected);
    }
}
