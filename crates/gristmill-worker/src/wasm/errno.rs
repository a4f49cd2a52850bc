/// Errors as WASI preview 1 numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errno {
    BadF = 8,
    Exist = 20,
    Fault = 21,
    FBig = 22,
    Inval = 28,
    Io = 29,
    IsDir = 31,
    MFile = 33,
    NameTooLong = 37,
    NoEnt = 44,
    NoSpc = 51,
    NotDir = 54,
    NotEmpty = 55,
    NotSup = 58,
    RoFs = 69,
    SPipe = 70,
    NotCapable = 76,
}
