use super::*;

fn proxies(header: Trusted) -> Proxies {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
    Proxies::new(&trusted, header)
}

fn client(header: Trusted, peer: &str, lines: &[&str]) -> Result<String, Malformed> {
    let name = match header {
        Trusted::XForwardedFor => "x-forwarded-for",
        Trusted::Forwarded => "forwarded",
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let line = HeaderValue::from_bytes(line.as_bytes()).expect(line);
        headers.append(name, line);
    }
    let client = proxies(header).client(peer.parse().unwrap(), &headers)?;
    Ok(client.to_string())
}

/// Each as it came from the proxy 10.0.0.1.
#[test]
fn the_right_most_address_that_is_no_proxy_asks() {
    for (lines, expected) in [
        (&[][..], "10.0.0.1"),
        (&[""], "10.0.0.1"),
        (&[" , ,"], "10.0.0.1"),
        (&["192.0.2.1"], "192.0.2.1"),
        (&["192.0.2.1:4711"], "192.0.2.1"),
        (&[" \t192.0.2.1 ,10.0.0.2 "], "192.0.2.1"),
        (&["2001:db8::1"], "2001:db8::1"),
        (&["[2001:db8::1]"], "2001:db8::1"),
        (&["[2001:db8::1]:443"], "2001:db8::1"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        (&["::ffff:10.9.9.9"], "10.9.9.9"),
        (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (&["192.0.2.1, fd00::7"], "192.0.2.1"),
        (&["unknown"], "10.0.0.1"),
        (&["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
        (&["_hidden"], "10.0.0.1"),
        // What a client wrote itself is not believed, and not even read.
        (&["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
        (&["10.0.0.9, 192.0.2.1"], "192.0.2.1"),
        (&["rubbish, 1.2.3, \"x, 192.0.2.1"], "192.0.2.1"),
        // Several lines are one list.
        (&["198.51.100.9", "192.0.2.1"], "192.0.2.1"),
        (&["198.51.100.9, 192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        (&["rubbish \u{e9}", "192.0.2.1"], "192.0.2.1"),
    ] {
        let found = client(Trusted::XForwardedFor, "10.0.0.1", lines);
        assert_eq!(found.as_deref(), Ok(expected), "{lines:?}");
    }
}

#[test]
fn rubbish_where_an_address_must_be_is_malformed() {
    let long = "1".repeat(MOST_BYTES + 1);
    let endless = ["10.0.0.2"; MOST_HOPS + 1].join(",");
    for line in [
        "rubbish",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:65536",
        "1.2.3.4:x",
        "[1.2.3.4]",
        "[::1",
        "::1]",
        "[::1]:",
        "[::1]x",
        "[::1]:+1",
        "fe80::1%eth0",
        "0x7f.1",
        "192.0.2.1 10.0.0.2",
        "192.0.2.1;10.0.0.2",
        "192.0.2.1, rubbish",
        "\u{e9}",
        "2130706433",
        &long,
        &endless,
    ] {
        let found = client(Trusted::XForwardedFor, "10.0.0.1", &[line]);
        assert_eq!(found, Err(Malformed("X-Forwarded-For")), "{line}");
    }
}

#[test]
fn who_is_no_trusted_proxy_is_counted_whatever_they_write() {
    for line in ["198.51.100.9", "rubbish", "10.0.0.1"] {
        for header in [Trusted::XForwardedFor, Trusted::Forwarded] {
            let found = client(header, "192.0.2.1", &[line]);
            assert_eq!(found.as_deref(), Ok("192.0.2.1"), "{line}");
        }
    }
    let mapped = client(Trusted::XForwardedFor, "::ffff:10.0.0.1", &["192.0.2.1"]);
    assert_eq!(
        mapped.as_deref(),
        Ok("192.0.2.1"),
        "a trusted proxy, written as IPv6"
    );
}

#[test]
fn only_the_header_that_proxies_write_is_read() {
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
    headers.insert("forwarded", HeaderValue::from_static("for=198.51.100.9"));
    let peer = "10.0.0.1".parse().unwrap();
    let of = |header| proxies(header).client(peer, &headers).unwrap().to_string();
    assert_eq!(of(Trusted::XForwardedFor), "192.0.2.1");
    assert_eq!(of(Trusted::Forwarded), "198.51.100.9");
}

#[test]
fn forwarded_is_read_as_it_is_written() {
    for (lines, expected) in [
        (&["for=192.0.2.1"][..], "192.0.2.1"),
        (&["For=\"192.0.2.1:4711\""], "192.0.2.1"),
        (&["for=\"[2001:db8::1]\""], "2001:db8::1"),
        (
            &["for=\"[2001:db8::1]:4711\";proto=https;by=10.0.0.1"],
            "2001:db8::1",
        ),
        (&["for=[2001:db8::1]:_port"], "2001:db8::1"),
        (&["proto=https;for=192.0.2.1, for=10.0.0.2"], "192.0.2.1"),
        (&["for=198.51.100.9", "for=192.0.2.1"], "192.0.2.1"),
        (&["for=\"1\\92.0.2.1\""], "192.0.2.1"),
        (
            &["host=\"a,b;for=198.51.100.9\";for=192.0.2.1"],
            "192.0.2.1",
        ),
        (&["for=192.0.2.1;by=unknown,, for=10.0.0.2,"], "192.0.2.1"),
        (&["for=unknown"], "10.0.0.1"),
        (&["for=192.0.2.1, for=_secret"], "10.0.0.1"),
        (&["for=192.0.2.1, proto=https"], "10.0.0.1"),
        (&[""], "10.0.0.1"),
    ] {
        let found = client(Trusted::Forwarded, "10.0.0.1", lines);
        assert_eq!(found.as_deref(), Ok(expected), "{lines:?}");
    }
}

#[test]
fn a_line_of_forwarded_that_is_not_right_is_malformed() {
    for line in [
        "for",
        "for=",
        "=192.0.2.1",
        "192.0.2.1",
        "for=rubbish",
        "for=\"192.0.2.1",
        "for=\"192.0.2.1\\",
        "for=\"x, for=192.0.2.1",
        "for=192.0.2.1 for=10.0.0.2",
        "for=192.0.2.1;for=10.0.0.2",
        "for = 192.0.2.1",
        "for=\"192.0.2.1\"x",
        "f\u{e9}r=1",
    ] {
        let found = client(Trusted::Forwarded, "10.0.0.1", &[line]);
        assert_eq!(found, Err(Malformed("Forwarded")), "{line}");
    }
}
