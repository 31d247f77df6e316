"""Make a text of each script in ``in_image``, and the command that runs it in a container.

A script and the parts that it imports become one text: each part once, after those that it needs,
without its docstring and its imports of the others. So names are unique over all parts. The install
script writes ``boot`` as a file, so it has that as a text.
"""

import ast
from functools import cache
from importlib import resources

_IN_IMAGE = "flowdeps.delivery.in_image"
_FUTURE = "from __future__ import annotations\n"
_BOOT = 'BOOT = ""'

# Images may have python3 alone. A link that leads nowhere for this user is that of the flow's
# environment: the next Python on the path would be another. No "$(": Kubernetes would read it as
# a reference.
_LAUNCHER = """\
set -f; IFS=:
for python in python3 python; do
  for place in $PATH; do
    if [ -d "$place/$python" ]; then continue; fi
    if [ -x "$place/$python" ]; then exec "$place/$python" -I -X utf8 -c "$0"; fi
    if [ -L "$place/$python" ]; then
      echo "flowdeps: $place/$python can't be run by user `id -u`: put the Python that it links to \
where every user can read it"
      exit 1
    fi
  done
done
echo "flowdeps: the flow's image has no python on its PATH: use an image with Python"
exit 1
"""


def command(name: str) -> list[str]:
    """Return the command that runs a script with the image's own interpreter."""
    return ["/bin/sh", "-c", _LAUNCHER, script(name)]


@cache
def script(name: str) -> str:
    """Return the whole text of a script."""
    docstring = ast.get_docstring(ast.parse(_text(name)), clean=False)
    text = f'"""{docstring}"""\n\n{_FUTURE}\n' + "\n\n".join(_join(name, set()))
    return text.replace(_BOOT, f"BOOT = r'''{_text('boot')}'''")


def _join(name: str, done: set[str]) -> list[str]:
    done.add(name)
    text = _text(name)
    lines = text.splitlines()
    joined: list[str] = []
    for number, node in enumerate(ast.parse(text).body):
        docstring = number == 0 and isinstance(node, ast.Expr)
        source = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        part = source.removeprefix(f"{_IN_IMAGE}.") if source.startswith(_IN_IMAGE) else None
        if docstring or source == "__future__" or part:
            for line in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[line] = ""
        if part and part not in done:
            joined += _join(part, done)
    return [*joined, "\n".join(lines).strip() + "\n"]


def _text(name: str) -> str:
    return resources.files(_IN_IMAGE).joinpath(f"{name}.py").read_text("utf-8")
