"""What all commands have in common: help pages with examples, and one-sentence usage errors.

The library's own ranges, types and error messages say more about the library than about the program.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

import typer
from typer._click.exceptions import (
    BadOptionUsage,
    BadParameter,
    MissingParameter,
    NoSuchOption,
)
from typer._click.exceptions import NoArgsIsHelpError as NoArgsIsHelpError
from typer._click.exceptions import UsageError as UsageError
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

if TYPE_CHECKING:
    from typer._click import Command as AnyCommand
    from typer._click import Context, HelpFormatter

LARGEST = 2**63 - 1
"""The largest integer that SQLite can store. Help pages do not show it as a limit."""

Parameter: TypeAlias = TyperArgument | TyperOption

Function = TypeVar("Function", bound=Callable[..., Any])

_SYNONYMS = {"list": "ls", "delete": "rm", "remove": "rm", "add": "create", "start": "launch", "stop": "cancel"}
"""Names that other programs use for commands of this one."""


class CommandWithExamples(TyperCommand):
    """A command whose help page describes its values in words and ends with examples."""

    # parse_args refuses extra arguments, with a sentence.
    allow_extra_args = True

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            path = ctx.command_path
            ctx.fail(f"{path} does not take {str(rest[0])!r}; {path} --help shows its arguments")
        return rest

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        return _usage_pieces(self, ctx)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        _format_options(self, ctx, formatter)

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        _format_examples(self, formatter)


class GroupWithExamples(TyperGroup):
    """A group of commands. Its help page lists each with the first sentence of its help."""

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, AnyCommand | None, list[str]]:
        name = args[0]
        if ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        raise UsageError(f"there is no command {name!r}; {self._hint(ctx, name)}", ctx)

    def _hint(self, ctx: Context, name: str) -> str:
        meant = _SYNONYMS.get(name, name)
        close = [meant] if meant in self.commands else get_close_matches(name, self.commands, n=1)
        # The user may have left out the group of the command.
        close = close or [
            f"{ctx.command_path} {group} {meant}"
            for group, command in self.commands.items()
            if isinstance(command, TyperGroup) and meant in command.commands
        ]
        if close:
            return f"did you mean {' or '.join(map(repr, close))}?"
        return f"{ctx.command_path} --help lists the commands"

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        _format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        rows = [(name, summary(command)) for name, command in self.commands.items() if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        _format_examples(self, formatter)


class App(typer.Typer):
    """A Typer app whose commands are declared with examples.

    Args:
        summary: the text of the help page; lists of commands show its first sentence.
        examples: command lines for the end of the help page.
    """

    def __init__(self, summary: str, *, examples: Sequence[str] = (), **options: Any) -> None:
        # Plain help: rich would more than double the time of `kdtui --help`.
        plain = {"rich_markup_mode": None, "pretty_exceptions_enable": False, "add_completion": False}
        super().__init__(cls=GroupWithExamples, help=summary, epilog="\n".join(examples), **plain | options)

    def command(  # type: ignore[override]
        self, name: str, *, examples: Sequence[str] = (), **options: Any
    ) -> Callable[[Function], Function]:
        """Declare a command, with examples for the end of its help page."""
        return super().command(name, cls=CommandWithExamples, epilog="\n".join(examples), **options)


def summary(command: AnyCommand) -> str:
    """Return the first sentence of the help of a command."""
    text = " ".join(inspect.cleandoc(command.short_help or command.help or "").split("\n\n")[0].split())
    return f"{text.split('. ')[0].rstrip('.')}."


def examples_of(command: AnyCommand) -> list[str]:
    """Return the example command lines of a help page."""
    return (command.epilog or "").splitlines()


def explain_usage(error: UsageError) -> str:
    """Say in one sentence what is wrong with a command line, and what to do."""
    context: Context | None = getattr(error, "ctx", None)
    page = f"{context.command_path} --help" if context is not None else "kdtui --help"
    if isinstance(error, NoSuchOption):
        return f"no such option {error.option_name}; {_option_hint(error.option_name, context, page)}"
    if isinstance(error, MissingParameter) and error.param is not None:
        return f"{_shown(cast('Parameter', error.param))} is missing; {page} shows the arguments"
    if isinstance(error, BadParameter) and error.param is not None:
        return _explain_value(error, cast("Parameter", error.param))
    if isinstance(error, BadOptionUsage):
        param = _param_named(context, error.option_name)
        if "requires" not in error.message:
            return f"{error.option_name} takes no value"
        return f"{error.option_name} needs a value{f': {error.option_name} {_metavar(param)}' if param else ''}"
    return error.message


def _explain_value(error: BadParameter, param: Parameter) -> str:
    cause = error.__cause__
    if cause is None or not hasattr(cause, "errors"):
        return f"{_name(param)}: {error.message.rstrip('.')}"
    [first, *_] = cause.errors()
    value, descriptor = first["input"], param.type_descriptor
    if descriptor.choices:
        choices = [str(choice) for choice in descriptor.choices]
        close = get_close_matches(str(value), choices, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"{_name(param)} is {_either(choices)}, not {value!r}{hint}"
    kind = _number_kind(param)
    if kind is None:
        return f"{_name(param)}: {str(first['msg']).removeprefix('Value error, ')}"
    if first["type"] == "less_than_equal" and _is_unlimited(param):
        return f"{_name(param)} {value} is too large"
    if first["type"] == "greater_than_equal" and param.min is not None and param.min <= -LARGEST:
        return f"{_name(param)} {value} is too small"
    bounds = _bounds(param)
    return f"{_name(param)} takes {kind}{f', {bounds}' if bounds else ''}, not {value!r}"


def _option_hint(option: str, context: Context | None, page: str) -> str:
    command = context.command if context is not None else None
    if isinstance(command, TyperGroup) and any(
        option in param.opts for each in _below(command) for param in each.params
    ):
        return f"put it after a command: kdtui COMMAND {option}"
    known = [name for param in command.params for name in param.opts] if command is not None else []
    close = get_close_matches(option, [name for name in known if name.startswith("--")], n=1)
    return f"did you mean {close[0]}?" if close else f"{page} lists the options"


def _below(group: TyperGroup) -> Iterable[AnyCommand]:
    for command in group.commands.values():
        yield command
        if isinstance(command, TyperGroup):
            yield from _below(command)


def _param_named(context: Context | None, option: str) -> Parameter | None:
    matches = [] if context is None else [param for param in context.command.params if option in param.opts]
    return cast("Parameter", matches[0]) if matches else None


def _name(param: Parameter) -> str:
    return max(param.opts, key=len) if isinstance(param, TyperOption) else _metavar(param)


def _shown(param: Parameter) -> str:
    return f"{_name(param)} {_metavar(param)}" if isinstance(param, TyperOption) else _metavar(param)


def _either(choices: Sequence[str]) -> str:
    return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)


def _element(param: Parameter) -> Any:
    """Return the type of a value; for a list, that of its elements."""
    annotation = param.type_descriptor.annotation
    return getattr(annotation, "__args__", (annotation,))[0] if param.type_descriptor.is_list else annotation


def _number_kind(param: Parameter) -> str | None:
    kinds: dict[object, str] = {int: "a whole number", float: "a number"}
    return kinds.get(_element(param))


def _metavar(param: Parameter) -> str:
    """Return the placeholder for the value of a parameter in its help."""
    if param.metavar is not None:
        return str(param.metavar)
    if param.type_descriptor.choices:
        return "|".join(map(str, param.type_descriptor.choices))
    if isinstance(param, TyperArgument):
        return param.name.upper()
    kinds: dict[object, str] = {int: "N", float: "NUMBER", Path: "PATH"}
    return kinds.get(_element(param), "TEXT")


def _bounds(param: Parameter) -> str:
    """Describe the range of a number in words; limits that only the database has are left out."""
    low = None if param.min is not None and param.min <= -LARGEST else param.min
    high = None if _is_unlimited(param) else param.max
    if low is None and high is None:
        return ""
    if high is None:
        return f"{low:g} or more"
    return f"{high:g} or less" if low is None else f"{low:g} to {high:g}"


def _is_unlimited(param: Parameter) -> bool:
    """Tell whether a number has no upper limit except that of the database."""
    return param.max is not None and param.max >= LARGEST - 1


def _usage_pieces(command: CommandWithExamples, context: Context) -> list[str]:
    pieces = [command.options_metavar] if command.options_metavar else []
    for param in command.get_params(context):
        if isinstance(param, TyperArgument):
            name = f"{_metavar(param)}{'...' if param.nargs != 1 else ''}"
            pieces.append(name if param.required else f"[{name}]")
    return pieces


def _format_options(command: TyperCommand | TyperGroup, context: Context, formatter: HelpFormatter) -> None:
    arguments, options = [], []
    for param in command.get_params(context):
        if isinstance(param, TyperArgument):
            arguments.append((_metavar(param), _help(param, context)))
        elif isinstance(param, TyperOption) and not param.hidden:
            # The short name comes first: readers look for it on the left.
            names = "/".join([", ".join(sorted(param.opts, key=len)), *param.secondary_opts])
            options.append((names if param.is_flag else f"{names} {_metavar(param)}", _help(param, context)))
    for title, rows in (("Arguments", arguments), ("Options", options)):
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _help(param: TyperArgument | TyperOption, context: Context) -> str:
    default = param.get_default(context, call=False)
    values = default if isinstance(default, list | tuple) else [default]
    shown = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    notes = [_bounds(param) if _number_kind(param) else ""]
    if param.required:
        notes.append("required")
    elif _is_informative(default) and param.show_default:
        notes.append(f"default: {shown}")
    suffix = "; ".join(filter(None, notes))
    return f"{param.help or ''}{f'  [{suffix}]' if suffix else ''}".strip()


def _is_informative(default: object) -> bool:
    """Tell whether a default value is worth showing."""
    return default is not None and default is not False and default not in ("", (), []) and not callable(default)


def _format_examples(command: AnyCommand, formatter: HelpFormatter) -> None:
    examples = examples_of(command)
    if examples:
        with formatter.section("Examples"):
            formatter.write("".join(f"{'':{formatter.current_indent}}{example}\n" for example in examples))
