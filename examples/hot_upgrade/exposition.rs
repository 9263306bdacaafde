//! Prometheus' text format, as much of it as counters and histograms need.

/// One sample: `name{label="value",…} number`.
#[derive(Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    labels: &'a str,
    value: &'a str,
}

impl<'a> Sample<'a> {
    /// The value of a counter; `None` if it is no whole number.
    pub(crate) fn count(&self) -> Option<u64> {
        self.value.parse().ok()
    }

    /// The value of a label. Values with quotes in them are not among those that are asked for here.
    pub(crate) fn label(&self, key: &str) -> Option<&'a str> {
        let mut rest = self.labels;
        while let Some((name, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            if name.trim_start_matches([',', ' ']) == key {
                return Some(value);
            }
            rest = after;
        }
        None
    }
}

/// The samples of a page; comments and what is no sample are passed over.
pub(crate) fn samples(page: &str) -> impl Iterator<Item = Sample<'_>> {
    page.lines().filter_map(|line| {
        if line.starts_with('#') {
            return None;
        }
        let (head, value) = match line.split_once('}') {
            Some((head, value)) => (head, value),
            None => line.split_once(' ')?,
        };
        let (name, labels) = head.split_once('{').unwrap_or((head, ""));
        let value = value.split_whitespace().next()?;
        Some(Sample { name, labels, value })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_buckets_are_read_and_comments_are_not() {
        let page =
            "# HELP a b\na_total{class=\"own\",protocol=\"http\"} 3\nb 4.5 1700000000\nh_bucket{le=\"+Inf\"} 7\nodd\n";
        let all: Vec<_> = samples(page).collect();
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].name, all[0].label("protocol")), ("a_total", Some("http")));
        assert_eq!((all[0].count(), all[1].count()), (Some(3), None));
        assert_eq!((all[1].name, all[1].label("class")), ("b", None));
        assert_eq!(all[2].label("le"), Some("+Inf"));
    }
}
