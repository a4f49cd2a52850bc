//! Folders that `gristmill app init` makes.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// Rust, as a WebAssembly module
    RustWasm,
    /// C, as a WebAssembly module
    CWasm,
    /// C, as a static program for this machine's processor
    Native,
    /// A shell script with its shell
    Shell,
    /// A Python program and an image that brings Python
    Python,
    /// An OCI image
    Oci,
    /// A virtual machine
    Vm,
}

/// A file's path in the new folder, and its text, in which `NAME` stands for the app's name.
pub type File = (&'static str, &'static str);

macro_rules! files {
    ($folder:literal: $($path:literal),*) => {
        &[$(($path, include_str!(concat!("templates/", $folder, "/", $path)))),*]
    };
}

impl Template {
    pub fn files(self) -> &'static [File] {
        match self {
            Self::RustWasm => files!("rust-wasm": "gristmill.toml", "Cargo.toml", "src/main.rs", "README.md"),
            Self::CWasm => files!("c-wasm": "gristmill.toml", "main.c", "README.md"),
            Self::Native => &[
                ("gristmill.toml", include_str!("templates/native/gristmill.toml")),
                ("main.c", include_str!("templates/c-wasm/main.c")),
                ("README.md", include_str!("templates/native/README.md")),
            ],
            Self::Shell => files!("shell": "gristmill.toml", "main.sh", "README.md"),
            Self::Python => files!("python": "gristmill.toml", "main.py", "README.md"),
            Self::Oci => files!("oci": "gristmill.toml", "Dockerfile", "README.md"),
            Self::Vm => files!("vm": "gristmill.toml", "README.md"),
        }
    }
}
