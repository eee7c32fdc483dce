"""Renders chat templates, which come with models from anywhere, with limits of time and (on Linux) of memory."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from models.errors import ModelError

if TYPE_CHECKING:
    import jinja2
    from jinja2.nodes import Template

_SECONDS = 20.0
"""Seconds that a template can take, the start of its process included."""

_MEMORY = 1 << 30
"""Bytes that it can use."""

_SHORT, _DEEP = 20_000, 30
"""Characters, and nested parts, of a template that is rendered in this process."""

_OF_TEMPLATES = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError),
)
"""Errors that a template can cause besides jinja2's own."""

_LONGEST = 1 << 20
"""Characters that it can write: a template adds a few words to each message."""


_TODAY = date(2025, 1, 1)
"""The date that templates get. With the real one, prompts, saved prefixes and trained prompts would change each day."""


def render_chat_template(template: str, context: Mapping[str, Any]) -> str:
    """Render a template. One that could run for long or fill the memory is rendered in a process of its own.

    Args:
        context: the variables, which can be pickled.

    Raises:
        ModelError: it is not a template, it refuses the messages, or it takes too much; the message is a clause.
    """
    # Imported here: with its dependencies it takes a tenth of a second.
    import jinja2

    environment = _environment()
    try:
        # Compiling computes constants such as 9**9**9, so only what is plain is compiled here.
        if len(template) <= _SHORT and _is_plain(environment.parse(template)):
            return _within_limit(environment.from_string(template), context)
    except (jinja2.TemplateError, *_OF_TEMPLATES) as error:
        raise ModelError(str(error) or type(error).__name__) from error
    from tempfile import TemporaryDirectory

    from models import subprocess_call

    with TemporaryDirectory() as folder:
        target = Path(folder) / "rendered"
        subprocess_call.run_in_process(_render_to, str(target), template, dict(context), patience=_SECONDS)
        return target.read_bytes().decode("utf-8")


def _environment() -> Any:
    """Return the environment of a template, with everything that transformers adds to jinja2."""
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from models.generation_tag import GenerationTag

    def refuse(reason: str) -> NoReturn:
        raise jinja2.TemplateError(reason)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = _TODAY.strftime
    return environment


def _is_plain(parsed: "Template") -> bool:
    """Return whether a template only walks once through the messages and joins texts: that is fast, and short."""
    from jinja2 import nodes

    texts = (nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Add)
    parts = (nodes.Scope, nodes.If, nodes.CondExpr, nodes.Concat)
    tests = (nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not)

    def is_plain(node: nodes.Node, depth: int) -> bool:
        # The time to compile grows faster than the depth.
        return (
            depth < _DEEP
            and (isinstance(node, (*texts, *parts, *tests)) or _walks_messages(node) or _is_refusal(node))
            and all(is_plain(child, depth + 1) for child in node.iter_child_nodes())
        )

    return all(is_plain(node, 0) for node in parsed.body)


def _walks_messages(node: Any) -> bool:
    from jinja2 import nodes

    is_walk = isinstance(node, nodes.For) and isinstance(node.iter, nodes.Name) and node.iter.name == "messages"
    return is_walk and not node.recursive and node.find(nodes.For) is None


def _is_refusal(node: Any) -> bool:
    from jinja2 import nodes

    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "raise_exception"


def _within_limit(template: "jinja2.Template", context: Mapping[str, Any]) -> str:
    rendered = template.render(context)
    if len(rendered) > _LONGEST:
        raise ValueError(f"it writes more than {_LONGEST:,} characters")
    return rendered


def _render_to(target: str, template: str, context: Mapping[str, Any]) -> None:
    """Render in this process, whose memory is limited, to a file."""
    with suppress(ImportError):
        import resource

        # Not on systems without this limit.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    compiled = _environment().from_string(template)
    Path(target).write_bytes(_within_limit(compiled, context).encode("utf-8"))
