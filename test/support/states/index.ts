import type { Owner } from "../servers/child.js";
import { whyNoEtcd } from "../servers/etcd.js";
import { whyNoPostgres } from "../servers/postgres.js";
import { EtcdStates } from "./etcd.js";
import { PostgresStates } from "./postgres.js";
import { SqliteStates } from "./sqlite.js";
import type { States } from "./state.js";

export { readEtcd } from "./etcd.js";
export { readPostgres } from "./postgres.js";
export type { AuditEvent, KeptState, ReadState, States } from "./state.js";

/** Every kind of backend that the stand-in knows, with why it can't be had here. */
export const KINDS: readonly {
  readonly kind: string;
  readonly skip: string | false;
  readonly start: (owner: Owner) => Promise<States>;
}[] = [
  { kind: "SQLite", skip: false, start: async () => new SqliteStates() },
  { kind: "etcd", skip: whyNoEtcd(), start: (owner) => EtcdStates.start(owner) },
  { kind: "PostgreSQL", skip: whyNoPostgres(), start: (owner) => PostgresStates.start(owner) },
];
