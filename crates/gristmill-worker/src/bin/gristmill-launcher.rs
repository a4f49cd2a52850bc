//! The sandbox's launcher as a program of its own, for this crate's tests. The product is one binary, which calls
//! [`launcher_main`] itself.

use gristmill_worker::sandbox::launcher_main;

fn main() {
    launcher_main()
}
