//! A directory, the binary in it, and what it said.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A fresh directory with nothing of the machine's caches and settings.
pub(crate) struct House {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

impl House {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), variables: Vec::new() }
    }

    /// Sets an environment variable for every later run.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    /// A path below the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, its folders included.
    pub(crate) fn write(&self, name: &str, data: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, data).expect("written");
        path
    }

    /// The binary with `args`, in the directory.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvant"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let shown = name.to_string_lossy();
            if ["HF_", "KVANT_", "XDG_"].iter().any(|prefix| shown.starts_with(prefix)) {
                command.env_remove(&name);
            }
        }
        command.env("KVANT_HOME", self.path("kvant-home")).env("HF_HOME", self.path("hf-home"));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a line of arguments that must succeed; gives standard output.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> String {
        self.succeed(&line.split(' ').collect::<Vec<_>>())
    }

    /// Runs arguments that must succeed; gives standard output.
    #[track_caller]
    pub(crate) fn succeed<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        let output = self.command(args).output().expect("runs");
        let (out, err) = said(&output);
        assert!(output.status.success(), "{out}\n{err}");
        assert_eq!(err, "", "standard error is quiet where nobody watches");
        out
    }

    /// Runs arguments that must succeed with `--json`; gives the parsed object.
    #[track_caller]
    pub(crate) fn json<S: AsRef<OsStr>>(&self, args: &[S]) -> serde_json::Value {
        let mut args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        args.push(OsStr::new("--json"));
        serde_json::from_str(&self.succeed(&args)).expect("one JSON value")
    }

    /// Runs arguments that must fail as every failure has to: exit code 1, nothing on standard
    /// output, one line on standard error, no file more or less than before. Gives the line.
    #[track_caller]
    pub(crate) fn fail<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        let before = self.files();
        let output = self.command(args).output().expect("runs");
        let (out, err) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
        assert_eq!(out, "", "{err}");
        assert_eq!(err.lines().count(), 1, "one line, got: {err}");
        let line = err.trim_end().strip_prefix("kvant: ").expect("begins with kvant:").to_owned();
        assert!(line.len() < 600, "a line one can read: {line}");
        assert_eq!(self.files(), before, "left behind by: {line}");
        line
    }

    /// Every file below the directory, caches apart, with its size; a lock holds the number of the
    /// process that had it last, whose length is of no interest.
    fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        let mut open = vec![self.dir.path().to_path_buf()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).expect("listed").flatten() {
                let path = entry.path();
                let meta = path.symlink_metadata().expect("there");
                if meta.is_dir() && path.ends_with("kvant-home/packed") {
                    // What is kept of models that load, whatever comes then.
                } else if meta.is_dir() {
                    open.push(path);
                } else {
                    let lock = path.file_name().is_some_and(|name| name == ".lock");
                    files.push((path, if lock { 0 } else { meta.len() }));
                }
            }
        }
        files.sort();
        files
    }
}

/// Standard output and standard error as text.
pub(crate) fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(&output.stdout), text(&output.stderr))
}

/// A safetensors file of one f32 matrix named `w`.
pub(crate) fn safetensors(rows: usize, cols: usize) -> Vec<u8> {
    let size = rows * cols * 4;
    let header =
        format!(r#"{{"w":{{"dtype":"F32","shape":[{rows},{cols}],"data_offsets":[0,{size}]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    let mut random = kvant_testkit::Random::new(7);
    for value in random.normals(rows * cols) {
        file.extend(value.to_le_bytes());
    }
    file
}

/// A configuration that reads as a small BERT.
pub(crate) const BERT: &str = r#"{"model_type": "bert", "architectures": ["BertModel"],
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64,
    "vocab_size": 100, "max_position_embeddings": 16, "type_vocab_size": 2,
    "layer_norm_eps": 1e-12, "hidden_act": "gelu", "position_embedding_type": "absolute"}"#;

/// The argument form of a path.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
