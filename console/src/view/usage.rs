//! Who used most in the last day, what was delivered, and how fast events are counted.

use super::{
    pane::{Hit, NOTHING_PASSES, hits, lines, mark, pane, scrolled},
    plot::{bar, spark},
    title::{old, title},
};
use crate::{
    model::{
        Model,
        usage::{AccountUse, Delivery},
    },
    msg::Topic,
    text::{fit, grouped, quantity, right},
};
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

const BAR: usize = 20;

/// Draws the screen; where its rows are.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) -> Vec<Hit> {
    let (look, world) = (model.ui.look, model.shown());
    let usage = &world.usage;
    let title = title(model, "USAGE", old(model, Topic::Top, usage.at), Span::styled("of the last 24 h", look.dim()), area);
    let inner = pane(frame, look, area, title, true);
    let accounts = model.accounts();
    let most = accounts.iter().map(|account| account.messages).max().unwrap_or(0);
    let heading = format!(
        " {} {} {} {} {} {}",
        fit("ACCOUNT", 20),
        right("MESSAGES", 12),
        fit("", BAR),
        right("DELIVERED", 9),
        right("HEARD OF", 8),
        right("P99", 7)
    );
    let mut drawn = vec![throughput(model, inner.width.into()), Line::default()];
    drawn.push(Line::styled(format!("{heading}  AMOUNT"), look.dim()));
    if let Some(error) = &usage.error {
        drawn.push(Line::styled(format!(" {error}"), look.blind()));
    }
    let head = drawn.len();
    let room = usize::from(inner.height).saturating_sub(head + 2);
    let ids: Vec<&String> = accounts.iter().map(|account| &account.account).collect();
    let cursor = model.ui.account.place(ids.into_iter().collect::<Vec<_>>().into_iter()).unwrap_or(0);
    let first = scrolled(cursor, accounts.len(), room);
    for (place, account) in accounts.iter().enumerate().skip(first).take(room) {
        drawn.push(line(model, account, most, place == cursor));
    }
    let hits = hits(inner, 0, (head..drawn.len()).zip(first..));
    if accounts.is_empty() && usage.at.is_some() {
        let why = if usage.accounts.is_empty() { " no account used anything" } else { NOTHING_PASSES };
        drawn.push(Line::styled(why, look.dim()));
    }
    lines(frame, inner, drawn);
    let doubt = Rect { y: inner.y + inner.height.saturating_sub(1), height: inner.height.min(1), ..inner };
    frame.render_widget(doubts(model), doubt);
    hits
}

fn throughput(model: &Model, width: usize) -> Line<'static> {
    let (look, rates) = (model.ui.look, &model.shown().ledger.rates);
    let now = rates.back().map_or("-".to_owned(), |rate| quantity(*rate));
    let text = format!(" counted {now} events/s ");
    let plot = spark(rates.iter().copied(), width.saturating_sub(text.len() + 1));
    Line::from_iter([Span::styled(text, look.label()), Span::styled(plot, look.bar())])
}

fn line(model: &Model, account: &AccountUse, most: u64, selected: bool) -> Line<'static> {
    let look = model.ui.look;
    let delivery = model.shown().usage.delivery.get(&account.account);
    let share = if most > 0 { account.messages as f64 / most as f64 } else { 0.0 };
    let amounts: Vec<String> = account.amounts.iter().map(|(currency, micros)| amount(currency, *micros)).collect();
    let line = Line::from_iter([
        Span::raw(mark(selected)),
        Span::raw(format!("{} {} ", fit(&account.account, 20), right(&grouped(account.messages), 12))),
        Span::styled(fit(&bar(share, BAR), BAR), look.bar()),
        Span::raw(format!(
            " {} {} {}",
            percent(delivery.and_then(|d| d.rate), 9),
            percent(delivery.and_then(|d| d.maturity), 8),
            p99(delivery)
        )),
        Span::styled(format!("  {}", amounts.join(" ")), look.dim()),
    ]);
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
fn amount(currency: &str, micros: i64) -> String {
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
    let text = format!(" could change by {} dead letters, {} lost records", grouped(usage.dead_letters), grouped(usage.lost));
    match usage.missing.first() {
        Some(missing) => Line::styled(format!("{text}; INCOMPLETE: {missing}"), look.bad()),
        None => Line::styled(text, look.dim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_to_the_cent_and_keeps_its_sign() {
        assert_eq!(amount("EUR", 1_234_567_890_000), "1,234,567.89 EUR");
        assert_eq!(amount("EUR", -500_000), "-0.50 EUR");
        assert_eq!(amount("X", i64::MIN), "-9,223,372,036,854.77 X");
    }
}
