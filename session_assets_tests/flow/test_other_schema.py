"""Another schema is another value of `Migration`: other names, numbers as ids, a key of two columns, NOT NULL."""

from __future__ import annotations

import psycopg
import pytest

from session_assets.errors import PlanRefused
from session_assets.flow.model import Flows, Linked, Migration, Sessions
from session_assets_tests.flow.scenario import Guide, PlantedFlow, contracted, downgraded

_SCHEMA = """
    CREATE SCHEMA batch;
    CREATE TABLE batch.loads (load_no bigint PRIMARY KEY, label text, tenant text NOT NULL);
    CREATE TABLE batch.runs (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run_key uuid NOT NULL UNIQUE, "Load" bigint,
        tenant text NOT NULL, begun timestamptz NOT NULL, phase text NOT NULL, title varchar(30));
    CREATE TABLE batch."Rows" (part int, line int, load_no bigint NOT NULL DEFAULT 1 REFERENCES batch.loads, tenant text,
        body text, written timestamptz, PRIMARY KEY (part, line), CHECK (load_no > 0));
    CREATE UNIQUE INDEX one_body ON batch."Rows" (load_no, body) WHERE line > 0;
    CREATE TABLE batch.notes (id text PRIMARY KEY, load_name text COLLATE "C");
    INSERT INTO batch.loads SELECT n, 'load ' || n, 'tenant ' || n % 3 FROM generate_series(1, 40) n;
    INSERT INTO batch.runs (run_key, "Load", tenant, begun, phase, title)
        SELECT md5('run ' || n)::uuid, n, 'tenant ' || n % 3, '2024-01-01', 'done', 'run' FROM generate_series(1, 30) n;
    INSERT INTO batch."Rows" SELECT n / 10, n % 10, 1 + n % 40, 'tenant', 'row ' || n, '2024-02-01'
        FROM generate_series(0, 199) n;
    INSERT INTO batch.notes SELECT 'note ' || n, CASE n % 3 WHEN 0 THEN 'no load' WHEN 1 THEN (1 + n % 40)::text END
        FROM generate_series(1, 60) n;
"""
OTHER = Migration(
    sessions=Sessions("batch.loads", key="load_no", title="label", created=None),
    flows=Flows(
        "batch.runs", flow="run_key", session="Load", created="begun", status="phase", scope=("tenant",), active=("busy",),
        literals={"phase": "made"}, titled=("title", "a longer title than fits for {}"),
    ),
    linked=(
        Linked('batch."Rows"', "load_no", "fill", flow="run_key", on_delete="NO ACTION"),
        Linked("batch.notes", "load_name", "replace", flow="run_name"),
    ),
)  # fmt: skip
_CATALOGUE = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
           a.attcollation::regcollation::text
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'batch'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relname !~ '^session_assets'
    UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated, NULL, NULL FROM pg_constraint
    WHERE connamespace = 'batch'::regnamespace AND contype <> 'n' AND conrelid::regclass::text !~ 'session_assets'
    ORDER BY 1, 2
"""


@pytest.fixture
def other(postgres_url: str) -> Guide:
    with psycopg.connect(postgres_url) as connection:
        connection.execute(_SCHEMA.encode())
    return Guide(postgres_url, PlantedFlow(0))


def test_another_schema_goes_there_and_back(other: Guide) -> None:
    tables = ('"Rows"', "notes", "loads", "runs")
    before, rows = (
        other.all(_CATALOGUE),
        [other.all(f"SELECT to_jsonb(t) FROM batch.{one} t ORDER BY 1") for one in tables],
    )
    with pytest.raises(PlanRefused, match=r"'no load'.* raise SESSION_ASSETS_MAX_UNREADABLE_SHARE"):
        contracted(other.flow(migration=OTHER, batch=7, unmapped_share=1))
    flow = other.flow(migration=OTHER, batch=7, unmapped_share=1, unreadable_share=0.5)
    contracted(flow)
    assert not other.all("""SELECT FROM batch."Rows" t LEFT JOIN batch.runs r USING (run_key) WHERE r.no IS NULL""")
    right = """
        SELECT count(*) FROM batch."Rows" t JOIN batch.runs r USING (run_key)
        JOIN batch.session_assets_flow_archive_runs a ON a.key1 = r.no WHERE a.old_value = 1 + (part * 10 + line) % 40
    """
    assert other.one(right) == 200
    assert other.one("SELECT count(*) FROM batch.runs WHERE phase = 'made'") == 10
    assert other.one("SELECT count(*) FROM batch.notes n JOIN batch.runs r ON r.run_key::text = n.run_name") == 20
    assert other.one("SELECT count(old_value) FROM batch.session_assets_flow_archive_notes") == 40
    downgraded(flow)
    assert other.all(_CATALOGUE) == before
    assert [other.all(f"SELECT to_jsonb(t) FROM batch.{one} t ORDER BY 1") for one in tables] == rows


def test_a_column_comes_back_without_not_null_over_newer_rows_and_is_named(other: Guide) -> None:
    before = other.all(_CATALOGUE)
    flow = other.flow(migration=OTHER, unmapped_share=1, unreadable_share=0.5)
    contract = contracted(flow)
    other.run("""INSERT INTO batch."Rows" (part, line) VALUES (99, 1)""")
    for dry_run in (True, False):
        undone = flow.undo(contract, dry_run=dry_run)
        statement = 'ALTER TABLE "batch"."Rows" ALTER "load_no" SET NOT NULL'
        assert undone["missing"] == [f'batch."Rows".load_no has no NOT NULL: {statement}']
        assert [(one.word, one.key) for one in undone["left"]] == [("no_value", "[99, 1]")]
    assert not other.findings(flow)["conditions_are_restored"].passed
    other.run(f"""UPDATE batch."Rows" SET load_no = 2 WHERE part = 99; {statement}""")
    assert other.findings(flow)["conditions_are_restored"].passed
    downgraded(flow)
    assert other.all(_CATALOGUE) == before


@pytest.mark.parametrize(("kind", "number"), [("bigint", 2**63 - 1), ("integer", 2**31 - 1), ("smallint", 2**15 - 1)])
def test_numbers_that_a_text_column_holds_are_followed_up_to_their_size(other: Guide, kind: str, number: int) -> None:
    other.run('ALTER TABLE batch."Rows" DROP CONSTRAINT "Rows_load_no_fkey"')
    for column in ("loads ALTER load_no", 'runs ALTER "Load"', '"Rows" ALTER load_no'):
        other.run(f"ALTER TABLE batch.{column} TYPE {kind}")
    other.run(
        f"INSERT INTO batch.loads VALUES ({number}, 'large', 'tenant 1');"
        f' INSERT INTO batch.runs (run_key, "Load", tenant, begun, phase) VALUES'
        f" (md5('large')::uuid, {number}, 'tenant 1', now(), 'done'); INSERT INTO batch.notes VALUES"
        f" ('large', '{number}'), ('too large', '{number + 1}'), ('zero', '0{number}')"
    )
    other.flow(migration=OTHER).apply()
    assert other.one("SELECT run_name = md5('large')::uuid::text FROM batch.notes WHERE id = 'large'")
    assert other.one("SELECT run_name IS NULL FROM batch.notes WHERE id = 'too large'")
    assert other.one("SELECT run_name = md5('large')::uuid::text FROM batch.notes WHERE id = 'zero'")
