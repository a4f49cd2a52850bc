use std::process::ExitCode;

fn main() -> ExitCode {
    // The sandbox starts this program anew, with nothing else running in it, to build its walls around an app.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == gristmill_worker::sandbox::LAUNCHER_ARGUMENT) {
        gristmill_worker::sandbox::launcher_main();
    }
    gristmill::main()
}
