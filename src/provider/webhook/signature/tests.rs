//! Vectors that others publish, and what must be refused.

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &[u8] = br#"{"test": 2432232314}"#;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
    pairs.collect()
}

/// The vector that Svix and Standard Webhooks publish.
fn published(family: [&'static str; 3], signature: &str) -> HeaderMap {
    headers(&[
        (family[0], "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        (family[1], "1614265330"),
        (family[2], signature),
    ])
}

const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn checked(scheme: &Scheme, headers: &HeaderMap, body: &[u8], secret: &str) -> Result<Option<i64>, Refused> {
    let secret = scheme.secret(secret).unwrap();
    let signed = scheme.check(headers, body, &[secret])?;
    Ok(signed.at.map(|at| at.timestamp_millis()))
}

#[test]
fn the_published_vector_is_right_in_both_spellings() {
    for family in STANDARD_HEADERS {
        let right = published(family, SIGNATURE);
        assert_eq!(
            checked(&Scheme::Standard, &right, BODY, SECRET),
            Ok(Some(1_614_265_330_000))
        );
        // Another one beside it, and versions of the scheme that there may be.
        let several = published(
            family,
            &format!("v1a,AAAA v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= {SIGNATURE}"),
        );
        assert!(checked(&Scheme::Standard, &several, BODY, SECRET).is_ok());
    }
}

#[test]
fn whatever_is_changed_is_refused() {
    let family = STANDARD_HEADERS[0];
    let right = published(family, SIGNATURE);
    let wrong = |headers: &HeaderMap, body: &[u8]| checked(&Scheme::Standard, headers, body, SECRET);
    assert_eq!(wrong(&right, br#"{"test": 2432232315}"#), Err(Refused::Signature));
    assert_eq!(wrong(&right, b""), Err(Refused::Signature));
    for (name, value) in [(family[0], "msg_other"), (family[1], "1614265331")] {
        let mut other = right.clone();
        other.insert(HeaderName::from_static(name), value.parse().unwrap());
        assert_eq!(wrong(&other, BODY), Err(Refused::Signature), "{name}");
    }
    let other = checked(&Scheme::Standard, &right, BODY, "whsec_AAAA");
    assert_eq!(other, Err(Refused::Signature));
}

#[test]
fn what_has_no_signature_of_this_form_is_unsigned() {
    let family = STANDARD_HEADERS[0];
    for signature in ["", "v1", "v1,", "v1,=", "v2,AAAA", "g0hM9SsE", "v1, "] {
        let found = checked(&Scheme::Standard, &published(family, signature), BODY, SECRET);
        assert!(found.is_err(), "{signature}");
    }
    let mut twice = published(family, SIGNATURE);
    twice.append(HeaderName::from_static(family[2]), SIGNATURE.parse().unwrap());
    assert_eq!(
        checked(&Scheme::Standard, &twice, BODY, SECRET),
        Err(Refused::Unsigned)
    );
    for at in ["", "soon", "99999999999999999999", "-1", "1.5"] {
        let mut odd = published(family, SIGNATURE);
        odd.insert(HeaderName::from_static(family[1]), at.parse().unwrap());
        assert!(checked(&Scheme::Standard, &odd, BODY, SECRET).is_err(), "{at}");
    }
    assert_eq!(
        checked(&Scheme::Standard, &HeaderMap::new(), BODY, SECRET),
        Err(Refused::Unsigned)
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(secret: &str, signed: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.chain_update(signed).finalize().into_bytes().to_vec()
}

#[test]
fn a_time_may_count_seconds_or_milliseconds() {
    let scheme = Scheme::Timed {
        header: HeaderName::from_static("workos-signature"),
    };
    for (at, millis) in [
        ("1614265330123", 1_614_265_330_123),
        ("1614265330", 1_614_265_330_000),
    ] {
        let signature = hex(&mac("wh_secret", format!("{at}.{{}}").as_bytes()));
        let shown = format!("t={at}, v1={signature}");
        let headers = headers(&[("workos-signature", &shown)]);
        assert_eq!(checked(&scheme, &headers, b"{}", "wh_secret"), Ok(Some(millis)));
        assert_eq!(
            checked(&scheme, &headers, b"{ }", "wh_secret"),
            Err(Refused::Signature)
        );
    }
    let odd = [
        "",
        "t=1614265330",
        "v1=00",
        "t=x,v1=00",
        "t=1614265330,v1=0g",
        "t=1614265330,v1=000",
    ];
    for shown in odd {
        let headers = headers(&[("workos-signature", shown)]);
        assert_eq!(
            checked(&scheme, &headers, b"{}", "wh_secret"),
            Err(Refused::Unsigned),
            "{shown}"
        );
    }
}

#[test]
fn a_plain_one_is_over_the_body_alone() {
    let right = mac("secret", b"{}");
    for (encoding, prefix, shown) in [
        (Encoding::Hex, None, hex(&right)),
        (Encoding::Hex, None, hex(&right).to_uppercase()),
        (Encoding::Hex, Some("sha256="), format!("sha256={}", hex(&right))),
        (Encoding::Base64, None, STANDARD.encode(&right)),
    ] {
        let scheme = Scheme::Plain {
            header: HeaderName::from_static("x-signature"),
            encoding,
            prefix: prefix.map(str::to_owned),
        };
        let headers = headers(&[("x-signature", &shown)]);
        assert_eq!(checked(&scheme, &headers, b"{}", "secret"), Ok(None));
        assert_eq!(
            checked(&scheme, &headers, b"{}", "other"),
            Err(Refused::Signature)
        );
    }
}

#[test]
fn a_secret_is_never_shown() {
    let secret = Scheme::Standard.secret(SECRET).unwrap();
    assert_eq!(format!("{secret:?}"), "SigningSecret");
    for wrong in ["", "whsec_", "whsec_not base64", "whsec"] {
        let told = Scheme::Standard.secret(wrong).unwrap_err();
        assert!(told.contains("whsec_…"), "{told}");
    }
}
