//! The search among decisions. It is the only thing of the page that needs a script: without one it is not shown, and all
//! decisions are listed.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::format::thousands;
use crate::DecisionView;

/// What runs in the page.
const SCRIPT: &str = include_str!("find.js");

/// Fewer than this are seen at once.
const WORTH: usize = 6;

/// What the page may do: show its own style and pictures, and run this one script, which a browser knows by its digest. A
/// name that became a script would not run.
pub(super) fn security_policy() -> String {
    let digest = base64(&Sha256::digest(SCRIPT));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; base-uri 'none'; \
         form-action 'none'"
    )
}

/// Where to type, hidden until the script shows it.
pub(super) fn field(decisions: &[DecisionView]) -> Markup {
    let mut areas: BTreeMap<&str, u64> = BTreeMap::new();
    for decision in decisions {
        *areas.entry(area(&decision.code)).or_default() += 1;
    }
    html! {
        @if is_worth(decisions) {
            form #find role="search" hidden {
                label for="find-words" { "Find" }
                input #find-words type="search" name="words" autocomplete="off" autocapitalize="none" spellcheck="false"
                    placeholder="words, a lane, a code, a time";
                label.unseen for="find-area" { "Of which kind" }
                select #find-area name="area" {
                    option value="" { "all kinds" }
                    @for (area, n) in &areas { option value=(area) { (area) " (" (thousands(*n)) ")" } }
                }
                output for="find-words find-area" {}
            }
        }
    }
}

/// The script, after what it works on.
pub(super) fn script(decisions: &[DecisionView]) -> Markup {
    html! { @if is_worth(decisions) { script { (PreEscaped(SCRIPT)) } } }
}

const fn is_worth(decisions: &[DecisionView]) -> bool {
    decisions.len() >= WORTH
}

/// What a code is about: `batch` of `batch.promoted`.
fn area(code: &str) -> &str {
    code.split('.').next().unwrap_or_default()
}

/// RFC 4648, section 4, as the security policy wants its digests.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let six = usize::try_from(word >> (18 - 6 * place) & 63).unwrap_or(0);
            out.push(if place <= three.len() {
                char::from(ALPHABET[six])
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::*;
    use crate::report::{PageOptions, page};

    #[test]
    fn digests_are_written_as_the_standard_says() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("\u{3ff}\u{3ff}", "z7/Pvw=="),
        ];
        for (plain, wanted) in vectors {
            assert_eq!(base64(plain.as_bytes()), wanted, "{plain:?}");
        }
    }

    #[test]
    fn the_script_stands_in_the_page_as_its_digest_says() {
        let mut summary = sample();
        summary.decisions = vec![summary.decisions[0].clone(); WORTH];
        let html = page(&summary, &PageOptions::new());
        let inside = html
            .split("<script>")
            .nth(1)
            .and_then(|rest| rest.split("</script>").next());
        assert_eq!(inside, Some(SCRIPT));
        assert!(
            html.contains(&base64(&Sha256::digest(SCRIPT))),
            "a browser would refuse it"
        );
        assert!(!SCRIPT.contains("</"), "it would end itself");
        assert!(
            html.contains("<form id=\"find\" role=\"search\" hidden>"),
            "without a script it must not be seen"
        );
        assert!(html.contains("<option value=\"batch\">batch (6)</option>"));
    }

    #[test]
    fn what_is_seen_at_once_needs_no_search() {
        let html = page(&sample(), &PageOptions::new());
        assert!(!html.contains("<script") && !html.contains("<form"));
    }
}
