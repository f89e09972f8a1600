/** Who may sign in. Removed users stay, so that nobody else ever gets their names; so do tokens that have ended. */
export const people = `
CREATE TABLE users (
  name TEXT PRIMARY KEY, roles TEXT NOT NULL, groups TEXT NOT NULL, issuer TEXT, subject TEXT,
  created_at INTEGER NOT NULL, created_by TEXT NOT NULL, removed_at INTEGER
);
CREATE UNIQUE INDEX users_by_subject ON users (issuer, subject);
CREATE TABLE user_tokens (
  id TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users(name), name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE,
  roles TEXT, created_at INTEGER NOT NULL, created_by TEXT NOT NULL, expires_at INTEGER NOT NULL, used_at INTEGER,
  revoked_at INTEGER
);
CREATE TABLE sessions (
  hash TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users(name), created_at INTEGER NOT NULL,
  used_at INTEGER NOT NULL, expires_at INTEGER NOT NULL
);
`;
