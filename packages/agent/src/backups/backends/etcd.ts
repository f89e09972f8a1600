import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { BelayError } from "@belay/shared";
import type { ClientTls, EtcdBackend } from "../../config-backend.js";
import type { Host } from "../../host.js";
import { versionSaid } from "../tool.js";
import type { Backend } from "./backend.js";
import { differences, equalise } from "./etcd-equalise.js";
import { EtcdGateway } from "./etcd-gateway.js";
import { SERVER_BYTES, withSnapshot } from "./etcd-server.js";
import { countKeys, credentialsOf, etcdctl, findMember, reaching, snapshotStatus } from "./etcdctl.js";

/** etcd, or rather what is below one prefix of it: others may keep their own state in the same cluster. */
export function etcdBackend(name: string, config: EtcdBackend, host: Host): Backend {
  const { prefix } = config;
  const label = `backend ${name}`;
  return {
    engine: "etcd",
    from: `${config.endpoints.join(",")} prefix ${prefix}`,

    async measure(signal) {
      const { dbBytes } = await findMember(config, host, signal);
      // The snapshot itself, and once more to open it.
      return 2 * dbBytes + SERVER_BYTES;
    },

    async save(path, signal) {
      const member = await findMember(config, host, signal);
      const env = await reaching(config, member.endpoint);
      // A linearizable read: after it, this member has all that any member had committed before.
      const before = await countKeys(prefix, host, { env, signal });
      if (before.keys === 0) throw nothingThere(label, prefix);
      await etcdctl(host, ["snapshot", "save", path], { env, signal });
      const { hash, revision, totalKey } = await snapshotStatus(path, host, signal);
      if (revision < before.revision) {
        throw new BelayError("etcd-failed", `${member.endpoint} gave a snapshot older than what it had said`, {
          hint: "this member is not sound: look at `etcdctl endpoint status --cluster`",
          context: { revision, before: before.revision },
        });
      }
      const keys = await countAt(revision, env, signal);
      const tool = `etcdctl ${versionSaid(await etcdctl(host, ["version"], { signal }))}`;
      const opened = (await installed(signal)) ? "opened by etcd" : "etcdctl snapshot status only";
      return {
        tool,
        facts: { server: member.version, member: member.endpoint, hash, revision, totalKey, keys, verifiedBy: opened },
      };
    },

    async ailment(path, { facts }, signal) {
      try {
        const status = await snapshotStatus(path, host, signal);
        for (const fact of ["hash", "revision", "totalKey"] as const) {
          if (status[fact] !== facts[fact]) return `has ${fact} ${status[fact]}, not ${facts[fact]}`;
        }
        const keys = await withSnapshot(path, dirname(dirname(path)), host, signal, (snapshot) =>
          snapshot.count(prefix, status.revision),
        );
        if (keys === 0) return `holds no key below ${prefix}`;
        return facts.keys !== null && keys !== facts.keys ? `holds ${keys} keys, not ${facts.keys}` : null;
      } catch (error) {
        if (!(error instanceof BelayError)) throw error;
        // A host need not have the server's program: then the manifest said so, and this was all.
        if (error.code === "tool-missing" && error.context?.program === "etcd") return null;
        if (error.code === "snapshot-refused") return error.message;
        throw error;
      }
    },

    async restore(path, saved, signal) {
      const { endpoint } = await findMember(config, host, signal);
      await withSnapshot(path, dirname(dirname(path)), host, signal, async (snapshot, alive) => {
        const through = await certificates(config.tls);
        const credentials = await credentialsOf(config);
        const live = new EtcdGateway({ base: endpoint, through, credentials, refused }, host.http, alive);
        const changes = await equalise(snapshot, live, prefix, leases(snapshot, live, saved.takenAt, host));
        host.log.info({ backend: name, ...changes }, "etcd put back");
        const left = await differences(snapshot, live, prefix);
        if (left > 0) throw stillWritten(label, prefix, left);
      });
    },
  };

  /** Null: compacted away meanwhile, so nobody can tell any more. */
  async function countAt(revision: number, env: Record<string, string>, signal: AbortSignal): Promise<number | null> {
    try {
      return (await countKeys(prefix, host, { env, revision, signal })).keys;
    } catch (error) {
      if (error instanceof BelayError && /compacted/.test(error.message)) return null;
      throw error;
    }
  }

  async function installed(signal: AbortSignal): Promise<boolean> {
    try {
      return (await host.exec.run(["etcd", "--version"], { timeoutMs: 10_000, signal })).code === 0;
    } catch (error) {
      if (error instanceof BelayError && error.code === "command-not-started") return false;
      throw error;
    }
  }
}

/**
 * What becomes of a key that would have expired: it lives for no longer than it could have. etcd's snapshots don't say how
 * much of a lease was left, so all of it is granted, less the time since the snapshot; what is over then is not put back.
 * One lease serves all that were granted the same time.
 */
function leases(snapshot: EtcdGateway, live: EtcdGateway, takenAt: number, host: Pick<Host, "clock">) {
  const granted = new Map<string, number>();
  const fresh = new Map<number, string>();
  return async (lease: string): Promise<string | undefined> => {
    const seconds = granted.get(lease) ?? (await snapshot.leaseSeconds(lease)) ?? 0;
    granted.set(lease, seconds);
    const left = seconds - Math.floor(Math.max(0, host.clock.now() - takenAt) / 1000);
    if (left <= 0) return undefined;
    const given = fresh.get(seconds) ?? (await live.grantLease(left));
    fresh.set(seconds, given);
    return given;
  };
}

async function certificates({ caFile, certFile, keyFile }: ClientTls) {
  const read = async (file: string | null) => (file === null ? undefined : await readFile(file));
  const [ca, cert, key] = [await read(caFile), await read(certFile), await read(keyFile)];
  return {
    // A password may go this way: to nobody but whom a certificate names, be he on this very host.
    strict: true,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}

function refused(message: string, status: number): BelayError {
  return new BelayError("etcd-failed", message, {
    hint:
      status === 404
        ? "etcd's JSON gateway must be on: see --enable-grpc-gateway"
        : "see that the user of agent.yaml may do this",
    context: { status },
  });
}

function nothingThere(label: string, prefix: string): BelayError {
  return new BelayError("backup-empty", `${label} has no key below ${prefix}`, {
    hint: "a backup of nothing would be none: correct `prefix` in agent.yaml",
    context: { prefix },
  });
}

function stillWritten(label: string, prefix: string, left: number): BelayError {
  return new BelayError("backend-written", `${label}: ${left} keys below ${prefix} differ again`, {
    hint: "somebody still writes there: stop the service on every host, and restore again",
    context: { prefix, keys: left },
  });
}
