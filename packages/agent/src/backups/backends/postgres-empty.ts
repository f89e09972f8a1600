/** How long a restore waits for somebody who still holds a table. */
const LOCK_TIMEOUT = "30s";
/** What else lies in a schema, and does not go with a table. */
const OTHER_CATALOGS = [
  "pg_collation",
  "pg_conversion",
  "pg_opclass",
  "pg_operator",
  "pg_opfamily",
  "pg_ts_config",
  "pg_ts_dict",
  "pg_ts_parser",
  "pg_ts_template",
];

/**
 * SQL that removes everything a dump could bring back, and what a newer version of the service has made beside it, which
 * `pg_restore --clean` would leave: it knows only its own. Extensions and what belongs to them stay; they are the database
 * owner's. Schemas are names that agent.yaml allows; none: all but the system's. Those that stay, by their oids, are emptied and not
 * dropped: who may do that need not be allowed to make them again.
 */
export function emptyingSql(schemas: readonly string[], staying: readonly number[]): string {
  const ours =
    schemas.length === 0
      ? "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
      : `n.nspname IN (${schemas.map((schema) => `'${schema}'`).join(", ")})`;
  const free = (catalog: string, oid: string) =>
    `NOT EXISTS (SELECT 1 FROM pg_depend e WHERE e.classid = ${catalog} AND e.objid = ${oid} AND e.deptype = 'e')`;
  return `SET LOCAL lock_timeout = '${LOCK_TIMEOUT}';
SET LOCAL client_min_messages = warning;
DO $belay$
-- Always in the order of names, so that all are named before the first one goes and takes others along: what is gone has none.
DECLARE doomed record;
BEGIN
${schemas.length === 0 ? WHOLE_DATABASE : ""}
  FOR doomed IN
    SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
      WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END AS kind, c.oid::regclass::text AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND ${ours} AND ${free("'pg_class'::regclass", "c.oid")}
    ORDER BY c.relkind IN ('S', 'c'), name
  LOOP
    EXECUTE format('DROP %s IF EXISTS %s CASCADE', doomed.kind, doomed.name);
  END LOOP;
  FOR doomed IN
    SELECT p.oid::regprocedure::text AS name
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE ${ours} AND ${free("'pg_proc'::regclass", "p.oid")} ORDER BY name
  LOOP
    EXECUTE format('DROP ROUTINE IF EXISTS %s CASCADE', doomed.name);
  END LOOP;
  FOR doomed IN
    SELECT t.oid::regtype::text AS name
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('e', 'd', 'r') AND ${ours} AND ${free("'pg_type'::regclass", "t.oid")} ORDER BY name
  LOOP
    EXECUTE format('DROP TYPE IF EXISTS %s CASCADE', doomed.name);
  END LOOP;
  FOR doomed IN
    SELECT i.type AS kind, i.identity AS name
    FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid, pg_identify_object(d.classid, d.objid, 0) i
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.classid = ANY ('{${OTHER_CATALOGS.join(", ")}}'::regclass[])
      AND ${ours} AND ${free("d.classid", "d.objid")}
    ORDER BY kind, name
  LOOP
    EXECUTE format('DROP %s IF EXISTS %s CASCADE', doomed.kind, doomed.name);
  END LOOP;
  FOR doomed IN
    SELECT n.nspname AS name FROM pg_namespace n
    WHERE ${ours} AND n.nspname <> 'public' AND n.oid <> ALL ('{${staying.join(", ")}}'::oid[])
      AND pg_has_role(n.nspowner, 'USAGE') AND ${free("'pg_namespace'::regclass", "n.oid")}
  LOOP
    EXECUTE format('DROP SCHEMA IF EXISTS %I CASCADE', doomed.name);
  END LOOP;
END
$belay$;
`;
}

/** What lies in no schema, and is in a dump of a whole database only. */
const WHOLE_DATABASE = `  FOR doomed IN SELECT pubname AS name FROM pg_publication WHERE pg_has_role(pubowner, 'USAGE') LOOP
    EXECUTE format('DROP PUBLICATION IF EXISTS %I', doomed.name);
  END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;`;
