//! The mouse selects, scrolls and looks; it changes nothing on a server.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod fixture;
#[path = "fixture/scene.rs"]
mod scene;

use fixture::{Console, registry, trouble};
use loadline_console::{
    action::ACTIONS,
    headless,
    model::{
        RegisteredId,
        ui::{Overlay, Pane, Screen},
    },
    msg::{Effect, Mouse, MouseKind, Msg},
    update::mouse::is_harmless,
};
use proptest::prelude::*;
use ratatui::layout::{Position, Size};

const SCREEN: Size = Size { width: 200, height: 60 };

fn used(console: &mut Console, kind: MouseKind, x: u16, y: u16) -> Vec<Effect> {
    console.tell(Msg::Mouse(Mouse { kind, at: Position { x, y }, screen: SCREEN }))
}

/// Where this stands on the screen.
fn place(console: &mut Console, words: &str) -> (u16, u16) {
    console.settle();
    let text = headless::frame(&console.model, SCREEN.width, SCREEN.height);
    let (y, line) = text.lines().enumerate().find(|(_, line)| line.contains(words)).unwrap_or_else(|| panic!("{words}: {text}"));
    let x = line.split(words).next().unwrap().chars().count();
    (x as u16, y as u16)
}

fn click(console: &mut Console, words: &str) -> Vec<Effect> {
    let (x, y) = place(console, words);
    used(console, MouseKind::Click, x, y)
}

#[test]
fn a_click_selects_the_row_under_it_on_each_screen() {
    let mut console = trouble();
    click(&mut console, "AN-09  Ret");
    let selected = format!("{:?}", console.model.ui.row.id().unwrap());
    assert!(selected.contains("AN-09"), "{selected}");
    console.press("t");
    click(&mut console, "cobalt-003");
    assert_eq!(console.model.ui.account.id().map(String::as_str), Some("cobalt-003"));
    console.press("p");
    click(&mut console, "FAILED");
    assert_eq!(console.model.ui.job.id().map(String::as_str), Some("run r1"));
    console.press("e");
    click(&mut console, "300");
    assert_eq!(console.model.ui.letter.id(), Some(&3));
    let mut console = registry::console();
    click(&mut console, "v43  ");
    assert_eq!(console.model.ui.registered.id(), Some(&RegisteredId::Version("match-1x2".to_owned(), 43)));
    let mut console = scene::busy();
    console.press("f");
    click(&mut console, "AN-09");
    assert!(console.model.ui.drill.id().unwrap().starts_with("AN-09 "));
}

#[test]
fn panes_are_entered_and_the_wheel_scrolls_what_is_entered() {
    let mut console = trouble();
    console.press("o g");
    let before = console.model.cursor().unwrap();
    used(&mut console, MouseKind::Down, 1, 1);
    assert_eq!(console.model.cursor(), Some(before + 3));
    used(&mut console, MouseKind::Up, 1, 1);
    assert_eq!(console.model.cursor(), Some(before));
    click(&mut console, "IMPACT");
    assert_eq!(console.model.ui.pane, Pane::Detail);
    used(&mut console, MouseKind::Down, 1, 1);
    assert_eq!((console.model.ui.scroll, console.model.cursor()), (3, Some(before)));
}

#[test]
fn a_click_on_a_key_acts_only_where_nothing_can_be_changed_by_it() {
    let mut console = trouble();
    click(&mut console, "? help");
    assert_eq!(console.model.ui.overlay, Some(Overlay::Help));
    console.press("Esc");
    click(&mut console, "t usage");
    assert_eq!(console.model.ui.screen, Screen::Usage);
    let mut console = scene::busy();
    for words in ["Ctrl-o operate", "q quit", "y yank"] {
        let before = console.model.ui.operate;
        assert_eq!((click(&mut console, words), console.model.ui.operate), (vec![], before), "{words}");
    }
    for entry in ACTIONS {
        assert!(entry.action.remedy().is_none() || !is_harmless(entry.action), "{}", entry.name);
    }
}

#[test]
fn a_card_is_answered_by_keys_alone() {
    let mut console = scene::deciding();
    let (card, row) = (format!("{:?}", console.model.ui.card), console.model.ui.row.id().cloned());
    for kind in [MouseKind::Click, MouseKind::Up, MouseKind::Down] {
        for y in 0..SCREEN.height {
            for x in (0..SCREEN.width).step_by(5) {
                assert_eq!(used(&mut console, kind, x, y), []);
            }
        }
    }
    assert_eq!((format!("{:?}", console.model.ui.card), console.model.ui.row.id().cloned()), (card, row));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn wherever_it_is_used_nothing_is_done_to_a_server(
        steps in prop::collection::vec((0_u8..3, 0_u16..260, 0_u16..90, 0_u16..250, 0_u16..80, prop::sample::select(vec!["b", "t", "p", "e", "f", "i", "x", "Esc", "v", "z", "o"])), 0..12),
    ) {
        let mut console = scene::busy();
        for (kind, x, y, width, height, key) in steps {
            let kind = [MouseKind::Click, MouseKind::Up, MouseKind::Down][usize::from(kind)];
            let at = Position { x, y };
            let effects = console.tell(Msg::Mouse(Mouse { kind, at, screen: Size { width, height } }));
            prop_assert!(!effects.iter().any(|effect| matches!(effect, Effect::Act { .. } | Effect::Quit)), "{:?}", effects);
            prop_assert!(console.model.ui.card.is_none());
            console.press(key);
        }
    }
}
