//! What was measured beside the floors that the project promises, one line each.

use serde_json::json;
use vanity::kernel::Backend;

use super::{Contestant, Series, own::Checks, print};

struct Row {
    what: &'static str,
    /// Nothing where this run or this machine could not measure it.
    value: Option<f64>,
    floor: f64,
    aim: f64,
    is_more_better: bool,
}

impl Row {
    fn at_least(what: &'static str, value: Option<f64>, floor: f64, aim: f64) -> Self {
        Self { what, value, floor, aim, is_more_better: true }
    }

    fn at_most(what: &'static str, value: Option<f64>, floor: f64, aim: f64) -> Self {
        Self { what, value, floor, aim, is_more_better: false }
    }

    fn holds(&self) -> Option<bool> {
        self.value.map(|value| if self.is_more_better { value >= self.floor } else { value <= self.floor })
    }

    fn print(&self, as_json: bool) {
        let Self { what, value, floor, aim, .. } = *self;
        let holds = self.holds();
        if as_json {
            return print::result_json(
                &json!({ "what": what, "value": value, "floor": floor, "aim": aim, "holds": holds }),
            );
        }
        let verdict = match holds {
            Some(true) => "holds",
            Some(false) => "BELOW",
            None => "not measured",
        };
        let value = value.map_or_else(|| "-".into(), shown);
        print::result(&format!("{what:<58} {value:>9} {:>9} {:>9}  {verdict}", shown(floor), shown(aim)));
    }
}

fn shown(number: f64) -> String {
    if number != 0.0 && number.abs() < 1e-3 { format!("{number:.1e}") } else { format!("{number:.3}") }
}

/// Rivals are known by these names; see [`super::BenchArguments`].
const NATIVE: &str = "native";
const STOCK: &str = "stock";
const VANITYGEN: &str = "vanitygen";

/// Prints the table and returns the rows that are below their floors.
pub(super) fn print_table(
    all: &[Series],
    share_of_limit: Option<f64>,
    checks: &Checks,
    as_json: bool,
) -> Vec<&'static str> {
    let own = |backend, threads| {
        all.iter().find(|series| {
            series.threads == threads && matches!(series.contestant, Contestant::Own(own) if own == backend)
        })
    };
    let rival = |name| all.iter().find(|series| !series.is_own() && series.threads == 1 && series.name() == name);
    let ratio = |backend, name| Some(own(backend, 1)?.rate() / rival(name)?.rate());
    let best = Backend::best();
    let scaling = || Some(own(best, 2)?.rate() / own(best, 1)?.rate());
    let rows = [
        Row::at_least(
            "avx512 / VanitySearch -O3 -march=native (rival native)",
            ratio(Backend::Avx512, NATIVE),
            4.5,
            5.2,
        ),
        Row::at_least("avx512 / VanitySearch as its Makefile builds (stock)", ratio(Backend::Avx512, STOCK), 8.0, 9.0),
        Row::at_least("avx512 / vanitygen++ (rival vanitygen)", ratio(Backend::Avx512, VANITYGEN), 65.0, 72.0),
        Row::at_least("avx512: share of the counted limit of this processor", share_of_limit, 0.92, 0.97),
        Row::at_least("avx2 / VanitySearch -O3 -march=native (rival native)", ratio(Backend::Avx2, NATIVE), 1.5, 1.9),
        Row::at_least("portable / vanitygen++ (rival vanitygen)", ratio(Backend::Portable, VANITYGEN), 4.0, 6.0),
        Row::at_least("2 threads / 1 thread, fastest back end", scaling(), 1.9, 1.98),
        Row::at_most("start of a process to its first candidates, ms", Some(checks.start_ms), 50.0, 10.0),
        Row::at_most("verifying one share, µs", Some(checks.verify_us), 60.0, 25.0),
        Row::at_most("reporting 64 shares of a unit, %", Some(checks.share_overhead_percent), 0.5, 0.1),
        Row::at_most("error of 10,000 difficulties against exact fractions", Some(checks.difficulty_error), 1e-9, 1e-9),
        Row::at_most("back ends whose share sets differ (--compared candidates)", checks.differing_back_ends, 0.0, 0.0),
    ];
    if !as_json {
        print::result(&format!("\n{:<58} {:>9} {:>9} {:>9}", "", "measured", "floor", "aim"));
    }
    for row in &rows {
        row.print(as_json);
    }
    rows.iter().filter(|row| row.holds() == Some(false)).map(|row| row.what).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_a_bound_on_the_side_that_is_worse() {
        assert_eq!(Row::at_least("", Some(1.9), 1.9, 2.0).holds(), Some(true));
        assert_eq!(Row::at_least("", Some(1.89), 1.9, 2.0).holds(), Some(false));
        assert_eq!(Row::at_most("", Some(60.0), 60.0, 25.0).holds(), Some(true));
        assert_eq!(Row::at_most("", Some(60.1), 60.0, 25.0).holds(), Some(false));
        assert_eq!(Row::at_most("", None, 60.0, 25.0).holds(), None);
    }
}
