"""The configuration of the user: a theme, own themes and keys."""

from pathlib import Path

import pytest
from textual.color import Color

from kdtui.errors import BadFile
from kdtui.tui.actions import ACTIONS, keys_of
from kdtui.tui.app import KdtuiApp, run_app
from kdtui.tui.config import CONFIG, THEMES, Config, config_path, read_config
from kdtui.tui.themes import THEME_NAMES


def test_the_file_is_optional(tmp_path: Path) -> None:
    assert read_config(tmp_path / "none.toml", THEME_NAMES) == Config()


def test_a_theme_and_keys_are_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('theme = "nord"\n[keys]\n"app.quit" = "ctrl+d,Q"\n"table.down" = "j,down,ctrl+n"\n')
    assert read_config(path, THEME_NAMES) == Config("nord", {"app.quit": "ctrl+d,Q", "table.down": "j,down,ctrl+n"})


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('theme = "nord"', encoding="utf-8-sig")
    assert read_config(path, THEME_NAMES).theme == "nord"
    path.write_text('theme = "nord"', encoding="utf-16")
    with pytest.raises(BadFile, match="it is UTF-16 text; save the file as UTF-8"):
        read_config(path, THEME_NAMES)


async def test_an_own_theme_is_used_and_the_theme_key_cycles_back_to_it(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('theme = "mine"\n[themes.mine]\nprimary = "#ff8800"\nbackground = "#101018"\n')
    app = KdtuiApp(tmp_path / "kdtui.db", config=read_config(path, THEME_NAMES))
    async with app.run_test():
        assert app.theme == "mine"
        assert app.screen.styles.background == Color.parse("#101018")
        assert app.current_theme.primary == "#ff8800"
        seen = []
        while "mine" not in seen:
            app.action_next_theme()
            seen.append(app.theme)
        assert set(THEMES) <= set(seen)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("theme = ", "Invalid value"),
        ("\0", "config.toml"),
        ('theme = "pink"', "no theme 'pink'"),
        ('colour = "red"', "no setting 'colour'"),
        ("themes = 3", "themes has a table for each theme"),
        ('themes.mine = "red"', "theme mine is a table of colours"),
        ('theme = ["nord"]', 'theme is the name of a theme in quotes, such as: theme = "nord"; here it is a list'),
        ("theme = 3", "here it is a number"),
        pytest.param(f"theme = {'9' * 5000}", "a number in it has thousands of digits", id="long number"),
        pytest.param(f"theme = {'[' * 5000}", "lists are nested too deeply", id="nested lists"),
        ("theme = true", "here it is true or false"),
        ("theme = {name = 'nord'}", "here it is a table"),
        ("theme = 2026-01-01", "here it is a time"),
        ("keys = ['q']", "keys is a table of actions and keys"),
        ('keys."app.quit" = ["q", "Q"]', "keys: app.quit is a key in quotes"),
        ("[themes.mine]\nprimary = 3", "theme mine: primary is a colour in quotes"),
        ("[themes.mine]\nprimary = ['red']", "here it is a list"),
        ("[[themes.mine]]\nprimary = 'red'", "theme mine is a table of colours"),
        pytest.param("a = " + "[" * 100_000, "docs/app.md describes the file under 'Configuration'", id="too deep"),
        ("[themes.mine]", "theme mine needs a colour primary"),
        ('[themes.nord]\nprimary = "red"', "a theme cannot be called 'nord'; this name is taken"),
        ('[themes."a b"]\nprimary = "red"', "a theme cannot be called 'a b'; use letters"),
        ('[themes.mine]\nprimary = "[red]"', "theme mine: primary is not a colour ('[red]')"),
        ('[themes.mine]\nprimary = "red"\nlight = true', "theme mine has no 'light'"),
        (
            '[themes.mine]\nprimary = "red"\ndark = 3',
            "theme mine: dark is true or false, without quotes; here it is a number",
        ),
        ("keys = 3", "table of actions and keys"),
        ('[keys]\n"app.fly" = "x"', "no action 'app.fly'"),
        ('[keys]\n"app.quit" = "hyper+x"', "no key 'hyper+x'"),
        ('[keys]\n"app.quit" = "f99999"', "no key 'f99999'"),
        ('[keys]\n"app.quit" = ""', "no key ''"),
        ('[keys]\n"app.quit" = "j"', "'j' is given to app.quit and to table.down"),
    ],
)
def test_a_wrong_setting_gives_a_message(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(BadFile) as caught:
        read_config(path, THEME_NAMES)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_app_does_not_start_with_a_wrong_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my config.toml"
    path.write_text('theme = "pink"')
    monkeypatch.setenv(CONFIG, str(path))
    with pytest.raises(BadFile, match=r"my config\.toml: there is no theme 'pink'"):
        run_app(tmp_path / "kdtui.db")


def test_the_file_is_in_the_configuration_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFIG, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_path() == tmp_path / "kdtui" / "config.toml"


def test_the_themes_of_the_theme_key_exist() -> None:
    assert set(THEMES) <= THEME_NAMES


def test_names_of_actions_are_unique_and_their_keys_are_keys(tmp_path: Path) -> None:
    names = [action.id for action in ACTIONS]
    assert len(names) == len(set(names))
    path = tmp_path / "config.toml"
    # The default keys are valid in a configuration.
    lines = [f'"{name}" = "{",".join(keys)}"' for name, keys in keys_of({}).items()]
    path.write_text("[keys]\n" + "\n".join(lines))
    assert len(read_config(path, THEME_NAMES).keymap) == len(names)
