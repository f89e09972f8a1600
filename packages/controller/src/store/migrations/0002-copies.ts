/** Copies of backups that left their hosts. An older belayd must not prune or restore without knowing of them. */
export const copies = `
CREATE TABLE backup_copies (
  host TEXT NOT NULL, backup TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, encrypted INTEGER NOT NULL,
  key TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, verified_at INTEGER, PRIMARY KEY (host, backup, sha256)
);
`;
