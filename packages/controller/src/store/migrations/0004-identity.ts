/** Who hosts are, and the tokens by which they joined. An older belayd would let revoked hosts in. */
export const identity = `
CREATE TABLE identities (
  host TEXT PRIMARY KEY, generation INTEGER NOT NULL, issued INTEGER NOT NULL, used INTEGER NOT NULL, used_at INTEGER,
  issuer TEXT, expires_at INTEGER NOT NULL, joined_at INTEGER NOT NULL, revoked_at INTEGER, revoked_by TEXT,
  revoked_reason TEXT, trusts TEXT
);
CREATE TABLE join_tokens (
  id INTEGER PRIMARY KEY, secret_hash TEXT NOT NULL UNIQUE, host TEXT NOT NULL, pin TEXT NOT NULL,
  created_at INTEGER NOT NULL, created_by TEXT NOT NULL, expires_at INTEGER NOT NULL, ended_at INTEGER,
  used_at INTEGER, used_from TEXT, used_key TEXT, generation INTEGER,
  refusals INTEGER NOT NULL, refused_at INTEGER, refused_from TEXT, refused_why TEXT
);
CREATE INDEX join_tokens_by_host ON join_tokens (host);
`;
