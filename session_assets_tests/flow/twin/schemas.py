"""Schemas of real teams: what is changed in the guide's one, and the object that a plan must name if it is no road."""

from __future__ import annotations

from dataclasses import dataclass

_STAMP = """
    CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
    ALTER TABLE {table} ADD updated_at timestamptz NOT NULL DEFAULT now();
    CREATE TRIGGER stamp BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION stamp();
"""


@dataclass(frozen=True)
class Case:
    """`names` is what an obstacle is about; empty if the whole way there and back works."""

    sql: str
    names: str = ""


CASES = {
    "stamp on flows": Case(_STAMP.format(table="discovery_flows")),
    "stamp on a linked table": Case(_STAMP.format(table="assets")),
    "one of the two ids": Case(
        "UPDATE assets SET session_id = NULL WHERE flow_id IS NOT NULL;"
        "ALTER TABLE assets ADD CONSTRAINT one_id CHECK (num_nonnulls(session_id, flow_id) <= 1)",
        "one_id",
    ),
    "trigger that names the column": Case(
        """CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM 1 WHERE NEW.session_id IS NULL; RETURN NEW; END $$;
           CREATE TRIGGER told BEFORE INSERT OR UPDATE ON assets FOR EACH ROW EXECUTE FUNCTION told()""",
        "told",
    ),
    "replica identity, published": Case(
        """DELETE FROM access_audit_log WHERE session_id IS NULL; DELETE FROM access_audit_log a USING access_audit_log b
           WHERE a.session_id = b.session_id AND a.id > b.id;
           ALTER TABLE access_audit_log ALTER session_id SET NOT NULL;
           CREATE UNIQUE INDEX by_session ON access_audit_log (session_id);
           ALTER TABLE access_audit_log REPLICA IDENTITY USING INDEX by_session;
           CREATE PUBLICATION changes FOR TABLE access_audit_log""",
        "access_audit_log",
    ),
    "composite foreign key": Case(
        """ALTER TABLE data_import_sessions ADD UNIQUE (id, client_account_id);
           UPDATE assets a SET client_account_id = s.client_account_id FROM data_import_sessions s WHERE s.id = a.session_id;
           ALTER TABLE assets ADD CONSTRAINT pair FOREIGN KEY (session_id, client_account_id)
           REFERENCES data_import_sessions (id, client_account_id)""",
    ),
    "view": Case("CREATE VIEW seen AS SELECT id, session_id FROM assets", "seen"),
    "materialized view": Case(
        "CREATE MATERIALIZED VIEW seen AS SELECT session_id, count(*) FROM assets GROUP BY 1", "seen"
    ),
    "rule": Case("CREATE RULE kept AS ON UPDATE TO assets WHERE OLD.session_id IS NULL DO INSTEAD NOTHING", "kept"),
    "trigger of the column": Case(
        """CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
           CREATE TRIGGER quiet BEFORE UPDATE OF session_id ON assets FOR EACH ROW EXECUTE FUNCTION quiet()""",
        "quiet",
    ),
    "status without migrated": Case(
        """CREATE TYPE flow_status AS ENUM ('initialized', 'completed', 'failed');
           ALTER TABLE discovery_flows ALTER status DROP DEFAULT;
           ALTER TABLE discovery_flows ALTER status TYPE flow_status USING status::text::flow_status""",
        "flow_status",
    ),
    "check without migrated": Case(
        "ALTER TABLE discovery_flows ADD CONSTRAINT known CHECK (status IN ('initialized', 'completed', 'failed'))",
        "known",
    ),
    "a column that must have a value": Case(
        "ALTER TABLE discovery_flows ADD owner text; UPDATE discovery_flows SET owner = 'a';"
        "ALTER TABLE discovery_flows ALTER owner SET NOT NULL",
        "owner",
    ),
    "integer flow ids": Case(
        """ALTER TABLE discovery_flows ADD number bigint GENERATED ALWAYS AS IDENTITY;
           ALTER TABLE discovery_flows DROP flow_id CASCADE; ALTER TABLE discovery_flows RENAME number TO flow_id;
           ALTER TABLE discovery_flows ADD UNIQUE (flow_id);
           ALTER TABLE assets DROP flow_id; ALTER TABLE assets ADD flow_id bigint""",
        "flow_id",
    ),
    "generated column": Case(
        "ALTER TABLE assets ADD short text GENERATED ALWAYS AS (left(session_id::text, 4)) STORED", "short"
    ),
    "exclusion constraint": Case(
        """DELETE FROM flow_deletion_audit a USING flow_deletion_audit b WHERE a.session_id = b.session_id AND a.id > b.id;
           ALTER TABLE flow_deletion_audit ADD CONSTRAINT alone EXCLUDE USING btree (session_id WITH =)""",
    ),
    "clustered by the column": Case("CLUSTER assets USING idx_assets_session_id", "idx_assets_session_id"),
    "must have a session": Case(
        "DELETE FROM flow_deletion_audit WHERE session_id IS NULL; ALTER TABLE flow_deletion_audit ALTER session_id SET NOT NULL"
    ),
    "must have a session, where flows follow": Case(
        "DELETE FROM access_audit_log WHERE session_id IS NULL; ALTER TABLE access_audit_log ALTER session_id SET NOT NULL",
        "session_id",
    ),
    "policy": Case("CREATE POLICY mine ON assets USING (session_id IS NOT NULL)", "mine"),
    "event trigger": Case(
        """CREATE FUNCTION no_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'columns stay'; END $$;
           CREATE EVENT TRIGGER no_drop ON sql_drop EXECUTE FUNCTION no_drop()""",
        "no_drop",
    ),
    "no more than so many columns": Case("COMMENT ON COLUMN assets.session_id IS 'the import'"),
    "deferred foreign key": Case(
        """ALTER TABLE assets DROP CONSTRAINT assets_session_id_fkey;
           ALTER TABLE assets ADD CONSTRAINT late FOREIGN KEY (session_id) REFERENCES data_import_sessions
           DEFERRABLE INITIALLY DEFERRED""",
    ),
    "domain": Case(
        "CREATE DOMAIN session_ref AS uuid; ALTER TABLE flow_deletion_audit ALTER session_id TYPE session_ref",
        "session_ref",
    ),
    "trigger that forbids updates": Case(
        """CREATE FUNCTION no_update() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'append only'; END $$;
           CREATE TRIGGER no_update BEFORE UPDATE ON access_audit_log FOR EACH ROW EXECUTE FUNCTION no_update()""",
        "no_update",
    ),
    "unique, nulls not distinct": Case(
        """DELETE FROM flow_deletion_audit a USING flow_deletion_audit b
           WHERE a.session_id IS NOT DISTINCT FROM b.session_id AND a.id > b.id;
           ALTER TABLE flow_deletion_audit ADD CONSTRAINT once UNIQUE NULLS NOT DISTINCT (session_id)""",
    ),
    "check on the column": Case(
        "ALTER TABLE assets ADD CONSTRAINT known CHECK (session_id IS NOT NULL OR created_at > '2020-01-01')",
    ),
    "default of the column": Case("ALTER TABLE flow_deletion_audit ALTER session_id SET DEFAULT gen_random_uuid()"),
    "unique flow of a row": Case(
        """DELETE FROM assets a USING assets b WHERE a.flow_id = b.flow_id AND a.id > b.id;
           CREATE UNIQUE INDEX one_of_each ON assets (flow_id)""",
        "one_of_each",
    ),
    "trigger that wants the column by its argument": Case(
        """CREATE FUNCTION wants() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN IF to_jsonb(NEW) ->> TG_ARGV[0] IS NULL THEN RAISE EXCEPTION 'it is wanted'; END IF; RETURN NEW; END $$;
           CREATE TRIGGER wants BEFORE INSERT ON assets FOR EACH ROW EXECUTE FUNCTION wants('session_id')""",
        "wants",
    ),
    "check that time breaks": Case(
        """ALTER TABLE assets ADD fresh timestamptz NOT NULL DEFAULT clock_timestamp() + interval '100 ms';
           ALTER TABLE assets ADD CONSTRAINT is_fresh CHECK (fresh > clock_timestamp())""",
        "is_fresh",
    ),
    "function that names the column": Case(
        "CREATE FUNCTION assets_of(uuid) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM assets WHERE session_id = $1'"
    ),
    "statistics": Case("CREATE STATISTICS pair (dependencies) ON session_id, client_account_id FROM assets"),
}
