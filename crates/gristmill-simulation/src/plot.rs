//! Plots of a report, as SVG.

use plotters::prelude::*;

use crate::measure::Sample;
use crate::report::{GroupReport, Report};

const SIZE: (u32, u32) = (900, 420);
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(44, 160, 44), RGBColor(148, 103, 189)];

type Drawn = Result<String, DrawingAreaErrorKind<std::io::Error>>;

/// A line of a plot.
struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// File names and what they hold. Nothing of a simulation that was too short to be sampled twice.
pub fn plots(report: &Report) -> Vec<(&'static str, String)> {
    if report.samples.len() < 2 {
        return Vec::new();
    }
    let (unit, unit_ms) = unit_of(report.simulated_s);
    let over_time = |value: &dyn Fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        report.samples.iter().map(|sample| (float(sample.at_ms) / unit_ms, value(sample))).collect()
    };
    let workers = vec![
        Line { name: "slots of connected workers", points: over_time(&|sample| float(sample.slots)) },
        Line { name: "of them, running something", points: over_time(&|sample| float(sample.busy)) },
    ];
    let rate = |value: fn(&Sample) -> u64| {
        let between = |pair: &[Sample]| {
            let seconds = float(pair[1].at_ms - pair[0].at_ms) / 1_000.0;
            (float(pair[1].at_ms) / unit_ms, float(value(&pair[1]) - value(&pair[0])) / seconds)
        };
        report.samples.windows(2).map(between).collect::<Vec<_>>()
    };
    let throughput = vec![
        Line { name: "leases given", points: rate(|sample| sample.attempts) },
        Line { name: "tasks certified", points: rate(|sample| sample.certified) },
    ];
    let wrong = |sample: &Sample| float(sample.wrong) / float(sample.certified.max(1));
    let errors = vec![Line { name: "wrong of all certified so far", points: over_time(&wrong) }];
    let drawn = [
        ("workers.svg", lines("Workers", unit, "slots", &workers)),
        ("throughput.svg", lines("Throughput", unit, "a second", &throughput)),
        ("errors.svg", lines("Errors", unit, "share", &errors)),
        ("money.svg", money(&report.groups)),
    ];
    drawn.map(|(name, svg)| (name, svg.expect("writing to memory does not fail"))).into()
}

fn unit_of(seconds: f64) -> (&'static str, f64) {
    match seconds {
        s if s < 300.0 => ("seconds", 1e3),
        s if s < 18_000.0 => ("minutes", 60e3),
        s if s < 432_000.0 => ("hours", 3_600e3),
        _ => ("days", 86_400e3),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a plot")]
fn float(number: u64) -> f64 {
    number as f64
}

fn lines(title: &str, x_name: &str, y_name: &str, lines: &[Line]) -> Drawn {
    let points = || lines.iter().flat_map(|line| &line.points);
    let right = points().map(|point| point.0).fold(0.0, f64::max);
    let top = points().map(|point| point.1).fold(0.0, f64::max);
    let top = if top > 0.0 { top * 1.1 } else { 1.0 };
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 22))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(80)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        chart.configure_mesh().x_desc(x_name).y_desc(y_name).light_line_style(TRANSPARENT).draw()?;
        for (line, colour) in lines.iter().zip(COLOURS) {
            let series = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2));
            let sign = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2));
            chart.draw_series(series)?.label(line.name).legend(sign);
        }
        chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
        root.present()?;
    }
    Ok(svg)
}

/// What each worker of a group earned and spent, on average.
fn money(groups: &[GroupReport]) -> Drawn {
    let each = |sum: f64, group: &GroupReport| sum / f64::from(group.workers);
    let most = groups.iter().map(|group| each(group.earned.max(group.spent), group)).fold(0.0, f64::max);
    let top = if most > 0.0 { most * 1.15 } else { 1.0 };
    let count = u32::try_from(groups.len()).expect("bounded by the scenario");
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption("Money of a worker: earned (green) and spent (red)", ("sans-serif", 22))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(80)
            .build_cartesian_2d(0.0..f64::from(count), 0.0..top)?;
        chart.configure_mesh().disable_x_mesh().disable_x_axis().light_line_style(TRANSPARENT).draw()?;
        for (place, group) in (0..count).map(f64::from).zip(groups) {
            let bar = |left: f64, height: f64, colour: RGBColor| {
                Rectangle::new([(place + left, 0.0), (place + left + 0.3, height)], colour.filled())
            };
            chart.draw_series([
                bar(0.2, each(group.earned, group), COLOURS[2]),
                bar(0.5, each(group.spent, group), COLOURS[1]),
            ])?;
            let name = Text::new(group.name.clone(), (place + 0.2, top * 0.97), ("sans-serif", 14));
            chart.draw_series([name])?;
        }
        root.present()?;
    }
    Ok(svg)
}
