/** Plans, runs as event logs, leases, what is known of hosts, and what is kept. */
export const first = `
CREATE TABLE plans (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, target TEXT NOT NULL, hops INTEGER NOT NULL, hosts INTEGER NOT NULL,
  created_at INTEGER NOT NULL, created_by TEXT NOT NULL, body TEXT NOT NULL
);
CREATE TABLE runs (
  id TEXT PRIMARY KEY, plan_id TEXT NOT NULL REFERENCES plans(id), kind TEXT NOT NULL, target TEXT NOT NULL,
  check_only INTEGER NOT NULL, started_at INTEGER NOT NULL, started_by TEXT NOT NULL, ended_at INTEGER, result TEXT
);
CREATE INDEX runs_by_start ON runs (started_at);
CREATE TABLE events (
  run_id TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, type TEXT NOT NULL, host TEXT, body TEXT NOT NULL,
  PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
CREATE TABLE leases (
  cluster TEXT PRIMARY KEY, run_id TEXT NOT NULL, owner TEXT NOT NULL, fence INTEGER NOT NULL, expires_at INTEGER NOT NULL
);
CREATE TABLE agents (
  host TEXT PRIMARY KEY, token_hash TEXT UNIQUE, created_at INTEGER, used_at INTEGER, journal TEXT,
  last_seen_at INTEGER, facts TEXT, clock_offset_ms INTEGER
);
CREATE TABLE quarantine (host TEXT PRIMARY KEY, by TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE backups (
  host TEXT NOT NULL, backup TEXT NOT NULL, run_id TEXT NOT NULL, hop TEXT NOT NULL, dir TEXT NOT NULL,
  sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, items INTEGER NOT NULL, taken_at INTEGER NOT NULL, version TEXT,
  verified_at INTEGER, PRIMARY KEY (host, backup)
);
CREATE TABLE artifacts (
  sha256 TEXT PRIMARY KEY, version TEXT NOT NULL, os TEXT NOT NULL, arch TEXT NOT NULL, edition TEXT NOT NULL,
  fips INTEGER NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, added_at INTEGER NOT NULL
);
CREATE TABLE advisories (
  version TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (version, kind)
);
`;
