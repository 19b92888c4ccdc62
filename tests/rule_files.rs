//! Rule files from the outside: published ones load, broken ones are explained, and nothing
//! crashes.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::path::{Path, PathBuf};
use wirelynx::diagnostic::Diagnostic;
use wirelynx::dissect::Protocol;
use wirelynx::expr::Mode;
use wirelynx::expr::functions::lists::Lists;
use wirelynx::rules::load::{self, FileResult};
use wirelynx::rules::property::Node;

/// Rules about protocols that this program does not read: what their first finding names.
const UNREADABLE: [(u32, &str); 5] = [
    (78, "`int.packet_count`"),
    (90, "`nas_5g.security_type`"),
    (91, "`ngap.procedure_code`"),
    (92, "`sctp_data.data_ppid`"),
    (94, "`ngap.procedure_code`"),
];

fn published() -> Option<Vec<PathBuf>> {
    let folder = common::captures()?.join("mmt-security/rules");
    let files = load::collect(&[folder.display().to_string()]);
    assert_eq!(files.len(), 33, "published rule files");
    Some(files)
}

/// The number that a published file starts with is the id of its rule.
fn id_of(file: &Path) -> u32 {
    let name = file.file_name().unwrap().to_string_lossy();
    name.split('.').next().unwrap().parse().unwrap()
}

fn errors(result: &FileResult) -> Vec<&Diagnostic> {
    result.diagnostics.iter().filter(|d| d.is_error()).collect()
}

/// Protocols of published rules that may come later than this test.
fn waits_for(id: u32) -> Option<&'static str> {
    let name = match id {
        15 | 34 => "http",
        48 => "ftp",
        18 => "gre",
        4 | 5 => "arp",
        _ => return None,
    };
    Protocol::from_name(name).is_none().then_some(name)
}

#[test]
fn published_rules_load_as_they_are() {
    let Some(files) = published() else { return };
    let mut loaded = Vec::new();
    for file in &files {
        let id = id_of(file);
        if let Some(name) = waits_for(id) {
            eprintln!("NOT RUN: rule {id} waits for protocol {name}");
            continue;
        }
        let result = load::read_file(file, Mode::Compat);
        if let Some((_, name)) = UNREADABLE.iter().find(|(other, _)| *other == id) {
            let errors = errors(&result);
            assert!(result.properties.is_empty(), "{file:?}");
            assert!(errors[0].message.contains(name), "{}", errors[0]);
            assert!(errors.iter().all(|e| e.message.starts_with("unknown")));
            continue;
        }
        assert!(errors(&result).is_empty(), "{}", errors(&result)[0]);
        assert_eq!(result.properties.len(), 1, "{file:?}");
        assert_eq!(result.properties[0].id, id);
        loaded.push(id);
    }
    assert!(loaded.len() >= 22, "{loaded:?}");
    assert_eq!(loaded[..2], [1, 11], "byte order of file names");
}

#[test]
fn published_rules_load_in_standard_mode_but_for_one() {
    let Some(files) = published() else { return };
    for file in &files {
        let id = id_of(file);
        let is_unreadable = UNREADABLE.iter().any(|(other, _)| *other == id);
        if is_unreadable || waits_for(id).is_some() {
            continue;
        }
        let result = load::read_file(file, Mode::Standard);
        let errors = errors(&result);
        if id == 8 {
            assert_eq!(errors.len(), 1);
            assert_eq!(errors[0].message, "`+` and `==` stand on one level");
            let help = "write (ip.ip_frag_packets_count == (ip.ip_frag_packets_count.1 + 1))";
            assert_eq!(errors[0].help, help);
            continue;
        }
        assert!(errors.is_empty(), "{}", errors[0]);
        assert_eq!(result.properties.len(), 1, "{file:?}");
        if id == 11 {
            assert_eq!(result.diagnostics.len(), 1);
            assert!(result.diagnostics[0].message.contains("missing"));
        }
    }
}

/// Beginnings and ends of warnings about what a sound rule cannot mean.
const DOUBTS: [(&str, &str); 8] = [
    ("event", "before event"),
    ("`", "never hold together"),
    ("`", "never holds"),
    ("no equality", "before it"),
    ("for either", ""),
    ("no packet", ""),
    ("", "this window ends after"),
    ("this asks for one packet", ""),
];

#[test]
fn published_and_own_rules_raise_no_doubt() {
    let mut files = load::collect(&["rules".to_owned()]);
    assert!(files.len() >= 4);
    files.extend(published().unwrap_or_default());
    for file in &files {
        for mode in [Mode::Standard, Mode::Compat] {
            for found in load::read_file(file, mode).diagnostics {
                let is_doubt = |(start, end): &(&str, &str)| {
                    found.message.starts_with(start) && found.message.contains(end)
                };
                assert!(!DOUBTS.iter().any(is_doubt), "{found}");
            }
        }
    }
}

#[test]
fn a_published_tree_is_read_whole() {
    let Some(files) = published() else { return };
    let file = files.iter().find(|file| id_of(file) == 1).unwrap();
    let result = load::read_file(file, Mode::Compat);
    let property = &result.properties[0];
    assert_eq!((property.line, property.events.len()), (3, 4));
    let Node::Operator(root) = &property.root else {
        panic!("no operator");
    };
    assert_eq!((root.window.min_us, root.window.max_us), (1, 5_000_000));
    assert!(!root.window.immediate);
    let Node::Operator(right) = &root.right else {
        panic!("no operator");
    };
    assert_eq!(right.window.max_us, 3_000_000);
    assert!(matches!(right.left, Node::Event(3)));
}

/// The functions of published rules find their lists beside the rule file or in `rules/lists`.
#[test]
fn published_functions_find_their_lists() {
    let rule = |id: u32, condition: &str| {
        format!(
            "<beginning><property property_id=\"{id}\" value=\"THEN\">\
             <event boolean_expression=\"{condition}\"/>\
             <event boolean_expression=\"(ip.src != ip.dst)\"/></property></beginning>"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lists")).unwrap();
    std::fs::write(folder.path().join("lists/mine.txt"), "10.0.0.0/8\n").unwrap();
    for (id, condition) in [
        (32, "(#em_check_botnetcc(ip.src, ip.dst) == true)"),
        (39, "(#em_check_tor_ip(ip.src, ip.dst) == true)"),
        (40, "(#in_list(ip.src, 'tor-ipv4') == true)"),
        (41, "(#in_list(ip.src, 'mine') == true)"),
    ] {
        let file = folder.path().join(format!("{id}.xml"));
        std::fs::write(&file, rule(id, condition)).unwrap();
        for mode in [Mode::Standard, Mode::Compat] {
            let result = load::read_file(&file, mode);
            assert!(result.diagnostics.is_empty(), "{}", result.diagnostics[0]);
            assert_eq!(result.properties.len(), 1);
        }
    }
    let paths = [folder.path().display().to_string()];
    assert_eq!(load::read(&paths, Mode::Standard).properties.len(), 4);
    let twice = [paths[0].clone(), paths[0].clone()];
    let loaded = load::read(&twice, Mode::Standard);
    assert_eq!((loaded.properties.len(), loaded.files), (4, 8));
    assert_eq!((loaded.errors(), loaded.warnings()), (0, 4));
}

/// `tests/golden/rules-check/NAME.xml` gives `NAME.MODE.txt`. With `WIRELYNX_BLESS` set, the texts
/// are written instead of compared: look at the difference before you keep it.
#[test]
fn findings_are_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rules-check");
    let files = load::collect(&[folder.display().to_string()]);
    assert_eq!(files.len(), 4);
    let lists = Lists::new(vec![PathBuf::from("rules/lists")]);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for (mode, word) in [(Mode::Standard, "standard"), (Mode::Compat, "compat")] {
            let result = load::read_bytes(&name, &bytes, mode, &lists);
            let is_sound = name == "warnings.xml";
            assert_eq!(result.has_errors(), !is_sound, "{name}");
            assert_eq!(result.properties.is_empty(), !is_sound, "{name}");
            let found: Vec<String> = result.diagnostics.iter().map(|d| d.render(false)).collect();
            let found = found.join("\n");
            let recorded = file.with_extension(format!("{word}.txt"));
            if std::env::var_os("WIRELYNX_BLESS").is_some() {
                std::fs::write(&recorded, &found).unwrap();
            }
            let expected = std::fs::read_to_string(&recorded).unwrap();
            assert!(found == expected, "{recorded:?} has changed:\n{found}");
        }
    }
}

/// A folder's own files come first, in byte order, then those of the folders in it; a link that
/// leads back into the folder is not followed.
#[test]
fn folders_are_read_with_those_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for file in [
        "b/2.xml",
        "b/c/1.xml",
        "a/9.xml",
        "10.xml",
        "9.xml",
        "a/notes.txt",
    ] {
        let file = root.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "<beginning></beginning>").unwrap();
    }
    std::os::unix::fs::symlink(root, root.join("a/around")).unwrap();
    let found = load::collect(&[root.display().to_string()]);
    let names: Vec<_> = found
        .iter()
        .map(|file| file.strip_prefix(root).unwrap())
        .collect();
    let expected = ["10.xml", "9.xml", "a/9.xml", "b/2.xml", "b/c/1.xml"];
    assert_eq!(names, expected.map(Path::new));
}

/// Files that are as large as allowed and as bad as possible are told off in little time.
#[test]
fn hostile_files_take_little_time() {
    let files: Vec<String> = hostile_files().into_iter().chain(costly_files()).collect();
    let lists = Lists::default();
    for (number, text) in files.iter().enumerate() {
        let started = std::time::Instant::now();
        let result = load::read_bytes("hostile.xml", text.as_bytes(), Mode::Standard, &lists);
        assert!(!result.diagnostics.is_empty(), "file {number}");
        assert!(result.diagnostics.len() <= 1_001, "file {number}");
        let elapsed = started.elapsed();
        println!(
            "file {number}: {elapsed:?}, {} findings",
            result.diagnostics.len()
        );
        assert!(
            elapsed < std::time::Duration::from_secs(10),
            "file {number}"
        );
    }
}

/// Files that ask for much work in few words.
fn costly_files() -> [String; 3] {
    let numbered = |event: fn(usize) -> String| {
        let property = |number| {
            let event = event(number);
            format!("<property property_id='{}'>{event}</property>", number + 1)
        };
        let properties: String = (0..20_000).map(property).collect();
        format!("<beginning>{properties}</beginning>")
    };
    let repeat = "repeat_times='60' delay_max='1' property_id='1'";
    let event = |condition: &str| format!("<event boolean_expression='{condition}'/>");
    let repeated = |condition: &str, count| {
        let property = format!("<property {repeat}>{}</property>", event(condition));
        format!("<beginning>{}</beginning>", property.repeat(count))
    };
    let long = format!("{}true", "(udp.len != 5) &amp;&amp; ".repeat(2_300));
    [
        numbered(|number| {
            let pattern = format!("{number}.{{200}}b");
            format!("<event boolean_expression=\"#regex(tcp.p_payload, '{pattern}')\"/>")
        }),
        repeated("(tcp.fin == tcp.fin)", 35_000),
        repeated(&long, 65),
    ]
}

/// Files that are as large as allowed and as bad as possible.
fn hostile_files() -> Vec<String> {
    const SIZE: usize = 4 << 20;
    let fill = |before: &str, piece: &str, after: &str| {
        let room = SIZE - before.len() - after.len();
        format!("{before}{}{after}", piece.repeat(room / piece.len()))
    };
    let event = "<event boolean_expression=\"(xyzzy.a==1)&amp;&amp;(ip.abcdef==2)\"/>";
    let property = format!("<property property_id=\"x\" value=\"THEN\">{event}{event}</property>");
    let long = |piece: &str| {
        let all = piece.repeat((60 << 10) / piece.len());
        format!("<event boolean_expression=\"({all}(ip.src == ip.src.1))\"/>")
    };
    let many = |event: String| {
        let property = format!("<property property_id='1'>{event}</property>");
        fill("<beginning>", &property, "</beginning>")
    };
    vec![
        many(long("(udp.len != 5) &amp;&amp; ")),
        many(long("(udp.len != udp.len.1) &amp;&amp; ")),
        many(long("(udp.len == 5) || ")),
        many(long("(udp.len == 5) || (tcp.fin == 1) || ")),
        fill("", "<", ""),
        fill("", "<a", ""),
        fill("<a ", "b='' ", "/>"),
        fill("", "<property '", ""),
        fill("", "</a>", ""),
        fill("<a b='", "&", "'/>"),
        fill("<beginning>", "<property/>", "</beginning>"),
        fill("<beginning>", &property, "</beginning>"),
        fill(
            "<beginning><embedded_functions><![CDATA[",
            "f(){}",
            "]]></embedded_functions></beginning>",
        ),
        fill(
            "<beginning><embedded_functions><![CDATA[",
            "/",
            "]]></embedded_functions></beginning>",
        ),
        fill(
            "<beginning><property property_id='1'><event boolean_expression='",
            "(",
            "'/></property></beginning>",
        ),
        fill(
            "<beginning><property property_id='1' if_satisfied='x'>",
            "<event/>",
            "</property></beginning>",
        ),
        "\n".repeat(SIZE),
    ]
}

/// A small generator: the same numbers for the same seed everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % end.max(1)
    }
}

/// Pieces that mean something in rule files.
const PIECES: [&str; 37] = [
    "<",
    ">",
    "/>",
    "</",
    "\"",
    "'",
    "&amp;",
    "&",
    "(",
    ")",
    "&&",
    "==",
    "+",
    "-",
    "#",
    ",",
    ".",
    "<property ",
    "</property>",
    "<operator value=\"AND\">",
    "<event ",
    "<![CDATA[",
    "]]>",
    "<!--",
    "18446744073709551615",
    "-1",
    ".1",
    "#in_list(",
    "#regex(udp.p_payload, '(a|b){9}",
    "#strcasestr(",
    "0x1f",
    "10.0.0.0/8",
    "2001:db8::/32",
    "00:11:22:33:44:55",
    " repeat_times=\"7\"",
    "\u{fffd}",
    "\0",
];

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            1 => {
                let end = (at + random.below(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => {
                let piece = PIECES[random.below(PIECES.len())].repeat(1 + random.below(3));
                bytes.splice(at..at, piece.bytes());
            }
            3 => {
                let end = (at + random.below(200)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => bytes.truncate(at),
        }
        if bytes.is_empty() {
            bytes.push(b'<');
        }
    }
}

/// Seeds come from `WIRELYNX_SEED`, else the same each time.
#[test]
fn broken_files_never_crash() {
    let seed = std::env::var("WIRELYNX_SEED").ok();
    let seed = seed
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(0x9e37_79b9_7f4a_7c15);
    println!("WIRELYNX_SEED={seed}");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/rules-check");
    let mut files = load::collect(&[golden.display().to_string()]);
    files.extend(published().unwrap_or_default());
    let texts: Vec<Vec<u8>> = files.iter().map(|f| std::fs::read(f).unwrap()).collect();
    let lists = Lists::new(vec![PathBuf::from("rules/lists")]);
    let mut random = Random(u64::max(seed, 1));
    for round in 0..4_000 {
        let mut bytes = texts[random.below(texts.len())].clone();
        mutate(&mut bytes, &mut random);
        let mode = match round % 2 {
            0 => Mode::Standard,
            _ => Mode::Compat,
        };
        let started = std::time::Instant::now();
        let result = load::read_bytes("mutated.xml", &bytes, mode, &lists);
        for found in &result.diagnostics {
            found.render(true);
        }
        assert!(result.properties.is_empty() || !result.has_errors());
        let limit = std::time::Duration::from_secs(2);
        assert!(started.elapsed() < limit, "round {round} takes too long");
    }
}
