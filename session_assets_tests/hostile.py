"""Texts that would act in a page, a terminal or a log, and what a renderer makes of Markdown that holds them."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markdown_it.token import Token

_LAUNCH = "/graphql?query=mutation{launchRun(executionParams:{selector:{jobName:%22web_orphans_apply%22}}){__typename}}"
CONSTRUCTS = (
    f"![]({_LAUNCH})", "![x](http://127.0.0.1:1/i.png 'title')", "![x][r]", "[r]: http://127.0.0.1:1/i.png",
    "[click](javascript:alert(1))", "[a](http://evil.example)", "[a]", "[[a]](b)", "![a](<b c>)", "[^1]", "[^1]: note",
    "<img src=http://127.0.0.1:1/i.png onerror=alert(1)>", "<script>alert(1)</script>", "<svg onload=alert(1)>",
    "<a href='//evil.example'>a</a>", "<iframe src=//evil.example></iframe>", "<style>@import '//evil.example'</style>",
    "<!-- comment -->", "<?php ?>", "<![CDATA[a]]>", "<!DOCTYPE a>", "</td></tr></table>", "<td>", "<base href=//e.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>", "<form action=/graphql><input type=submit>", "&lt;b&gt;",
    "&#60;img src=x&#62;", "\\<b>", "\\![](x)", "\\\\![](x)", "\\", "\\|", "<http://evil.example>", "<m@evil.example>",
    "http://evil.example/a_b_c", "https://evil.example/?a=|b", "HTTP://EVIL.EXAMPLE", "ftp://evil.example/x", "www.evil.com",
    "evil.com", "//evil.example/x", "//localhost/x", "mailto:mary@evil.example", "xmpp:mary@evil.example", "mary@evil.example",
    "a|b|c", "|---|---|", "| a |\n|---|\n| b |", "# heading", "###### heading #", "heading\n===", "heading\n---", "***", "---",
    "___", "- item", "+ item", "* item", "1. item", "1) item", "- [x] task", "> quote", "```\ncode\n```", "~~~\ncode\n~~~",
    "`code`", "``", "`", "``` ` ```", "`http://evil.example`", "    code", "\tcode", "*a*", "**a**", "_a_", "__a__", "~~a~~",
    "a\\\nb", "a  \nb", "\n\nparagraph", "$x$", "$$x$$", "^a^", "==a==", ":::note\n:::", "\u202e\u2066gnp.exe", "\u2028# a",
    "\u2029- a", "\x1b[2J\x1b]8;;http://evil.example\x07a", "\r# a", "\u200b\u2060\ufeff", "\x00", "\ud800", "<\u200bb>",
    "javascript:alert(1)", "data:text/html,<b>", "＜b＞", "{{constructor}}", "${7*7}", "![](data:image/svg+xml;base64,PHN2Zz4=)",
)  # fmt: skip
"""Each would be a picture, link, HTML, block or trick of the terminal if it were not escaped."""
PAYLOADS = tuple(payload for one in CONSTRUCTS for payload in (one, f"before {one} after", f"{one}\n\n{one}|`{one}"))
"""300 texts and a few more."""
ALLOWED = {"p", "table", "thead", "tbody", "tr", "th", "td", "code", "img"}
"""Elements that we make. A picture is a plot of ours: its source is part of the text."""
_PLOT = "data:image/svg+xml;base64,"
_RENDERER = MarkdownIt("commonmark", {"html": True, "linkify": True}).enable(["table", "strikethrough", "linkify"])


def tokens(markdown: str) -> list[Token]:
    """What a renderer of CommonMark with HTML, tables and links makes of a text, with the parts of each line."""
    found = _RENDERER.parse(markdown)
    return [part for token in found for part in (token, *(token.children or ()))]


def assert_inert(markdown: str, where: str) -> None:
    """Nothing but paragraphs, tables, code and plots stands in it."""
    for token in tokens(markdown):
        assert token.type not in ("html_block", "html_inline", "fence", "code_block", "hardbreak"), (where, markdown)
        assert not token.tag or token.tag in ALLOWED, (where, token.tag, markdown)
        assert token.type != "image" or str(token.attrs["src"]).startswith(_PLOT), (where, markdown)


def text_of(found: list[Token]) -> str:
    """What a reader sees of them."""
    return "".join(one.content for one in found if one.type in ("text", "text_special", "code_inline"))


def cells(found: list[Token]) -> list[list[Token]]:
    """The parts of each cell of a table."""
    result: list[list[Token]] = []
    for token in found:
        if token.type in ("th_open", "td_open"):
            result.append([])
        elif result and not token.children:
            result[-1].append(token)
    return result
