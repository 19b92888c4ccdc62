use super::{Application, Sample, Verdict, tcp, udp};

fn sample(payload: &[u8], port: u16) -> Sample<'_> {
    Sample {
        payload,
        source_port: 40_000,
        destination_port: port,
    }
}

fn over_tcp(payload: &[u8]) -> &'static str {
    name(tcp(&sample(payload, 9)))
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Is(application) => application.name(),
        Verdict::More => "more",
        Verdict::No => "no",
    }
}

#[test]
fn first_bytes_over_tcp() {
    let cases: &[(&[u8], &str)] = &[
        (b"GET / HTTP/1.1\r\n", "http"),
        (b"GET /a", "http"),
        (b"FOO bar HTTP/1.0\r\n", "http"),
        (b"HTTP/1.1 200 OK\r\n", "http"),
        (b"GE", "more"),
        (b"OPTIONS * RTSP/1.0\r\n", "rtsp"),
        (b"OPTIONS sip:a@b SIP/2.0\r\n", "sip"),
        (b"PRI * HTTP/2.0\r\n\r\nSM", "http2"),
        (b"SSH-2.0-x\r\n", "ssh"),
        (b"220 mail ESMTP\r\n", "smtp"),
        (b"220 (vsFTPd 3.0)\r\n", "ftp"),
        (b"220 hello\r\n", "no"),
        (b"USER joe\r\n", "ftp"),
        (b"USER a b c :real\r\n", "irc"),
        (b"+OK ready\r\n", "pop3"),
        (b"* OK IMAP4\r\n", "imap"),
        (b"\x16\x03\x01\x02\x00\x01", "ssl"),
        (b"\x16\x03", "more"),
        (b"\x00\x00\x00\x55\xffSMBr", "smb"),
        (b"*1\r\n$4\r\nPING\r\n", "redis"),
        (b"\x10\x10\0\x04MQTT\x04", "mqtt"),
        (b"J\0\0\0\x0a8.0.1\0", "mysql"),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", "postgresql"),
        (
            b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0",
            "ldap_tcp",
        ),
        (b"\xff\xfb\x01", "telnet"),
        (
            b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01",
            "dns",
        ),
        (b"\xde\xad\xbe\xef", "no"),
    ];
    for (payload, expected) in cases {
        assert_eq!(over_tcp(payload), *expected, "{}", payload.escape_ascii());
    }
}

#[test]
fn datagrams() {
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x01a\0\0\x01\0\x01";
    assert_eq!(name(udp(&sample(query, 53))), "dns");
    assert_eq!(name(udp(&sample(&query[..20], 53))), "no");
    let mut ntp = [0; 48];
    ntp[0] = 0x23;
    assert_eq!(name(udp(&sample(&ntp, 123))), "ntp");
    assert_eq!(name(udp(&sample(&ntp, 9))), "no");
    let snmp = b"\x30\x29\x02\x01\x01\x04\x06public\xa0\x1c";
    assert_eq!(name(udp(&sample(snmp, 161))), "snmp");
    let quic = [&[0xc3, 0, 0, 0, 1, 8][..], &[7; 60]].concat();
    assert_eq!(name(udp(&sample(&quic, 443))), "quic");
    assert_eq!(name(udp(&sample(b"\0\x01file\0OCTET\0", 69))), "tftp");
}

#[test]
fn names_are_unique() {
    for (place, one) in Application::ALL.iter().enumerate() {
        assert!(
            Application::ALL[..place]
                .iter()
                .all(|other| other.name() != one.name())
        );
        assert!(!one.name().is_empty());
    }
}

#[test]
fn every_byte_string_has_a_verdict() {
    let seed = 0x5eed_0003_u64;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut next = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..50_000 {
        let bytes: Vec<u8> = (0..next(40))
            .map(|_| u8::try_from(next(256)).unwrap())
            .collect();
        let port = u16::try_from(next(600)).unwrap();
        let _ = tcp(&sample(&bytes, port));
        let _ = udp(&sample(&bytes, port));
    }
}
