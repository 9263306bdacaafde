//! What is kept elsewhere, so that nobody can rewrite a chain or cut off its end.

use serde::{Deserialize, Serialize};

use super::hash::{Hash, unhex};
use crate::digest::hex;

/// The end of a chain at some moment. Whoever keeps a head elsewhere can tell later whether the chain up to there is
/// the one it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the statement that is signed names exactly these"
)]
pub struct Head {
    /// The name of the chain, from its first record.
    pub log: String,
    /// The number of its last record.
    pub seq: u64,
    /// The hash of that record.
    pub hash: Hash,
}

impl Head {
    /// What a signature stands for: these bytes, UTF-8 text of four lines, each ended by a line break.
    ///
    /// ```text
    /// unattended-defense audit head 1
    /// <name of the chain, as a JSON string>
    /// <number of the record>
    /// <hash of the record>
    /// ```
    #[must_use]
    pub fn statement(&self) -> String {
        // A name with a line break in it must not look like two lines.
        let log = serde_json::Value::from(self.log.as_str());
        format!("unattended-defense audit head 1\n{log}\n{}\n{}\n", self.seq, self.hash)
    }
}

/// Signs heads. The keys and the algorithm are the caller's: a key service, a hardware token, `ssh-keygen -Y sign`.
pub trait Signer {
    /// Why it could not sign.
    type Error;

    /// The name under which a [`Verifier`] finds the public key.
    fn key(&self) -> &str;

    /// The signature of these bytes.
    ///
    /// # Errors
    /// When there is none to be had; the anchor is not made then.
    fn sign(&self, statement: &[u8]) -> Result<Vec<u8>, Self::Error>;
}

/// Checks signatures of heads.
pub trait Verifier {
    /// Whether `signature` of `statement` was made with the key of that name. A key it does not know is `false`.
    fn verify(&self, key: &str, statement: &[u8], signature: &[u8]) -> bool;
}

/// A signature as it stands in an anchor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Signature {
    /// The name of the key.
    pub key: String,
    /// The signature in lower-case hexadecimal digits.
    pub hex: String,
}

/// A head to keep elsewhere: one line of JSON in another place, where who writes the chain cannot write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Anchor {
    /// What is anchored.
    pub head: Head,
    /// Who vouches for it; without, the place where it is kept does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signature: Option<Signature>,
}

impl Anchor {
    /// An anchor that is trusted for where it is kept.
    #[must_use]
    pub const fn of(head: Head) -> Self {
        Self { head, signature: None }
    }

    /// An anchor that is trusted for its signature.
    ///
    /// # Errors
    /// The signer's.
    pub fn signed<S: Signer>(head: Head, signer: &S) -> Result<Self, S::Error> {
        let hex = hex(&signer.sign(head.statement().as_bytes())?);
        let key = signer.key().to_owned();
        Ok(Self {
            head,
            signature: Some(Signature { key, hex }),
        })
    }

    /// Whether the anchor carries a signature that holds.
    pub fn verified_by(&self, verifier: &dyn Verifier) -> bool {
        self.signature.as_ref().is_some_and(|Signature { key, hex }| {
            unhex(hex).is_some_and(|bytes| verifier.verify(key, self.head.statement().as_bytes(), &bytes))
        })
    }

    /// The anchor as one line of JSON, without the line break.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads one line: an anchor, or a head alone, which is trusted for where it is kept.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let anchor: Result<Self, _> = serde_json::from_str(line);
        anchor.or_else(|wrong| {
            let head: Result<Head, _> = serde_json::from_str(line);
            head.map(Self::of).map_err(|_| wrong.to_string())
        })
    }
}
