//! Who used most in the last day, what was delivered, and how fast events are counted.

use super::{
    pane::{Hit, NOTHING_PASSES, awaited, hits, lines, mark, pane, scrolled, shortened},
    plot::{bar, spark, tall},
    title::{old, title},
};
use crate::{
    model::{
        Model,
        usage::{AccountUse, Delivery},
    },
    msg::Topic,
    text::{age, counted, cut, fit, grouped, quantity, right},
    update::asking::late_after,
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

/// Widest bar.
const BAR: usize = 40;
/// Narrower than this a bar says nothing.
const LEAST_BAR: usize = 4;
/// What an amount of money needs with its currency.
const AMOUNT: usize = 12;
/// From so many rows on the plot of throughput is so many high.
const HIGH: u16 = 20;
const PLOT: usize = 4;

/// Widths by the room there is; one of 0 is not shown. What is shown is never cut within a number.
#[derive(Debug, Clone, Copy)]
struct Columns {
    account: usize,
    messages: usize,
    bar: usize,
    amount: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        let (account, messages) = match width {
            0..70 => (12, 9),
            70..100 => (16, 12),
            100.. => (20, 12),
        };
        // Mark, delivery with its age, and the blanks between.
        let free = width.saturating_sub(account + messages + 34);
        let bar = free.saturating_sub(if free > BAR { AMOUNT + 3 } else { 1 }).min(if free > 2 * BAR { BAR } else { BAR / 2 });
        let bar = if bar < LEAST_BAR { 0 } else { bar };
        let amount = free.saturating_sub(bar + 1 + 2);
        Self { account, messages, bar, amount: if amount < AMOUNT { 0 } else { amount } }
    }

    fn heading(self) -> String {
        let bar = if self.bar > 0 { " ".repeat(self.bar + 1) } else { String::new() };
        let (account, messages) = (fit("ACCOUNT", self.account), right("MESSAGES", self.messages));
        let amount = if self.amount > 0 { "  AMOUNT" } else { "" };
        format!(
            " {account} {messages}{bar} {} {} {} {}{amount}",
            right("DELIVERED", 9),
            right("REPORTED", 8),
            right("P99", 7),
            right("AGE", 4)
        )
    }
}

/// Draws the screen; where its rows are.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) -> Vec<Hit> {
    let (look, usage) = (model.ui.look, &model.shown().usage);
    let title = title(model, "USAGE", old(model, Topic::Top, usage.at), Span::styled("of the last 24 h", look.dim()), area);
    let inner = pane(frame, look, area, title, true);
    let columns = Columns::of(inner.width.into());
    let accounts = model.accounts();
    let most = accounts.iter().map(|account| account.messages).max().unwrap_or(0);
    let mut drawn = throughput(model, inner);
    drawn.push(Line::styled(columns.heading(), look.dim()));
    if let Some(error) = &usage.error {
        drawn.push(Line::styled(cut(&format!(" {error}"), inner.width.into()), look.blind()));
    }
    let head = drawn.len();
    let room = usize::from(inner.height).saturating_sub(head + 1);
    let ids: Vec<&String> = accounts.iter().map(|account| &account.account).collect();
    let cursor = model.ui.account.place(ids.into_iter()).unwrap_or(0);
    let first = scrolled(cursor, accounts.len(), room);
    for (place, account) in accounts.iter().enumerate().skip(first).take(room) {
        drawn.push(line(model, account, most, columns, place == cursor));
    }
    let hits = hits(inner, 0, (head..drawn.len()).zip(first..));
    if usage.at.is_none() {
        drawn.push(awaited(model, "query"));
    } else if accounts.is_empty() {
        let why = if usage.accounts.is_empty() { " no account used anything" } else { NOTHING_PASSES };
        drawn.push(Line::styled(why, look.dim()));
    }
    lines(frame, inner, drawn);
    let doubt = Rect { y: inner.y + inner.height.saturating_sub(1), height: inner.height.min(1), ..inner };
    frame.render_widget(shortened(doubts(model), inner.width.into()), doubt);
    hits
}

/// Records applied a second: now, between which bounds, and as a plot.
fn throughput(model: &Model, inner: Rect) -> Vec<Line<'static>> {
    let (look, rates) = (model.ui.look, &model.shown().ledger.rates);
    let width = usize::from(inner.width);
    let now = rates.back().map_or("-".to_owned(), |rate| quantity(*rate));
    let text = format!(" applied {now} records/s");
    if inner.height < HIGH || rates.is_empty() {
        let plot = spark(rates.iter().copied(), width.saturating_sub(text.len() + 2));
        return vec![Line::from_iter([Span::styled(text, look.label()), Span::raw(" "), Span::styled(plot, look.bar())])];
    }
    let columns = width.saturating_sub(2);
    let seen = || rates.iter().skip(rates.len().saturating_sub(columns)).copied();
    let (least, most) = seen().fold((f64::INFINITY, 0.0), |(least, most), rate| (rate.min(least), rate.max(most)));
    let count = seen().count();
    let bounds = format!(", {} to {} in the last {count} readings, one a second", quantity(least), quantity(most));
    let head = Line::from_iter([Span::styled(text, look.label()), Span::styled(bounds, look.dim())]);
    let plot = tall(seen(), columns, PLOT).into_iter().map(|row| Line::styled(format!(" {row}"), look.bar()));
    std::iter::once(shortened(head, width)).chain(plot).chain([Line::default()]).collect()
}

fn line(model: &Model, account: &AccountUse, most: u64, columns: Columns, selected: bool) -> Line<'static> {
    let (look, world) = (model.ui.look, model.shown());
    let delivery = world.usage.delivery.get(&account.account);
    let share = if most > 0 { account.messages as f64 / most as f64 } else { 0.0 };
    let amounts: Vec<String> = account.amounts.iter().map(|(currency, micros)| amount(currency, *micros)).collect();
    let old = delivery.map(|delivery| world.now.since(delivery.at));
    let late = old.is_some_and(|old| old > late_after(Topic::Delivery, model.ui.screen));
    let mut line = Line::from_iter([
        Span::raw(mark(selected)),
        Span::raw(format!("{} {}", fit(&account.account, columns.account), right(&grouped(account.messages), columns.messages))),
    ]);
    if columns.bar > 0 {
        line.push_span(Span::styled(format!(" {}", fit(&bar(share, columns.bar), columns.bar)), look.bar()));
    }
    line.extend([
        Span::raw(format!(
            " {} {} {} ",
            percent(delivery.and_then(|d| d.rate), 9),
            percent(delivery.and_then(|d| d.maturity), 8),
            p99(delivery)
        )),
        Span::styled(right(&old.map_or("-".to_owned(), age), 4), if late { look.blind() } else { look.dim() }),
    ]);
    if columns.amount > 0 {
        line.push_span(Span::styled(format!("  {}", cut(&amounts.join(" "), columns.amount)), look.dim()));
    }
    if selected { line.patch_style(look.selected()) } else { line }
}

fn percent(share: Option<f64>, columns: usize) -> String {
    right(&share.map_or("-".to_owned(), |share| format!("{:.1}%", share * 100.0)), columns)
}

fn p99(delivery: Option<&Delivery>) -> String {
    let p99 = delivery.and_then(|delivery| delivery.p99);
    right(&p99.map_or("-".to_owned(), |p99| format!("{:.1}s", p99.as_secs_f64())), 7)
}

/// Millionths, in the unit.
pub fn amount(currency: &str, micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    format!("{sign}{}.{:02} {currency}", grouped(micros / 1_000_000), micros % 1_000_000 / 10_000)
}

/// What could still change the figures.
fn doubts(model: &Model) -> Line<'static> {
    let (look, usage) = (model.ui.look, &model.shown().usage);
    if usage.at.is_none() {
        return Line::default();
    }
    let (dead, lost) =
        (counted(usage.dead_letters, "dead letter", "dead letters"), counted(usage.lost, "lost record", "lost records"));
    let text = format!(" could change by {dead}, {lost}");
    match usage.missing.first() {
        Some(missing) => Line::styled(format!("{text}; INCOMPLETE: {missing}"), look.bad()),
        None => Line::styled(text, look.dim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_width_what_is_known_of_a_delivery_is_not_cut() {
        for width in 55..300 {
            let columns = Columns::of(width);
            let heading = columns.heading();
            assert!(heading.len() <= width && heading.contains("P99  AGE"), "{width}: {heading}");
            assert!(columns.amount == 0 || heading.len() - " AMOUNT".len() + columns.amount < width, "{width}: {columns:?}");
        }
        assert_eq!((Columns::of(78).bar, Columns::of(78).amount), (15, 0));
        assert!(Columns::of(98).amount >= AMOUNT);
    }

    #[test]
    fn money_is_exact_to_the_cent_and_keeps_its_sign() {
        assert_eq!(amount("EUR", 1_234_567_890_000), "1,234,567.89 EUR");
        assert_eq!(amount("EUR", -500_000), "-0.50 EUR");
        assert_eq!(amount("X", i64::MIN), "-9,223,372,036,854.77 X");
    }
}
