import type { Generated } from "kysely";

/** The tables as Kysely sees them. JSON columns are text; booleans are 0 and 1; times are milliseconds since the epoch. */
export interface Schema {
  meta: { key: string; value: string };
  plans: {
    id: string;
    kind: string;
    target: string;
    hops: number;
    hosts: number;
    created_at: number;
    created_by: string;
    body: string;
  };
  runs: {
    id: string;
    plan_id: string;
    kind: string;
    target: string;
    check_only: number;
    started_at: number;
    started_by: string;
    ended_at: number | null;
    result: string | null;
  };
  events: { run_id: string; seq: number; at: number; type: string; host: string | null; body: string };
  leases: { cluster: string; run_id: string; owner: string; fence: number; expires_at: number };
  agents: {
    host: string;
    token_hash: string | null;
    created_at: number | null;
    used_at: number | null;
    journal: string | null;
    last_seen_at: number | null;
    facts: string | null;
    clock_offset_ms: number | null;
  };
  identities: IdentityTable;
  join_tokens: JoinTokenTable;
  users: {
    name: string;
    roles: string;
    groups: string;
    issuer: string | null;
    subject: string | null;
    created_at: number;
    created_by: string;
    removed_at: number | null;
  };
  user_tokens: {
    id: string;
    user: string;
    name: string;
    hash: string;
    roles: string | null;
    created_at: number;
    created_by: string;
    expires_at: number;
    used_at: number | null;
    revoked_at: number | null;
  };
  sessions: {
    hash: string;
    user: string;
    created_at: number;
    used_at: number;
    expires_at: number;
  };
  quarantine: { host: string; by: string; reason: string; at: number };
  backups: {
    host: string;
    backup: string;
    run_id: string;
    hop: string;
    dir: string;
    sha256: string;
    bytes: number;
    items: number;
    taken_at: number;
    version: string | null;
    verified_at: number | null;
    pruned_at: number | null;
  };
  backup_copies: {
    host: string;
    backup: string;
    sha256: string;
    bytes: number;
    encrypted: number;
    key: string;
    at: number;
    verified_at: number | null;
  };
  artifacts: {
    sha256: string;
    version: string;
    os: string;
    arch: string;
    edition: string;
    fips: number;
    file: string;
    size: number;
    added_at: number;
  };
  advisories: { version: string; kind: string; reason: string; by: string; at: number };
}

interface IdentityTable {
  host: string;
  /** Which life of this identity is the present one: each join begins another. */
  generation: number;
  /** The number of its newest certificate, and of the newest that was shown. */
  issued: number;
  used: number;
  used_at: number | null;
  /** Who issued the newest that was shown. */
  issuer: string | null;
  expires_at: number;
  joined_at: number;
  revoked_at: number | null;
  revoked_by: string | null;
  revoked_reason: string | null;
  /** The pins that the host has on its disk, with commas between. */
  trusts: string | null;
}

interface JoinTokenTable {
  id: Generated<number>;
  secret_hash: string;
  host: string;
  /** The authority that it tells the host to believe. */
  pin: string;
  created_at: number;
  created_by: string;
  expires_at: number;
  /** Taken back, or replaced by a newer one. */
  ended_at: number | null;
  used_at: number | null;
  used_from: string | null;
  /** Digest of the one key that it was good for. */
  used_key: string | null;
  /** The life of the identity that it began. */
  generation: number | null;
  refusals: number;
  refused_at: number | null;
  refused_from: string | null;
  refused_why: string | null;
}
