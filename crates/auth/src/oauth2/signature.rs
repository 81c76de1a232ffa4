//! A token's form, and its signature (RFC 7515, in its compact form).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};
use thiserror::Error;

/// Longest token, in bytes.
pub(crate) const TOKEN_MAX: usize = 64 * 1024;

/// A token whose signature has not been looked at.
#[derive(Debug)]
pub(super) struct Token<'a> {
    /// Its key's name.
    pub(super) key: Option<String>,
    pub(super) claims: Map<String, Value>,
    algorithm: String,
    signed: &'a str,
    signature: Vec<u8>,
}

/// A key that signatures are verified by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// As in PKCS#1.
    RsaDer(Vec<u8>),
    /// An uncompressed point, as the others.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why a token is none, or not to be trusted.
#[derive(Debug, Error)]
pub(crate) enum Unsound {
    #[error("it is no token")]
    Malformed,
    #[error("its algorithm is not one that is taken")]
    Algorithm,
    #[error("its algorithm is not that of its key")]
    OtherKey,
    #[error("its signature is wrong")]
    Signature,
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Unsound> {
        if text.len() > TOKEN_MAX {
            return Err(Unsound::Malformed);
        }
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Unsound::Malformed);
        let object = |part: &str| match serde_json::from_slice(&decoded(part)?) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(Unsound::Malformed),
        };
        let (signed, signature) = text.rsplit_once('.').ok_or(Unsound::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Unsound::Malformed)?;
        let header = object(header)?;
        // What has to be understood, and is not (RFC 7515, 4.1.11).
        if header.contains_key("crit") {
            return Err(Unsound::Malformed);
        }
        let text = |name: &str| header.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            key: text("kid"),
            algorithm: text("alg").ok_or(Unsound::Malformed)?,
            claims: object(claims)?,
            signed,
            signature: decoded(signature)?,
        })
    }

    /// Checks the signature. The key decides which algorithms it is for, so that a token can't choose
    /// a weaker one, let alone none.
    pub(super) fn verify(&self, key: &Key, allowed: &[String]) -> Result<(), Unsound> {
        if !allowed.is_empty() && !allowed.contains(&self.algorithm) {
            return Err(Unsound::Algorithm);
        }
        let signed = self.signed.as_bytes();
        let verified = match key {
            Key::Rsa { n, e } => {
                let parameters = self.rsa().ok_or(Unsound::OtherKey)?;
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, &self.signature)
            }
            Key::RsaDer(der) => self.check(self.rsa().ok_or(Unsound::OtherKey)?, der),
            Key::P256(point) if self.algorithm == "ES256" => {
                self.check(&ECDSA_P256_SHA256_FIXED, point)
            }
            Key::P384(point) if self.algorithm == "ES384" => {
                self.check(&ECDSA_P384_SHA384_FIXED, point)
            }
            Key::Ed25519(key) if ["EdDSA", "Ed25519"].contains(&&*self.algorithm) => {
                self.check(&ED25519, key)
            }
            Key::P256(_) | Key::P384(_) | Key::Ed25519(_) => return Err(Unsound::OtherKey),
        };
        verified.map_err(|_| Unsound::Signature)
    }

    fn check(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        key: &[u8],
    ) -> Result<(), ring::error::Unspecified> {
        UnparsedPublicKey::new(algorithm, key).verify(self.signed.as_bytes(), &self.signature)
    }

    fn rsa(&self) -> Option<&'static RsaParameters> {
        Some(match self.algorithm.as_str() {
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            "RS384" => &RSA_PKCS1_2048_8192_SHA384,
            "RS512" => &RSA_PKCS1_2048_8192_SHA512,
            "PS256" => &RSA_PSS_2048_8192_SHA256,
            "PS384" => &RSA_PSS_2048_8192_SHA384,
            "PS512" => &RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;

    fn encode(value: &str) -> String {
        URL_SAFE_NO_PAD.encode(value)
    }

    fn signed(header: &str) -> (String, Key) {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pair.as_ref(), &random).unwrap();
        let text = format!("{}.{}", encode(header), encode(r#"{"sub":"anna"}"#));
        let signature = pair.sign(&random, text.as_bytes()).unwrap();
        let signature = URL_SAFE_NO_PAD.encode(signature);
        (format!("{text}.{signature}"), Key::P256(pair.public_key().as_ref().to_vec()))
    }

    #[test]
    fn a_good_signature_is_good_and_others_are_not() {
        let (text, key) = signed(r#"{"alg":"ES256","kid":"k"}"#);
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.key.as_deref(), Some("k"));
        assert_eq!(token.claims["sub"], "anna");
        assert!(token.verify(&key, &[]).is_ok());
        assert!(token.verify(&key, &["ES256".to_owned()]).is_ok());
        assert!(matches!(token.verify(&key, &["RS256".to_owned()]), Err(Unsound::Algorithm)));
        let (_, other) = signed(r#"{"alg":"ES256"}"#);
        assert!(matches!(token.verify(&other, &[]), Err(Unsound::Signature)));
        let changed = text.replace(&encode(r#"{"sub":"anna"}"#), &encode(r#"{"sub":"bert"}"#));
        let token = Token::parse(&changed).unwrap();
        assert!(matches!(token.verify(&key, &[]), Err(Unsound::Signature)));
    }

    #[test]
    fn the_key_decides_what_it_is_for() {
        for algorithm in ["none", "HS256", "RS256", "ES384", "EdDSA", "es256", ""] {
            let (text, key) = signed(&format!(r#"{{"alg":"{algorithm}"}}"#));
            let token = Token::parse(&text).unwrap();
            assert!(matches!(token.verify(&key, &[]), Err(Unsound::OtherKey)), "{algorithm}");
            let rsa = Key::Rsa { n: vec![1; 256], e: vec![1, 0, 1] };
            assert!(token.verify(&rsa, &[]).is_err(), "{algorithm}");
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        let header = encode(r#"{"alg":"ES256"}"#);
        let critical =
            format!("{}.{}.{}", encode(r#"{"alg":"ES256","crit":["b64"]}"#), encode("{}"), "AA");
        let list = format!("{header}.{}.AA", encode("[]"));
        let no_algorithm = format!("{}.{}.AA", encode("{}"), encode("{}"));
        let long = format!("{header}.{}.AA", encode(&"x".repeat(TOKEN_MAX)));
        for text in ["", ".", "..", "a.b", "a.b.c", "!.!.!", &critical, &list, &no_algorithm, &long]
        {
            assert!(matches!(Token::parse(text), Err(Unsound::Malformed)), "{text}");
        }
    }
}
