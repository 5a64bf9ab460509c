//! What does the field `Authorization` offer? A token: by itself (Bearer, RFC 6750), or as the password of a
//! user of any name (Basic, RFC 7617), which browsers ask for and `curl -u :TOKEN` sends.

use crate::b64::{Decoder, decoded_room};

/// The bytes that are offered as a token; `None`: the field has another form, so nothing is offered.
///
/// ```text
/// Authorization = "Bearer" 1*SP token / "Basic" 1*SP base64( user ":" token )
/// ```
pub fn offered(field: &str) -> Option<Vec<u8>> {
    let (scheme, rest) = field.split_once(' ')?;
    let rest = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("Bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    // The limit of a request's head bounds it.
    let mut bytes = vec![0; decoded_room(rest.len())];
    let mut decoder = Decoder::new();
    let step = decoder.decode(rest.as_bytes(), &mut bytes);
    let last = decoder.finish(&mut bytes[step.wrote..]).ok()?;
    bytes.truncate(step.wrote + last);
    let colon = bytes.iter().position(|&byte| byte == b':')?;
    (step.read == rest.len()).then(|| bytes.split_off(colon + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schemes_offer_a_token_and_others_offer_none() {
        for (field, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc=", Some("abc=")),
            ("Bearer ", Some("")),
            // The example of RFC 7617, section 2.
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("open sesame")),
            ("BASIC OmE6Yg==", Some("a:b")),
            ("Basic Og", Some("")),
            ("Basic YQ==", None),
            ("Basic Og=!", None),
            ("Basic", None),
            ("Digest abc", None),
            ("", None),
        ] {
            assert_eq!(
                offered(field),
                token.map(|text| text.as_bytes().to_vec()),
                "{field}"
            );
        }
    }
}
