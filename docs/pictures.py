"""Makes the pictures of the documentation out of real runs: `python docs/pictures.py`.

What a terminal shows becomes SVG, which is text, sharp, and light or dark as its reader likes it. Pages become PNG by a
headless Chromium; where there is none, those pictures stay as they are. Needs what `make check` installs.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

from reconciler.clock import now
from reconciler.demo.pki import Authority, Lifetime
from reconciler.demo.upstreams import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PICTURES = Path(__file__).parent / "pictures"
COLUMNS = 112
"""Longer lines go on in the next one, as they do in a terminal."""

LINE, CHARACTER, MARGIN = 18, 7.83, 14
ESCAPE = re.compile(r"\x1b\[([\d;]*)m")
LOOKS = {"1": "bold", "2": "dim", "31": "red", "32": "green", "33": "yellow", "36": "cyan"}
STYLE = """
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; }
.screen { fill: #f6f8fa; stroke: #d1d9e0; } text { fill: #1f2328; } .bold { font-weight: 600; }
.dim { fill: #59636e; } .red { fill: #c21c2c; } .green { fill: #116329; } .yellow { fill: #7d4e00; }
.cyan { fill: #0a5b83; }
@media (prefers-color-scheme: dark) {
  .screen { fill: #0d1117; stroke: #3d444d; } text { fill: #e6edf3; } .dim { fill: #9198a1; }
  .red { fill: #ff7b72; } .green { fill: #7ee787; } .yellow { fill: #e3b341; } .cyan { fill: #79c0ff; }
}
"""
GITHUB = """
body { font: 14px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; color: #1f2328; }
body { margin: 16px; } .box { border: 1px solid #d1d9e0; border-radius: 6px; }
.by { background: #f6f8fa; padding: 8px 16px; color: #59636e;
border-bottom: 1px solid #d1d9e0; border-radius: 6px 6px 0 0; } .said { padding: 4px 16px 12px; }
code { font: 85% ui-monospace, "DejaVu Sans Mono", monospace; background: #818b981f; padding: .2em .4em; }
code { border-radius: 6px; white-space: break-spaces; }
h3 { font-size: 1.25em; margin: 12px 0 8px; } h4 { font-size: 1em; margin: 16px 0 8px; } p { margin: 0 0 10px; }
table { border-collapse: collapse; margin: 4px 0 10px; } td, th { border: 1px solid #d1d9e0; padding: 6px 13px; }
summary { cursor: pointer; } details { margin: 0 0 10px; }
"""


class Repository:
    """Manifests of a company, in git."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lifetime = Lifetime.around(now(), days=800)
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RECONCILER_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RECONCILER_CACHE_DIR": str(directory.parent / "cache"),
            "CLICOLOR_FORCE": "1",
        }

    def shown(self, command: str) -> str:
        """Type a command, and return what a terminal shows of it."""
        ended = subprocess.run(  # noqa: S603 - words of this file
            ["/bin/bash", "-c", command],
            cwd=self.directory,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ended.stdout.replace(f"{self.directory}/", "")

    def root(self, name: str, title: str) -> None:
        """Put the certificate of a new CA beside the manifests."""
        (self.directory / f"gateways/{name}.pem").write_text(Authority.root(title, self.lifetime).pem)

    def gateway(self, name: str, url: str, *lines: str) -> None:
        """Write a manifest; the lines are further fields of its `spec`."""
        spec = "".join(f"  {line}\n" for line in (f"url: {url}", "transport: streamable-http", *lines))
        text = f"apiVersion: reconciler/v1\nkind: Gateway\nmetadata:\n  name: {name}\nspec:\n{spec}"
        (self.directory / f"gateways/{name}.yaml").write_text(text)

    def commit(self) -> None:
        """Commit everything."""
        self.shown("git add --all && git -c user.name=Ada -c user.email=ada@example.com commit --quiet -m change")


@contextmanager
def repository() -> Iterator[Repository]:
    """Make a first repository that has three gateways, and apply it."""
    with tempfile.TemporaryDirectory() as directory:
        made = Repository(Path(directory) / "gateways-repo")
        made.directory.mkdir()
        made.shown("git init --quiet --initial-branch=main . && reconciler init . && rm gateways/example.yaml")
        made.root("payments-root", "Payments Root CA")
        made.gateway("payments", "https://payments.internal:8443/mcp", "tls:", "  caCertificates: [payments-root.pem]")
        made.gateway("search", "https://search.internal/mcp", "description: Full text")
        made.gateway("legacy", "https://legacy.internal/mcp")
        made.commit()
        made.shown("reconciler apply --no-verify")
        yield made


def problems() -> str:
    """Return what `validate` says of three mistakes."""
    with repository() as made:
        (made.directory / "gateways/old-root.pem").write_text(Authority.root("Old CA", Lifetime.expired(now())).pem)
        (made.directory / "gateways/tls.key").write_text("")
        made.gateway("payments", "https://payments.internal:8443/mcp", "tls:", "  caCertficates: [payments-root.pem]")
        made.gateway("search", "https://search.internal/mcp", "tls:", "  caCertificates: [old-root.pem]")
        made.gateway("legacy", "http://legacy.internal/mcp", "auth: {type: bearer, token: sk-live-4242}")
        return made.shown("reconciler validate")


def change(made: Repository) -> None:
    """Change what a week changes: a CA rotation, a new gateway, one that goes, and a URL."""
    made.root("payments-root-g2", "Payments Root CA G2")
    both = ("tls:", "  caCertificates: [payments-root.pem, payments-root-g2.pem]")
    made.gateway("payments", "https://payments.internal:8443/mcp", *both)
    made.gateway("search", "https://search-2.internal/mcp", "description: Full text")
    made.gateway("mail", "https://mail.internal/mcp", "tls: {caCertificates: [payments-root.pem]}")
    (made.directory / "gateways/legacy.yaml").unlink()
    made.commit()


def plan() -> str:
    """Return the plan for these changes."""
    with repository() as made:
        change(made)
        return made.shown("reconciler plan --prune")


def comment() -> str:
    """Return the comment on a pull request with these changes, as Markdown."""
    with repository() as made:
        change(made)
        del made.environ["CLICOLOR_FORCE"]
        return made.shown("reconciler plan --base HEAD~1 --output markdown")


def as_svg(command: str, text: str) -> str:
    """Return a terminal in which a command was typed."""
    lines = [f'<tspan class="dim">$ </tspan><tspan class="bold">{html.escape(command)}</tspan>', *_dressed(text)]
    width, height = round(COLUMNS * CHARACTER + 2 * MARGIN), len(lines) * LINE + 2 * MARGIN
    shown = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + LINE * number + 13}">{line}</text>' for number, line in enumerate(lines)
    )
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    screen = f'<rect class="screen" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="6"/>'
    opened = f'<svg xmlns="http://www.w3.org/2000/svg" xml:space="preserve" {size}>'
    return f"{opened}\n<style>{STYLE}</style>\n{screen}\n{shown}\n</svg>\n"


def _dressed(text: str) -> Iterator[str]:
    for line in text.rstrip().splitlines():
        codes, *parts = ["", *ESCAPE.split(line)]
        letters = [
            (codes, letter) for codes, part in zip([codes, *parts[1::2]], parts[::2], strict=True) for letter in part
        ]
        indent = [("", " ")] * (len(line) - len(line.lstrip()) + 2)
        while len(letters) > COLUMNS:
            end = max(place for place, (_, letter) in enumerate(letters[:COLUMNS]) if letter == " ")
            yield _spans(letters[:end])
            letters = indent + letters[end + 1 :]
        yield _spans(letters)


def _spans(letters: Iterable[tuple[str, str]]) -> str:
    shown = ""
    for codes, run in groupby(letters, key=itemgetter(0)):
        text = html.escape("".join(letter for _, letter in run))
        looks = " ".join(LOOKS[code] for code in codes.split(";") if code in LOOKS)
        shown += f'<tspan class="{looks}">{text}</tspan>' if looks else text
    return shown


def as_page(markdown: str) -> str:
    """Return a page that shows a comment much as GitHub does."""
    from markdown_it import MarkdownIt

    said = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    opened = re.sub(r"<details>(?=<summary>.*CA rotation)", "<details open>", said)
    by = '<div class="by"><b>github-actions</b> commented</div>'
    head = f'<!doctype html><meta charset="utf-8"><style>{GITHUB}</style>'
    return f'{head}<div class="box">{by}<div class="said">{opened}</div></div>'


def photograph(browser: str, url: str, picture: Path, size: tuple[int, int], *, dark: bool = False) -> None:
    """Have a browser show a page, and keep what it shows."""
    words = ["--headless", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=1.25"]
    words += [f"--window-size={size[0]},{size[1]}", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command = [browser, *words, f"--screenshot={picture}", url]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - words of this file


@contextmanager
def status_page() -> Iterator[str]:
    """Run the daemon over gateways that work, and one that does not, and give the address of its page."""
    with repository() as made, ExitStack() as stack:
        root = Authority.root("Payments Root CA", made.lifetime)
        (made.directory / "gateways/payments-root.pem").write_text(root.pem)
        for name in ("payments", "search", "mail"):
            server = Upstream(name, root.issue_server(["localhost"]), {"charge": "Charge", "refund": "Refund"})
            url = stack.enter_context(server).url
            made.gateway(name, url, "tls: {caCertificates: [payments-root.pem]}")
        made.root("other-root", "Other Root CA")
        made.gateway("legacy", url.replace("/mcp", "/legacy"), "tls: {caCertificates: [other-root.pem]}")
        made.commit()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        words = [sys.executable, "-m", "reconciler", "watch", "--listen", f"127.0.0.1:{port}"]
        daemon = subprocess.Popen(  # noqa: S603 - words of this file
            words, cwd=made.directory, env=made.environ, stderr=subprocess.DEVNULL
        )
        try:
            _await_looks(f"http://127.0.0.1:{port}/status?format=json")
            yield f"http://127.0.0.1:{port}/status"
        finally:
            daemon.terminate()
            daemon.wait()


def _await_looks(url: str) -> None:
    """Wait until the daemon has looked at every upstream."""
    for _ in range(100):
        time.sleep(0.2)
        try:
            with urlopen(url) as answer:  # noqa: S310 - a daemon of ours
                shown = json.dumps(json.load(answer))
        except OSError:
            continue
        if shown.count("McpAnswered") >= 3 and "IntermediateMissing" in shown:  # noqa: PLR2004 - the three that work
            return


def main() -> None:
    """Make every picture."""
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "validate.svg").write_text(as_svg("reconciler validate", problems()))
    (PICTURES / "plan.svg").write_text(as_svg("reconciler plan --prune", plan()))
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("There is no Chromium here: the pictures of pages are as they were.")
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory) / "comment.html"
        page.write_text(as_page(comment()))
        photograph(browser, page.as_uri(), PICTURES / "comment.png", (920, 640))
    with status_page() as url:
        for name, dark in (("light", False), ("dark", True)):
            photograph(browser, url, PICTURES / f"status-{name}.png", (1000, 560), dark=dark)


if __name__ == "__main__":
    main()
