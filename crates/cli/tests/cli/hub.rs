//! `kvant pull hf:…` against a hub of our own on this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::house::{BERT, House, safetensors};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How the hub misbehaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Honest,
    /// Ends every connection after so many bytes of the weights.
    Breaks(usize),
    /// Sends other bytes than it promised.
    Lies,
    /// Does not know ranges: always sends all, and the first time only so many bytes.
    Whole(usize),
    /// Wants a token.
    Gated,
}

/// A hub of one repository `org/tiny`, in a thread that ends with the test process.
struct Hub {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

struct Request {
    method: String,
    path: String,
    range: usize,
    token: bool,
}

impl Hub {
    fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is its own affair.
                let _ = serve(&stream, manner, &seen);
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }

    fn house(&self) -> House {
        let mut house = House::new();
        house.set("HF_ENDPOINT", &self.address);
        house.set("NO_PROXY", "127.0.0.1,localhost");
        house
    }
}

fn weights() -> Vec<u8> {
    safetensors(300, 100)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn serve(stream: &TcpStream, manner: Manner, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let request = read(stream)?;
    let line = format!("{} {} {}", request.method, request.path, request.range);
    let tries = {
        let mut asked = asked.lock().expect("no panic");
        asked.push(line);
        asked.iter().filter(|line| line.contains("GET") && line.contains("model.safe")).count()
    };
    let store = request.path.starts_with("/store/");
    // The store is another host; a token sent there would be a token given away.
    if manner == Manner::Gated && request.token == store {
        return answer(stream, "401 Unauthorized", &[], b"");
    }
    let file = request.path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/"));
    match (request.path.as_str(), file) {
        ("/api/models/org/tiny/revision/main", _) => {
            let siblings = [
                "config.json",
                "tokenizer.json",
                "1_Pooling/config.json",
                "README.md",
                "model.safetensors",
                "onnx/model.onnx",
                "../../escape.json",
            ]
            .map(|name| serde_json::json!({"rfilename": name}));
            let info = serde_json::json!({"sha": COMMIT, "siblings": siblings, "private": false});
            answer(stream, "200 OK", &[], info.to_string().as_bytes())
        }
        ("/store/weights", _) | (_, Some("model.safetensors")) => {
            large(stream, &request, manner, tries)
        }
        (_, Some("config.json")) => small(stream, &request, BERT.as_bytes()),
        (_, Some(_)) => small(stream, &request, b"{}"),
        _ => answer(stream, "404 Not Found", &[], b""),
    }
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut words = first.split(' ').map(ToOwned::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut range, mut token) = (0, false);
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("range: bytes=") {
            range = bytes.trim_end_matches('-').parse().unwrap_or(0);
        }
        token |= line == "authorization: bearer secret";
    }
    Ok(Request { method, path, range, token })
}

fn answer(
    mut stream: &TcpStream,
    status: &str,
    headers: &[String],
    body: &[u8],
) -> std::io::Result<()> {
    let length = if headers.iter().any(|h| h.starts_with("Content-Length")) {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let headers = headers.iter().fold(String::new(), |all, header| format!("{all}{header}\r\n"));
    let head = format!("HTTP/1.1 {status}\r\n{length}{headers}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

fn small(stream: &TcpStream, request: &Request, body: &[u8]) -> std::io::Result<()> {
    // Git's hash of small files is no SHA-256; only its form matters here.
    let etag = hex(&Sha256::digest(body))[..40].to_owned();
    let headers = [
        format!("ETag: \"{etag}\""),
        format!("X-Repo-Commit: {COMMIT}"),
        format!("Content-Length: {}", body.len()),
    ];
    let body = if request.method == "HEAD" { &[][..] } else { body };
    answer(stream, "200 OK", &headers, body)
}

/// The way of large files: facts at the hub, bytes at a store it redirects to.
fn large(
    stream: &TcpStream,
    request: &Request,
    manner: Manner,
    tries: usize,
) -> std::io::Result<()> {
    let mut body = weights();
    if request.path != "/store/weights" {
        let headers = [
            format!("X-Linked-ETag: \"{}\"", hex(&Sha256::digest(&body))),
            format!("X-Linked-Size: {}", body.len()),
            format!("X-Repo-Commit: {COMMIT}"),
            // Another spelling of this host, as a store is another host.
            format!("Location: http://localhost:{}/store/weights", stream.local_addr()?.port()),
        ];
        return answer(stream, "302 Found", &headers, b"");
    }
    if manner == Manner::Lies {
        body[200] ^= 1;
    }
    let whole = body.len();
    let (from, most) = match manner {
        Manner::Breaks(most) => (request.range, most),
        // Every try is two requests: one to the hub, one to the store.
        Manner::Whole(most) if tries <= 1 => (0, most),
        Manner::Whole(_) => (0, whole),
        Manner::Honest | Manner::Lies | Manner::Gated => (request.range, whole),
    };
    let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
    let headers = [
        format!("Content-Length: {}", whole - from),
        format!("Content-Range: bytes {from}-{}/{whole}", whole - 1),
    ];
    let sent = &body[from..whole.min(from + most)];
    answer(stream, status, &headers, sent)
}

#[track_caller]
fn is_whole(snapshot: &Path) {
    let read = |name: &str| std::fs::read(snapshot.join(name)).expect(name);
    assert!(read("model.safetensors") == weights());
    assert_eq!(read("config.json"), BERT.as_bytes());
    assert_eq!(read("1_Pooling/config.json"), b"{}");
    assert!(!snapshot.join("README.md").exists() && !snapshot.join("onnx").exists());
}

#[test]
fn a_pull_fills_the_shared_cache_and_the_next_one_asks_nobody() {
    let hub = Hub::start(Manner::Honest);
    let mut house = hub.house();
    let pulled = house.json(&["pull", "hf:org/tiny"]);
    assert_eq!((&pulled["cached"], &pulled["files"]), (&false.into(), &4.into()));
    let folder = house.path("hf-home/hub/models--org--tiny");
    let snapshot = folder.join("snapshots").join(COMMIT);
    assert_eq!(pulled["path"].as_str(), snapshot.to_str());
    is_whole(&snapshot);
    assert_eq!(std::fs::read_to_string(folder.join("refs/main")).expect("there"), COMMIT);
    let blob = folder.join("blobs").join(hex(&Sha256::digest(weights())));
    assert!(blob.is_file());
    let link = std::fs::read_link(snapshot.join("1_Pooling/config.json")).expect("a link");
    assert!(link.starts_with("../../../blobs"), "{}", link.display());
    assert!(!house.path("hf-home/hub/escape.json").exists());

    let asked = hub.asked().len();
    assert_eq!(house.run("pull hf:org/tiny"), format!("{}\n", snapshot.display()));
    assert_eq!(house.json(&["pull", &format!("hf:org/tiny@{COMMIT}")])["cached"], true);
    house.set("HF_HUB_OFFLINE", "1");
    assert_eq!(house.json(&["inspect", "hf:org/tiny"])["architecture"], "BertModel");
    assert_eq!(hub.asked().len(), asked, "a cached model needs no network");
    let line = house.fail(&["pull", "hf:org/other"]);
    assert!(line.contains("hf:org/other") && line.contains("HF_HUB_OFFLINE"), "{line}");
    assert_eq!(hub.asked().len(), asked, "offline means offline");
}

#[test]
fn a_broken_connection_is_resumed() {
    let hub = Hub::start(Manner::Breaks(50_000));
    let house = hub.house();
    let pulled = house.json(&["pull", "hf:org/tiny"]);
    is_whole(Path::new(pulled["path"].as_str().expect("a path")));
    let ranges: Vec<String> =
        hub.asked().into_iter().filter(|line| line.contains("/store/")).collect();
    assert_eq!(
        ranges,
        ["GET /store/weights 0", "GET /store/weights 50000", "GET /store/weights 100000"]
    );
}

#[test]
fn an_interrupted_pull_goes_on_where_it_stopped() {
    let hub = Hub::start(Manner::Breaks(20_000));
    let house = hub.house();
    let output = house.command(&["pull", "hf:org/tiny"]).output().expect("runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("model.safetensors") && said.contains("pull again"), "{said}");
    let folder = house.path("hf-home/hub/models--org--tiny");
    assert!(!folder.join("refs/main").exists(), "half a model must not look whole");
    let pulled = house.json(&["pull", "hf:org/tiny"]);
    is_whole(Path::new(pulled["path"].as_str().expect("a path")));
    let asked = hub.asked();
    assert!(asked.contains(&"GET /store/weights 80000".to_owned()), "{asked:?}");
    assert_eq!(asked.iter().filter(|line| line.ends_with("/store/weights 0")).count(), 1);
}

#[test]
fn a_store_without_ranges_starts_over() {
    let hub = Hub::start(Manner::Whole(30_000));
    let pulled = hub.house().json(&["pull", "hf:org/tiny"]);
    assert_eq!(pulled["cached"], false);
}

#[test]
fn other_bytes_than_promised_are_refused_and_not_kept() {
    let hub = Hub::start(Manner::Lies);
    let house = hub.house();
    for _ in 0..2 {
        let output = house.command(&["pull", "hf:org/tiny"]).output().expect("runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains("model.safetensors: differs from its SHA-256"), "{said}");
        assert_eq!(said.lines().count(), 1);
    }
    let blobs = std::fs::read_dir(house.path("hf-home/hub/models--org--tiny/blobs"));
    let names: Vec<_> = blobs.expect("listed").flatten().map(|e| e.file_name()).collect();
    assert!(names.iter().all(|name| name.len() == 40), "{names:?}");
}

#[test]
fn a_gated_model_wants_a_token_and_the_unknown_is_not_found() {
    let hub = Hub::start(Manner::Gated);
    let mut house = hub.house();
    let line = house.fail(&["pull", "hf:org/tiny"]);
    assert!(line.contains("hf:org/tiny") && line.contains("HF_TOKEN"), "{line}");
    house.set("HF_TOKEN", "secret");
    assert_eq!(house.json(&["pull", "hf:org/tiny"])["cached"], false);
    let line = house.fail(&["pull", "hf:org/absent"]);
    assert!(line.contains("hf:org/absent: not found"), "{line}");
}

#[test]
fn a_hub_that_is_not_there_or_is_none_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let mut house = House::new();
    house.set("NO_PROXY", "127.0.0.1,localhost");
    house.set("HF_ENDPOINT", &format!("http://{port}"));
    let line = house.fail(&["pull", "hf:org/tiny"]);
    assert!(line.contains(&port.to_string()) && line.contains("HF_ENDPOINT"), "{line}");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    house.set("HF_ENDPOINT", &format!("http://{}", listener.local_addr().expect("bound")));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 2048];
            let _ = stream.read(&mut buffer);
            let _ = answer(&stream, "200 OK", &[], b"<html>login</html>");
        }
    });
    let line = house.fail(&["pull", "hf:org/tiny"]);
    assert!(line.contains("does not answer like a hub"), "{line}");
}
