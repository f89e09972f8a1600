import { join } from "node:path";
import type { Owner } from "../servers/child.js";
import { EtcdServer, type EtcdTls } from "../servers/etcd.js";
import type { AuditEvent, KeptState, ReadState, States } from "./state.js";

/** States below prefixes of one etcd. */
export class EtcdStates implements States {
  readonly etcd: EtcdServer;
  #count = 0;

  private constructor(etcd: EtcdServer) {
    this.etcd = etcd;
  }

  static async start(owner: Owner, tls: EtcdTls | null = null): Promise<EtcdStates> {
    return new EtcdStates(await EtcdServer.start(owner, tls));
  }

  async fresh(): Promise<KeptState> {
    const { etcd } = this;
    const prefix = `/teleport-${++this.#count}`;
    return {
      server: { type: "etcd", endpoint: etcd.endpoint, prefix, tls: etcd.tls },
      ...readEtcd((...args) => etcd.ctl(...args), prefix),
      copy: async () => {
        const file = join(etcd.dir, `copy-${this.#count}.db`);
        await etcd.ctl("snapshot", "save", file);
        return async () => {
          const dataDir = `${file}.restored`;
          await etcd.stop();
          await etcd.ctl("snapshot", "restore", file, "--data-dir", dataDir);
          await etcd.start(dataDir);
        };
      },
    };
  }
}

/** Reads a state below a prefix. `ctl` is etcdctl, wherever that runs. */
export function readEtcd(ctl: (...args: string[]) => Promise<string>, prefix: string): ReadState {
  return {
    version: async () => (await values(ctl, `${prefix}/meta/version`))[0] ?? null,
    audit: async () =>
      (await values(ctl, `${prefix}/audit/`)).map((value) => {
        const { seq, version } = JSON.parse(value) as AuditEvent;
        return { seq, version };
      }),
    formats: async () => {
      const formats = (await values(ctl, `${prefix}/resources/`)).map(
        (value) => (JSON.parse(value) as { format: number }).format,
      );
      return [...new Set(formats)].sort((a, b) => a - b);
    },
  };
}

/** Values of all keys that begin so, in the order of the keys. */
async function values(ctl: (...args: string[]) => Promise<string>, prefix: string): Promise<string[]> {
  const found = JSON.parse(await ctl("get", "--prefix", prefix, "-w", "json")) as { kvs?: { value: string }[] };
  return (found.kvs ?? []).map(({ value }) => Buffer.from(value, "base64").toString());
}
