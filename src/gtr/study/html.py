"""The skeleton that every page shares: one file that loads nothing, on light and dark screens."""

import base64
from collections.abc import Iterable
from html import escape


def document(title: str, body: Iterable[str], css: str = "") -> str:
    """A whole page.

    Args:
        title: of the window, as plain text.
        body: elements of the page's body.
        css: rules of this page beside those that all pages share.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}{css}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def header(kind: str, title: str, facts: Iterable[str]) -> str:
    """The page's head: what it is, its name, and facts in one line, all as plain text."""
    return (
        f"<header><p class=kind>{escape(kind)}</p><h1>{escape(title)}</h1>"
        f"<p class=facts>{' · '.join(escape(fact) for fact in facts)}</p></header>"
    )


def section(name: str, heading: str, *inner: str) -> str:
    """A section that links can point to.

    Args:
        name: its identifier, unique in the page.
        heading: as plain text.
        *inner: elements.
    """
    return f"<section id={name}><h2>{escape(heading)}</h2>{''.join(inner)}</section>"


def figure(label: str, svg: str, caption: str) -> str:
    """A figure with its caption.

    Args:
        label: what a screen reader says, as plain text.
        svg: the element, as `style.as_svg` makes it.
        caption: as plain text.
    """
    return (
        f'<figure><div role=img aria-label="{escape(label)}">{svg}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def animation(label: str, gif: bytes, caption: str) -> str:
    """A moving picture with its caption, inside the page as all else is.

    Args:
        label: what a screen reader says, as plain text.
        gif: the picture.
        caption: as plain text.
    """
    source = f"data:image/gif;base64,{base64.b64encode(gif).decode()}"
    return (
        f'<figure><img alt="{escape(label)}" src="{source}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def rerun(command: str) -> str:
    """How the page's numbers were made, or that it was not recorded."""
    if not command:
        return "<p>The command was not recorded.</p>"
    return f"<p>Run it again with</p><pre>{escape(command)}</pre>"


_CSS = """
:root{color-scheme:light dark;--ink:#1f2430;--faint:#6c7482;--grid:#dfe3e9;--stripe:#f4f6f9;
--paper:#fefefe;--good:#00734f;--bad:#b3402a}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ec;--faint:#98a1b0;--grid:#353b47;
--stripe:#1f242d;--paper:#171a21;--good:#4cc38a;--bad:#ff8a6b}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:64rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:2rem;line-height:1.2;margin:0}
h2{font-size:1.25rem;margin:3rem 0 .75rem}
.kind{margin:0;color:var(--faint);font-size:.9rem}
.facts{margin:.4rem 0 0;color:var(--faint)}
.answer{margin-top:1.75rem;padding:1.25rem 1.5rem;border:1px solid var(--grid);
border-radius:10px;background:var(--stripe)}
.headline{font-size:1.2rem;font-weight:600;margin:0}
.verdicts{margin-top:.75rem}
.verdicts td.word{text-align:left;font-weight:600;white-space:nowrap}
th[scope=row]{white-space:nowrap}
.verdicts thead th:nth-child(2){text-align:left}
.better .word{color:var(--good)}
.worse .word{color:var(--bad)}
.open .word{color:var(--faint)}
.notes{margin:.9rem 0 0;padding-left:1.1rem;font-size:.9rem}
figure{margin:0}
figure svg{display:block;width:100%;height:auto}
figure img{display:block;max-width:100%;height:auto;border-radius:6px}
figcaption,.key{color:var(--faint);font-size:.9rem;margin:.5rem 0 0;max-width:54rem}
.wide{overflow-x:auto;margin-bottom:.5rem}
.key{margin-bottom:1.5rem}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.45rem .6rem;text-align:right;border-bottom:1px solid var(--grid);
vertical-align:top}
th:first-child{text-align:left}
thead th{font-weight:600;color:var(--faint);vertical-align:bottom;line-height:1.25}
td small{display:block;color:var(--faint);white-space:nowrap}
.special th,.special td{color:var(--faint);font-weight:400}
pre{overflow-x:auto;padding:.8rem 1rem;border:1px solid var(--grid);border-radius:8px;
background:var(--stripe);font-size:.85rem}
summary{cursor:pointer;padding:.25rem 0}
@media print{main{max-width:none}section{break-inside:avoid}}
"""
