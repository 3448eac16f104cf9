# Sourced by ./test and ./demo: is this machine ready, and if not, what to do.

machine_check() {
  export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
  if ! command -v cargo >/dev/null; then
    if [ -x "$HOME/.cargo/bin/cargo" ]; then
      export PATH="$HOME/.cargo/bin:$PATH"
    else
      echo "Rust is missing. Install it with rustup (https://rustup.rs), then run this again." >&2
      exit 1
    fi
  fi
  local want=95 have
  have=$(rustc --version | sed -E 's/^rustc 1\.([0-9]+).*/\1/')
  if [ "$have" -lt $want ]; then
    echo "rustc 1.$have is too old: Kvant needs 1.$want or newer. Run: rustup update stable" >&2
    exit 1
  fi
  need cc gcc "a C compiler and linker"
  need python3 python3 "Python (fetches models from package indexes)"
  need git git "git (lists the tracked files)"
  if ! python3 -m pip --version >/dev/null 2>&1; then
    install_package python3-pip || { echo "pip is missing: install python3-pip" >&2; exit 1; }
  fi
}

# need COMMAND DEBIAN_PACKAGE WHAT
need() {
  command -v "$1" >/dev/null && return
  install_package "$2" && command -v "$1" >/dev/null && return
  echo "$3 is missing: install the package '$2' with your system's package manager." >&2
  exit 1
}

install_package() {
  command -v apt-get >/dev/null || return 1
  local as=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || return 1
    as=(sudo)
  fi
  echo "installing $1"
  "${as[@]}" apt-get update -qq && "${as[@]}" apt-get install -y -qq "$1" >/dev/null
}
