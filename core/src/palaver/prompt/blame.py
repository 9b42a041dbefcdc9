"""Whose fault it is when a template fails: the file and line that its writer has to mend."""

from __future__ import annotations

from pathlib import Path

from jinja2 import TemplateNotFound, TemplateSyntaxError

from palaver.errors import TemplateError
from palaver.prompt.bounds import Refused

__all__ = ["template_error"]


def template_error(
    err: Exception, file: Path | str | None, line: int | None = None
) -> TemplateError:
    """Return the error to raise for whatever a template raised, with the line it happened at.

    Args:
        err: What was raised while the template was compiled or rendered.
        file: The file it is blamed on if the traceback names none.
        line: The line, likewise.
    """
    if isinstance(err, TemplateError):
        return err
    if isinstance(err, TemplateSyntaxError):
        return TemplateError(
            err.message or "syntax error", file=err.filename or file, line=err.lineno
        )
    trace = err.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            file = template.filename or template.name or file
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return TemplateError(_explain(err), file=file, line=line)


def _explain(err: Exception) -> str:
    if isinstance(err, Refused):
        return str(err)
    if isinstance(err, TemplateNotFound):
        return f"there is no template {err.name!r}; look at the name, and into `templates/`"
    if isinstance(err, RecursionError):
        return "this is nested too deeply; make it flatter"
    if isinstance(err, MemoryError):
        return "this is too large; make it smaller"
    return f"this does not work: {err}"
