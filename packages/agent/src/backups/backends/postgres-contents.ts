/** What a restore finds in the database, as far as it decides what of a dump comes back. */
export interface Surroundings {
  schemas: readonly { oid: number; name: string; quoted: string; ours: boolean }[];
  /** Whose rights the user has: itself, and what it is a member of. */
  roles: readonly string[];
}

/** SQL that says it as one line of JSON: names may hold anything. */
export const SURROUNDINGS_SQL = `SELECT json_build_object(
  'schemas', (SELECT json_agg(json_build_object('oid', oid::bigint, 'name', nspname, 'quoted', quote_ident(nspname),
    'ours', pg_has_role(nspowner, 'USAGE'))) FROM pg_namespace),
  'roles', (SELECT json_agg(rolname) FROM pg_roles WHERE pg_has_role(oid, 'USAGE')))`;

/** How many tables a dump holds the rows of, by what `pg_restore --list` says. */
export function tablesIn(contents: string): number {
  return contents.split("\n").filter((line) => /^\d+; \d+ \d+ TABLE DATA /.test(line)).length;
}

/**
 * What of a dump comes back, for `pg_restore --use-list`, and the schemas (their oids) that are in it and there already. Those were
 * often made by somebody who may do more than the service: they are emptied, and neither dropped nor made. What others have granted on
 * a schema, or by default, was not ours to take away, nor is it to give again.
 */
export function comingBack(contents: string, { schemas, roles }: Surroundings): { list: string; staying: number[] } {
  const staying = new Set<number>();
  const list = contents.split("\n").filter((line) => {
    const entry = line.replace(/^\d+; \d+ \d+ /, "");
    const there = schemas.find(({ name }) => entry.startsWith(`SCHEMA - ${name} `));
    if (there !== undefined) staying.add(there.oid);
    const granter = /^DEFAULT ACL .* DEFAULT PRIVILEGES FOR [A-Z]+ (.+)$/.exec(entry)?.[1];
    const grantedByOthers =
      (granter !== undefined && !roles.includes(granter)) ||
      schemas.some(({ quoted, ours }) => !ours && entry.startsWith(`ACL - SCHEMA ${quoted} `));
    return there === undefined && !grantedByOthers;
  });
  return { list: list.join("\n"), staying: [...staying] };
}
