"""Keys and names that the guide's schema does not have: texts with odd characters, several columns, another schema."""

from __future__ import annotations

from dataclasses import replace

from session_assets.flow.model import MIGRATION
from session_assets_tests.flow.scenario import TABLES, Guide, contracted, downgraded

_ODD_KEY = """
    ALTER TABLE llm_usage_logs ALTER id DROP IDENTITY;
    ALTER TABLE llm_usage_logs ALTER id TYPE text USING
        (ARRAY['a%b', '%s', 'it''s', '{}', 'back\\slash', '"', ' ', E'line\\nbreak', 'Ä', '%(x)s'])[1 + id % 10] || id;
"""


def test_keys_that_are_texts_may_hold_any_character(guide: Guide) -> None:
    guide.run(_ODD_KEY)
    rows, wanted, flow = guide.rows(), guide.wanted(), guide.flow(batch=7)
    contracted(flow)
    assert guide.found() == wanted
    downgraded(flow)
    assert guide.rows() == rows


def test_a_key_of_several_columns_is_followed(guide: Guide) -> None:
    guide.run("ALTER TABLE assets DROP CONSTRAINT assets_pkey, ADD PRIMARY KEY (name, created_at, id)")
    rows, wanted, catalogue, flow = guide.rows(), guide.wanted(), guide.catalogue(), guide.flow(batch=7)
    contracted(flow)
    assert guide.found() == wanted
    downgraded(flow)
    assert (guide.rows(), guide.catalogue()) == (rows, catalogue)


def test_another_schema_with_quoted_names_is_a_description_only(guide: Guide) -> None:
    rows = guide.rows()
    for table in TABLES:
        guide.run(f'ALTER TABLE {table} RENAME TO "My {table}"')
    guide.run(
        'ALTER TABLE "My assets" RENAME session_id TO "Session Id"; ALTER TABLE "My assets" RENAME flow_id TO "Flow %"'
    )
    guide.run('ALTER SCHEMA public RENAME TO "The App"; CREATE SCHEMA public')

    def renamed(name: str) -> str:
        return f'"The App"."My {name}"'

    migration = replace(
        MIGRATION,
        sessions=replace(MIGRATION.sessions, name=renamed(MIGRATION.sessions.name)),
        flows=replace(MIGRATION.flows, name=renamed(MIGRATION.flows.name)),
        linked=tuple(
            replace(
                one, name=renamed(one.name), **({"old": "Session Id", "flow": "Flow %"} if one.name == "assets" else {})
            )
            for one in MIGRATION.linked
        ),
    )
    flow = guide.flow(migration=migration)
    contracted(flow)
    assert guide.one('SELECT count(*) FROM "The App"."My assets" WHERE "Flow %" IS NOT NULL')
    downgraded(flow)
    guide.run('DROP SCHEMA public; ALTER SCHEMA "The App" RENAME TO public')
    guide.run(
        'ALTER TABLE "My assets" RENAME "Session Id" TO session_id; ALTER TABLE "My assets" RENAME "Flow %" TO flow_id'
    )
    for table in TABLES:
        guide.run(f'ALTER TABLE "My {table}" RENAME TO {table}')
    assert guide.rows() == rows
