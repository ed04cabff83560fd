"""Where the code still uses the old names, as an asset: by file and folder, over revisions, and the check that none is left."""

from collections import Counter
from typing import Any

import dagster as dg
import polars as pl

from session_assets.changes.evidence import Figures, Lack
from session_assets.errors import BadInput
from session_assets.flow.code_facts import by_file, by_folder, frames, totals, unread
from session_assets.flow.code_history import trend
from session_assets.flow.code_model import LEFT_OUT, REASONS, REFERENCES, SLICE, VARIABLE
from session_assets.flow.code_python import tokenized_by
from session_assets.flow.code_scan import LANGUAGES, OTHER, scan_many
from session_assets.flow.code_tree import CodeSettings, Tree
from session_assets.graph.check_result import ERROR, WARN, CheckResult, reported
from session_assets.graph.environment import Environment
from session_assets.graph.markdown import Markdown, md, md_table
from session_assets.graph.plots import count_lines
from session_assets.graph.tables import column_schema
from session_assets.graph.target import StepTarget
from session_assets.masking import safe_text

OWNERS = ["team:data-platform"]
KEY = dg.AssetKey([SLICE, "code_references"])
NO_ACTIVE, READ = "no_active_references", "code_files_are_read"
REPORT = "checks_code"
REFERENCES_FILE, FILES_FILE, TREND_FILE = (f"flow/code_{name}.parquet" for name in ("references", "files", "trend"))
_SHOWN, _LINES = 20, 12
_NEXT = "Replace them with the flow's name; what must stay goes on the allow-list, FLOW_CODE_ALLOW (docs/flow/code.md)."
_NEXT_UNREAD = "Correct the files, raise FLOW_CODE_MAX_BYTES, or put them on the allow-list, FLOW_CODE_ALLOW."
_NO_CODE = f"no file below FLOW_CODE_ROOT is of a language that is tokenized here ({', '.join(LANGUAGES)})"


@dg.asset(
    key=KEY,
    group_name=SLICE,
    owners=OWNERS,
    kinds={"python", "git", "parquet"},
    check_specs=[
        dg.AssetCheckSpec(
            NO_ACTIVE,
            asset=KEY,
            blocking=True,
            description="No identifier or string holds a name of the sessions; nothing that may hold one was left out.",
        ),
        dg.AssetCheckSpec(READ, asset=KEY, description="Every file that may hold such a name was read to its end."),
    ],
    metadata={"dagster/column_schema": column_schema(REFERENCES)},
)
def code_references(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Every token of a source tree that holds an old name: identifiers, strings and comments apart, with a trend."""
    environment, settings = Environment.load(), CodeSettings.from_env()
    tree = Tree(settings)
    references, files = frames(scan_many(tree.files(), settings.names, settings.largest, settings.processes), settings)
    environment.storage.write_parquet(REFERENCES_FILE, references)
    environment.storage.write_parquet(FILES_FILE, files)
    history, note = _history(environment, settings)
    if note:
        context.log.warning(note)
    missed = _left_out(files, tree)
    figures = _figures(files, tree)
    results = [_no_active(environment, references, figures, len(missed[1]), tree), _read(environment, figures, *missed)]
    environment.report(context.run_id, REPORT, reported(results))
    lack = results[0].lack
    said = {"unit": "files", **figures.as_dict(), "lack": None if lack is None else lack.as_dict()}
    environment.report(context.run_id, "verify", said)
    return dg.MaterializeResult(
        asset_key=KEY,
        metadata=_metadata(environment, settings, tree, references, files, history, note),
        check_results=[one.result(KEY) for one in results],
    )


def _history(environment: Environment, settings: CodeSettings) -> tuple[pl.DataFrame | None, str]:
    """The trend, or why there is none."""
    if not settings.revisions:
        return None, "no trend: FLOW_CODE_REVISIONS is 0"
    try:
        found, _ = trend(environment.storage, settings)
    except BadInput as error:
        return None, f"no trend: {error}"
    environment.storage.write_parquet(TREND_FILE, found)
    return found, ""


def _figures(files: pl.DataFrame, tree: Tree) -> Figures:
    """Every file of the tree in one state: searched, of no kind that is searched or on the allow-list, or not read."""
    missed = unread(files).height
    judged = files.filter((pl.col("language") != OTHER) & ~pl.col("allowed")).height
    judged -= unread(files).filter(pl.col("language") != OTHER).height
    return Figures(judged, tree.seen.total() - judged - missed, 0, missed)


def _no_active(
    environment: Environment, references: pl.DataFrame, figures: Figures, missed: int, tree: Tree
) -> CheckResult:
    """Passes only if nothing was left out: what was not read may hold a reference."""
    counts = totals(references)
    worst = by_file(references).filter(pl.col("active") > 0)
    places = [
        f"{path}:{','.join(map(str, lines[:_LINES]))}" for path, lines in worst.select("path", "lines").iter_rows()
    ]
    text = (
        f"{counts['active']:,} active references ({counts['identifiers']:,} identifiers, {counts['strings']:,} strings)"
        f" in {worst.height:,} files; comments {counts['comments']:,}, allowed {counts['allowed']:,}."
    )
    if counts["active"]:
        text = f"{text} {'; '.join(places[:5])}."
    return CheckResult(
        NO_ACTIVE,
        figures,
        counts["active"],
        text,
        ERROR,
        _NEXT,
        places,
        {"references": str(environment.storage.path(REFERENCES_FILE))},
        lack=None
        if counts["active"]
        else _lack(text, figures, missed, tree, environment.settings.max_unreadable_share),
    )


def _lack(text: str, figures: Figures, missed: int, tree: Tree, most: float) -> Lack | None:
    """Why a search that found nothing proves nothing."""
    if tree.seen.total() == tree.seen[OTHER]:
        root = safe_text(str(tree.settings.root))
        step = f"Set {VARIABLE} to the folder of the source code, then run it again."
        return Lack(f"{root} ({VARIABLE}): {tree.seen.total():,} files, and {_NO_CODE}", step)
    if missed:
        is_error = _too_many(figures, most) is not None
        return Lack(f"{text} But {missed:,} left out may hold some: see {READ}", _NEXT_UNREAD, is_error=is_error)
    return None


def _too_many(figures: Figures, most: float) -> Lack | None:
    """Why a search that read too few of the files proves nothing; `most` is the share that may be unreadable."""
    if figures.unreadable <= most * figures.applicable:
        return None
    share = figures.unreadable / figures.applicable
    return Lack(
        f"{figures.unreadable:,} of {figures.applicable:,} files that may hold a name were not read to their end ({share:.2%}),"
        f" more than SESSION_ASSETS_MAX_UNREADABLE_SHARE={most:g} allows.",
        _NEXT_UNREAD,
    )


def _left_out(files: pl.DataFrame, tree: Tree) -> tuple[list[str], list[str]]:
    """What was not read and may hold a name: words, and places."""
    missed = unread(files)
    reasons = Counter(missed["reason"].to_list())
    said = [f"{count:,} {'file' if count == 1 else 'files'}: {REASONS[name]}" for name, count in reasons.most_common()]
    places = [
        path if line is None else f"{path}:{line}" for path, line in missed.select("path", "problem_line").iter_rows()
    ]
    for what in filter(tree.left_out.__contains__, LEFT_OUT):
        said.append(f"{LEFT_OUT[what]}: {len(tree.left_out[what]):,}")
        places.extend(map(safe_text, tree.left_out[what]))
    return (said, places) if tree.seen.total() > tree.seen[OTHER] else ([*said, _NO_CODE], [*places, "."])


def _read(environment: Environment, figures: Figures, said: list[str], places: list[str]) -> CheckResult:
    text = "; ".join(said) or f"0 of {figures.read:,} files"
    return CheckResult(
        READ,
        figures,
        len(places),
        f"{text}. {'; '.join(places[:5])}" if places else text,
        WARN,
        _NEXT_UNREAD,
        places,
        {"files": str(environment.storage.path(FILES_FILE))},
        lack=_too_many(figures, environment.settings.max_unreadable_share),
    )


def _metadata(
    environment: Environment,
    settings: CodeSettings,
    tree: Tree,
    references: pl.DataFrame,
    files: pl.DataFrame,
    history: pl.DataFrame | None,
    note: str,
) -> dict[str, Any]:
    named = ["active", "identifiers", "strings", "comments", "allowed"]
    states = files.with_columns(pl.col("reason").fill_null("read to the end")).group_by("state", "reason").len()
    return {
        "dagster/row_count": references.height,
        **totals(references),
        "names": ", ".join(settings.names.names),
        "tokenized_by": tokenized_by(),
        "by_folder": md(md_table(by_folder(references).head(_SHOWN).rows(), ["folder", *named])),
        "by_file": md(md_table(by_file(references).head(_SHOWN).drop("lines").rows(), ["file", *named])),
        "files": md(md_table(states.sort("state", "reason").rows(), ["state", "reason", "files"])),
        "files_of_other_kinds": f"{tree.seen[OTHER]:,}, of which {files['language'].eq(OTHER).sum():,} hold a name",
        "folders_passed_over": ", ".join(f"{name} {count}" for name, count in sorted(tree.passed_over.items()))
        or "none",
        "allow_list": ", ".join(settings.allowed),
        "path": dg.MetadataValue.path(str(environment.storage.path(REFERENCES_FILE))),
        **({} if history is None else {"trend": md(_plot(history))}),
        **({"note": note} if note else {}),
    }


def _plot(history: pl.DataFrame) -> Markdown:
    points = [f"{at:%m-%d} {revision[:4]}" for at, revision in history.select("at", "revision").iter_rows()]
    lines = [(name, history[name].to_list()) for name in ("identifiers", "strings", "comments", "allowed")]
    first, last = (history[name].to_list() for name in ("identifiers", "strings"))
    active = [one + two for one, two in zip(first, last, strict=True)]
    return count_lines(
        f"Active references: {active[0]:,} → {active[-1]:,} over {len(points)} revisions"
        if points
        else "No revision so far",
        points,
        lines,
    )


ASSETS = [code_references]
CHECKS: list[dg.AssetChecksDefinition] = []
JOBS = [
    dg.define_asset_job(
        "flow_code", selection=dg.AssetSelection.assets(KEY), description="Search the source tree for the old names."
    )
]
TARGETS = [StepTarget(f"{SLICE}/code", VARIABLE, verify="flow_code", checks=(REPORT,))]
