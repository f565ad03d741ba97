//! Models: which version answers by which name, what else gets its requests, what the gate said, and who changed what.

use super::{
    pane::{Hit, NOTHING_PASSES, hits, lines, mark, pane, scrolled},
    theme::Look,
    title::{old, title},
};
use crate::{
    model::{
        Model, RegisteredId, RegisteredLine,
        registry::{Alias, AliasFacts, Change, Gate, Registered, Registry, Route, Standing, Version},
        report::span,
        standing::Knowledge,
        ui::Screen,
    },
    msg::Topic,
    text::{age, counted, cut, fit, grouped, quantity, right, width, wrap},
    update::asking::late_after,
};
use jiff::Timestamp;
use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

/// Narrower than this the detail is below.
const WIDE: u16 = 110;
/// Digits of a checksum that tell two artifacts apart at a glance.
const DIGITS: usize = 8;
/// Columns of a state: `READY_STALE(59s)`.
const STATE: usize = 16;

/// Draws the screen; where its rows are.
pub fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) -> Vec<Hit> {
    let (listed, told) = halves(area);
    let hits = list(model, frame, listed);
    let inner = pane(frame, model.ui.look, told, Line::styled(title_of(model), model.ui.look.strong()), false);
    let drawn = text(model, inner.width.into());
    let missing = drawn.len().saturating_sub(inner.height.into());
    lines(frame, inner, drawn);
    if missing > 0 && inner.height > 0 {
        let key = model.keys.written(crate::action::Action::Open);
        let more = cut(&format!(" {missing} more below: {key} "), inner.width.into());
        let columns = u16::try_from(width(&more)).unwrap_or(u16::MAX).min(inner.width);
        let place = Rect { x: inner.right() - columns, y: inner.bottom(), width: columns, height: 1 }.intersection(frame.area());
        frame.render_widget(Line::styled(more, model.ui.look.strong()), place);
    }
    hits
}

/// The list, and what is known of its selected line; they share an edge.
fn halves(area: Rect) -> (Rect, Rect) {
    if area.width >= WIDE {
        let left = area.width * 11 / 20;
        let right = Rect { x: area.x + left - 1, width: area.width - left + 1, ..area };
        return (Rect { width: left, ..area }, right);
    }
    let upper = area.height / 2;
    let lower = Rect { y: area.y + upper.saturating_sub(1), height: area.height - upper.saturating_sub(1), ..area };
    (Rect { height: upper, ..area }, lower)
}

fn title_of(model: &Model) -> String {
    match model.selected_registered() {
        None => " MODEL ".to_owned(),
        Some(RegisteredLine::Empty(of)) => format!(" {} ", cut(&of.name, 40)),
        Some(RegisteredLine::Alias(of, alias)) => format!(" {} {} ", cut(&of.name, 40), cut(&alias.name, 24)),
        Some(RegisteredLine::Version(of, version)) => format!(" {} v{} ", cut(&of.name, 40), version.number),
    }
}

fn list(model: &Model, frame: &mut Frame<'_>, area: Rect) -> Vec<Hit> {
    let (look, world) = (model.ui.look, model.shown());
    let registry = &world.registry;
    let title = title(model, "MODELS", old(model, Topic::Models, registry.at), Span::raw(""), area);
    let inner = pane(frame, look, area, title, true);
    let columns = Columns::of(inner.width.into());
    let mut drawn = doubts(model, inner.width.into());
    drawn.push(Line::styled(columns.heading(), look.dim()));
    let listed = model.registered_lines();
    let ids: Vec<RegisteredId> = listed.iter().map(|line| line.id()).collect();
    let cursor = model.ui.registered.place(ids.iter()).unwrap_or(0);
    let room = usize::from(inner.height).saturating_sub(drawn.len());
    let rows = rows(&listed);
    let at = rows.iter().position(|row| matches!(row, Row::Line(place, _) if *place == cursor)).unwrap_or(0);
    let (first, head, now) = (scrolled(at, rows.len(), room), drawn.len(), server_time(model));
    let places = rows.iter().skip(first).take(room).enumerate();
    let places = places.filter_map(|(at, row)| if let Row::Line(place, _) = row { Some((head + at, *place)) } else { None });
    let hits = hits(inner, 0, places);
    for row in rows.iter().skip(first).take(room) {
        drawn.push(match row {
            Row::Model(of) => Line::styled(cut(&format!(" {}", of.name), inner.width.into()), look.strong()),
            Row::Line(place, listed) => {
                let line = columns.line(model, *listed, now, mark(*place == cursor));
                if *place == cursor { line.patch_style(look.selected()) } else { line }
            }
        });
    }
    if listed.is_empty() && registry.at.is_some() {
        drawn.push(Line::styled(if registry.models.is_empty() { " no model is registered" } else { NOTHING_PASSES }, look.dim()));
    }
    lines(frame, inner, drawn);
    hits
}

/// The last answer is older than it should be.
fn is_late(model: &Model) -> bool {
    let world = model.shown();
    world.registry.at.is_some_and(|at| world.now.since(at) > late_after(Topic::Models, Screen::Models))
}

/// Nobody can say how a version stands now: what is told is how it was.
fn is_blind(model: &Model) -> bool {
    let world = model.shown();
    let serving = world.endpoint_of("serving").map(|index| &world.endpoints[index]);
    is_late(model) || serving.is_none_or(|serving| serving.knowledge(world.now) == Knowledge::Blind)
}

/// What is drawn in a line: the name of a model, or what can be selected of it and at which place.
enum Row<'a> {
    Model(&'a Registered),
    Line(usize, RegisteredLine<'a>),
}

fn rows<'a>(listed: &[RegisteredLine<'a>]) -> Vec<Row<'a>> {
    let mut rows = Vec::with_capacity(listed.len());
    for (place, line) in listed.iter().enumerate() {
        let before = place.checked_sub(1).map(|before| listed[before].model());
        if before.is_none_or(|before| !std::ptr::eq(before, line.model())) {
            rows.push(Row::Model(line.model()));
        }
        rows.push(Row::Line(place, *line));
    }
    rows
}

/// Why what is listed may not be so, or not all there is.
fn doubts(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let world = model.shown();
    let registry = &world.registry;
    let mut doubts = Vec::new();
    if world.endpoint_of("serving").is_none() {
        let was = registry.at.map_or(String::new(), |_| "; this is what was".to_owned());
        doubts.push(format!("no process of serving is connected{was}"));
    }
    doubts.extend(registry.error.clone());
    doubts.extend(registry.alias_error.as_ref().map(|error| format!("of an alias: {error}")));
    if !registry.problem.is_empty() {
        let since = registry.answered.map_or("ever".to_owned(), |at| format!("for {}", age(span(at, server_time(model)))));
        doubts.push(format!("the registry has not answered {since}: {}", registry.problem));
    }
    let left_out: usize = registry.models.iter().map(|model| model.left_out).sum();
    if registry.left_out + left_out > 0 {
        let (models, versions) = (grouped(registry.left_out as u64), grouped(left_out as u64));
        doubts.push(format!("not kept here: {models} models, {versions} versions and aliases of others"));
    }
    doubts.into_iter().map(|doubt| Line::styled(cut(&format!(" {doubt}"), columns), model.ui.look.blind())).collect()
}

/// Times of versions and changes are by the clock of who tells them.
fn server_time(model: &Model) -> Timestamp {
    model.shown().time_of("serving")
}

/// How wide each column is.
struct Columns {
    name: usize,
    rest: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        let name = if width < 90 { 18 } else { 36 };
        Self { name, rest: width.saturating_sub(name + STATE + DIGITS + 4) }
    }

    fn heading(&self) -> String {
        format!(" {} {} {} {}", fit("NAME", self.name), fit("STATE", STATE), fit("SHA256", DIGITS), cut("WHAT", self.rest))
    }

    fn line(&self, model: &Model, listed: RegisteredLine<'_>, now: Timestamp, mark: &str) -> Line<'static> {
        let (look, registry) = (model.ui.look, &model.shown().registry);
        let of = listed.model();
        let (name, version, what) = match listed {
            RegisteredLine::Empty(_) => (" -".to_owned(), None, "no version is registered".to_owned()),
            RegisteredLine::Alias(_, alias) => {
                let number = format!(" → v{}", alias.version);
                let name = format!(" {}{number}", cut(&alias.name, self.name.saturating_sub(width(&number) + 1)));
                (name, of.version(alias.version), beside(model, of, alias))
            }
            RegisteredLine::Version(_, version) => (format!("  v{}", version.number), Some(version), about(of, version, now)),
        };
        let standing = registry.standing(version, now);
        let (state, style) = match listed {
            RegisteredLine::Empty(_) => ("-".to_owned(), look.dim()),
            _ if is_blind(model) => (was(standing), look.blind()),
            _ => (short(standing), style(look, standing)),
        };
        let sha256: String = version.map_or("", |version| &version.sha256).chars().take(DIGITS).collect();
        let drifted = matches!(listed, RegisteredLine::Alias(_, alias) if alias.drifted);
        Line::from_iter([
            Span::raw(format!("{mark}{} ", fit(&name, self.name))),
            Span::styled(fit(&state, STATE) + " ", style),
            Span::raw(fit(if sha256.is_empty() { "-" } else { &sha256 }, DIGITS) + " "),
            Span::styled(cut(&what, self.rest), if drifted { look.blind() } else { look.dim() }),
        ])
    }
}

/// What else gets the requests of an alias.
fn beside(model: &Model, of: &Registered, alias: &Alias) -> String {
    let facts = model.shown().registry.facts(&of.name, &alias.name);
    let drift = if alias.drifted { "DRIFTED  " } else { "" };
    let route = facts.map_or("not asked yet".to_owned(), |facts| facts.route.map_or("no route".to_owned(), routed));
    format!("{drift}{route}")
}

fn routed(route: Route) -> String {
    let canary = (route.canary > 0).then(|| format!("canary v{} {}%", route.canary, percent(route.percent)));
    let shadow = (route.shadow > 0).then(|| format!("shadow v{}", route.shadow));
    [canary, shadow].into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// To two digits, as routes have it.
fn percent(percent: f64) -> String {
    if percent.is_finite() { format!("{}", (percent * 100.0).round() / 100.0) } else { "?".to_owned() }
}

fn about(of: &Registered, version: &Version, now: Timestamp) -> String {
    let aliases: Vec<&str> = of.aliases_of(version.number).collect();
    let old = version.registered.map(|at| format!("{} ago", age(span(at, now))));
    let words = [Some(aliases.join(" ")), old, Some(size(version.bytes))];
    words.into_iter().flatten().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ")
}

fn size(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { format!("{}B", quantity(bytes as f64)) }
}

fn short(standing: Standing<'_>) -> String {
    match standing {
        Standing::Ready => "READY".to_owned(),
        Standing::Stale(Some(old)) => format!("READY_STALE({})", age(old)),
        Standing::Stale(None) => "READY_STALE(?)".to_owned(),
        Standing::NotLoaded => "not loaded".to_owned(),
        Standing::NotLoadable(_) => "NOT LOADABLE".to_owned(),
        Standing::Unpinned => "not pinned".to_owned(),
        Standing::Missing => "NOT LISTED".to_owned(),
    }
}

/// Of what cannot be seen now.
fn was(standing: Standing<'_>) -> String {
    format!("░ was {}", short(standing))
}

fn style(look: Look, standing: Standing<'_>) -> Style {
    match standing {
        Standing::Ready => look.good(),
        Standing::Stale(_) => look.blind(),
        Standing::NotLoadable(_) | Standing::Missing => look.bad(),
        Standing::NotLoaded | Standing::Unpinned => look.dim(),
    }
}

/// All that is known of the selected line, in lines of at most so many columns.
pub fn text(model: &Model, columns: usize) -> Vec<Line<'static>> {
    let (look, registry, now) = (model.ui.look, &model.shown().registry, server_time(model));
    let mut told = Told { look, columns, blind: is_blind(model), lines: Vec::new() };
    match model.selected_registered() {
        None => {}
        Some(RegisteredLine::Empty(_)) => told.says("STATE", "no version is registered", look.dim()),
        Some(RegisteredLine::Alias(of, alias)) => {
            let facts = registry.facts(&of.name, &alias.name);
            told.alias(registry, of, alias, facts, now);
            told.facts(model, facts, now);
        }
        Some(RegisteredLine::Version(of, version)) => {
            told.version(registry, version, now);
            told.properties(version);
            let tried = of.aliases.iter().filter_map(|alias| registry.facts(&of.name, &alias.name));
            // Of several aliases the one whose gate spoke last.
            let said = tried.filter_map(|facts| facts.gate(Some(version.number))).max_by_key(|(change, _)| change.at);
            told.gate(said, now);
        }
    }
    told.lines
}

/// Lines with a label before them.
struct Told {
    look: Look,
    columns: usize,
    blind: bool,
    lines: Vec<Line<'static>>,
}

/// Columns of a label.
const LABEL: usize = 9;

impl Told {
    fn says(&mut self, label: &str, text: &str, style: Style) {
        let room = self.columns.saturating_sub(LABEL + 2).max(1);
        for (place, line) in wrap(text, room).into_iter().enumerate() {
            let label = if place == 0 { label } else { "" };
            self.lines.push(Line::from_iter([
                Span::styled(format!(" {} ", fit(label, LABEL)), self.look.label()),
                Span::styled(line, style),
            ]));
        }
    }

    fn version(&mut self, registry: &Registry, version: &Version, now: Timestamp) {
        self.standing(registry.standing(Some(version), now));
        let sha256 = if version.sha256.is_empty() { "pinned by nobody, never served" } else { &version.sha256 };
        // A checksum has no blanks to break at.
        let room = self.columns.saturating_sub(LABEL + 2).max(1);
        let digits: Vec<char> = sha256.chars().collect();
        match version.sha256.is_empty() {
            true => self.says("SHA256", sha256, Style::new()),
            false => digits.chunks(room).enumerate().for_each(|(place, digits)| {
                self.says(if place == 0 { "SHA256" } else { "" }, &digits.iter().collect::<String>(), Style::new());
            }),
        }
        let old = version.registered.map_or("at a time that is not known".to_owned(), |at| format!("{} ago", age(span(at, now))));
        let size = if version.bytes == 0 { String::new() } else { format!(", {} bytes", grouped(version.bytes)) };
        self.says("SINCE", &format!("registered {old}{size}"), Style::new());
    }

    fn standing(&mut self, standing: Standing<'_>) {
        let style = style(self.look, standing);
        match standing {
            _ if self.blind => self.says("STATE", &was(standing), self.look.blind()),
            Standing::NotLoadable(why) => self.says("STATE", &format!("not loadable: {why}"), style),
            Standing::Missing => self.says("STATE", "the registry lists no such version", style),
            Standing::NotLoaded => self.says("STATE", "not loaded: nothing asks for it", style),
            other => self.says("STATE", &short(other), style),
        }
    }

    fn properties(&mut self, version: &Version) {
        for (place, (name, value)) in version.properties.iter().enumerate() {
            self.says(if place == 0 { "SAID OF" } else { "" }, &format!("{name} = {value}"), Style::new());
        }
        if version.more_properties > 0 {
            self.says("", &format!("and {} more", grouped(version.more_properties as u64)), self.look.dim());
        }
    }

    fn alias(&mut self, registry: &Registry, of: &Registered, alias: &Alias, facts: Option<&AliasFacts>, now: Timestamp) {
        self.says("NAMES", &format!("v{}", alias.version), self.look.strong());
        match of.version(alias.version) {
            Some(version) => self.version(registry, version, now),
            None => self.standing(Standing::Missing),
        }
        if alias.drifted {
            let drift = "drifted: it was changed in the registry itself, past its history";
            self.says("BUT", drift, self.look.blind());
        }
        match facts.map(|facts| facts.route) {
            None => {}
            Some(None) => self.says("ROUTE", "none: every request is answered by what it names", self.look.dim()),
            Some(Some(route)) => self.route(route),
        }
    }

    fn route(&mut self, route: Route) {
        if route.canary > 0 {
            let text = format!("v{} answers {}% of the keys", route.canary, percent(route.percent));
            self.says("CANARY", &text, Style::new());
        }
        if route.shadow > 0 {
            self.says("SHADOW", &format!("v{} is asked afterwards, and answers nobody", route.shadow), Style::new());
        }
    }

    fn facts(&mut self, model: &Model, facts: Option<&AliasFacts>, now: Timestamp) {
        let Some(facts) = facts else {
            self.says("HISTORY", "not asked yet", self.look.dim());
            return;
        };
        self.gate(facts.gate(None), now);
        let old = age(model.shown().now.since(facts.at));
        let more = if facts.more { ", the newest of more" } else { "" };
        let entries = counted(facts.history.len() as u64, "entry", "entries");
        self.says("HISTORY", &format!("{entries}, {old} old{more}"), self.look.dim());
        for change in &facts.history {
            self.change(change, now);
        }
    }

    fn gate(&mut self, said: Option<(&Change, &Gate)>, now: Timestamp) {
        let Some((change, gate)) = said else {
            self.says("GATE", "nothing is evaluated that is kept", self.look.dim());
            return;
        };
        let style = match gate.verdict.as_str() {
            "PROMOTE" => self.look.good(),
            "REJECT" => self.look.bad(),
            _ => self.look.label(),
        };
        let when = change.at.map_or(String::new(), |at| format!(", {} ago", age(span(at, now))));
        self.says("GATE", &format!("{} v{} against v{}{when}", gate.verdict, change.to, change.from), style);
        let n = format!("{} matches in {} groups", grouped(gate.matches), grouped(gate.groups));
        self.says("", &n, Style::new());
        for (name, told) in [("RPS", gate.rps), ("log-loss", gate.log_loss)] {
            if let Some([improvement, low, high]) = told {
                let text = format!("{name} better by {improvement:+.4} ({low:+.4} to {high:+.4})");
                self.says("", &text, Style::new());
            }
        }
        if let Some(needs) = &gate.needs {
            self.says("NEEDS", needs, self.look.label());
        }
        if !gate.reasons.is_empty() {
            self.says("BECAUSE", &gate.reasons.join("; "), Style::new());
        }
    }

    /// When, who, from what to what, and why.
    fn change(&mut self, change: &Change, now: Timestamp) {
        let ago = change.at.map_or("?".to_owned(), |at| age(span(at, now)));
        let named = |version: u64| if version == 0 { "-".to_owned() } else { format!("v{version}") };
        let step = format!("{} → {}", named(change.from), named(change.to));
        let verdict = change.gate.as_ref().map(|gate| format!(" {}", gate.verdict)).unwrap_or_default();
        let rest = format!("{step}  {}{verdict}  {}  {}", change.kind.name(), cut(&change.actor, 20), change.reason);
        let line = format!(" {} {}", right(&ago, 5), rest);
        self.lines.push(Line::raw(cut(line.trim_end(), self.columns)));
    }
}
