//! Arguments come as to any program, files of the job lie in /in, and what is left in /out is the result.

use std::io::Write as _;

fn main() {
    let limit: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    let mut sum = 0_u128;
    for number in 0..limit {
        sum += u128::from(number) * u128::from(number);
        if number % 1_000_000 == 0 {
            report(number);
        }
    }
    println!("the squares below {limit} add up to {sum}");
    std::fs::write("/out/sum.txt", format!("{sum}\n")).expect("/out can be written to");
}

/// A line of JSON in this file tells how far the work is.
fn report(done: u64) {
    if let Ok(mut channel) = std::fs::OpenOptions::new().write(true).open("/dev/channel") {
        let _ = writeln!(channel, "{{\"type\":\"progress\",\"done\":{done}}}");
    }
}
