import type { Instance } from "./alive.js";
import type { Backend } from "./backend.js";
import type { Storage } from "./config.js";
import type { Release } from "./release.js";

/** The backend that the config names. Each kind is loaded only where it is used: a start is to be quick. */
export async function openBackend(storage: Storage, me: Instance, release: Release): Promise<Backend> {
  switch (storage.type) {
    case "sqlite":
      return (await import("./sqlite.js")).SqliteBackend.open(storage.folder, me, release);
    case "etcd":
      return new (await import("./etcd.js")).EtcdBackend(storage, me);
    case "postgresql":
      return new (await import("./postgres.js")).PostgresBackend(storage.connString, me, release);
  }
}
