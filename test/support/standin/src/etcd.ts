import type { Instance } from "./alive.js";
import { type Backend, Unavailable } from "./backend.js";
import { majorOf } from "./compat.js";
import type { EtcdStorage } from "./config.js";
import { type Entry, EtcdGateway, type Write } from "./etcd-gateway.js";
import {
  type Admission,
  admit,
  beat,
  type Changes,
  firstResources,
  RESOURCES,
  type Standing,
  type State,
} from "./rules.js";
import { GONE_AFTER_MS, instanceOf, ownerId, type Server } from "./servers.js";

/** etcd takes 128 operations a transaction. */
const WRITES_AT_ONCE = 100;
/** Others write between a look and a decision so often only where something is wrong. */
const MOST_ATTEMPTS = 50;
const SEQUENCE = "audit-sequence";
const SEQUENCE_DIGITS = 12;

interface Resource {
  readonly spec: string;
  readonly format: number;
}

interface KeptServer {
  readonly server: Server;
  readonly owner: string;
}

/**
 * State in etcd, below a prefix: `meta/*`, `instances/<id>`, `servers/<uuid>`, `resources/<name>`, `audit/<sequence>`. A
 * decision is written only if nothing it was made on has changed since it was read; otherwise it is made anew.
 */
export class EtcdBackend implements Backend {
  readonly #etcd: EtcdGateway;
  readonly #prefix: string;
  readonly #me: Instance;
  /** The latest audit event of this auth: a restore may know less. */
  #audited = 0;

  constructor(storage: EtcdStorage, me: Instance) {
    this.#etcd = new EtcdGateway(storage);
    this.#prefix = storage.prefix.replace(/\/*$/, "/");
    this.#me = me;
  }

  async admit(): Promise<Admission> {
    const ground = ["meta/", "instances/", "resources/"];
    return this.#decide(ground, async (entries, revision) => {
      const state = this.#state(entries);
      if (state.version === null && this.#below(entries, "resources/").length < RESOURCES) {
        await this.#fill(revision);
        return null;
      }
      const { admission, changes } = admit(state, this.#me, this.#unmigrated(entries).length);
      return { answer: admission, changes };
    });
  }

  async migrateSome(count: number): Promise<number> {
    const format = majorOf(this.#me.version);
    const entries = await this.#look("resources/");
    const unmigrated = this.#unmigrated(entries);
    const share = unmigrated.slice(0, Math.min(count, WRITES_AT_ONCE));
    const writes = share.map((entry): Write => {
      const resource: Resource = { ...(JSON.parse(entry.value) as Resource), format };
      return { put: entry.key, value: JSON.stringify(resource) };
    });
    const left = unmigrated.length - share.length;
    await this.#etcd.write(left === 0 ? [...writes, { remove: this.#key("meta/migrator") }] : writes);
    return left;
  }

  async unmigrated(): Promise<number> {
    return this.#unmigrated(await this.#look("resources/")).length;
  }

  async beat(): Promise<Standing> {
    return this.#decide<Standing>(["meta/", "instances/"], async (entries) => {
      const state = this.#state(entries);
      if (await this.#replaced()) return { answer: { corrupted: state.corrupted, replaced: true } };
      const changes = beat(state, this.#me);
      return { answer: { corrupted: state.corrupted ?? changes.meta.corrupted ?? null, replaced: false }, changes };
    });
  }

  async audit(): Promise<void> {
    const { id: instance, version } = this.#me;
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const last = await this.#sequence();
      // Restored under this auth, which the next beat tells.
      if (last.value < this.#audited) return;
      const seq = last.value + 1;
      const row = this.#key(`audit/${String(seq).padStart(SEQUENCE_DIGITS, "0")}`);
      const { succeeded } = await this.#etcd.write(
        [
          { put: this.#key(SEQUENCE), value: String(seq) },
          { put: row, value: JSON.stringify({ seq, at: Date.now(), instance, version }) },
        ],
        { below: this.#key(SEQUENCE), unchangedSince: last.revision },
      );
      if (!succeeded) continue;
      this.#audited = seq;
      return;
    }
    throw new Unavailable("etcd: too many others write audit events");
  }

  async addServer(server: Server, owner: string): Promise<void> {
    await this.#etcd.write([{ put: this.#serverKey(server), value: this.#serverValue(server, owner) }]);
  }

  async removeServer(server: Server, owner: string): Promise<void> {
    const key = this.#serverKey(server);
    await this.#etcd.write([{ remove: key }], { key, holds: this.#serverValue(server, owner) });
  }

  async servers(): Promise<Server[]> {
    const entries = await this.#look("servers/", "instances/");
    const vouching = new Set(
      this.#state(entries)
        .instances.filter((instance) => instance.at > Date.now() - GONE_AFTER_MS)
        .map((instance) => instance.id),
    );
    return this.#below(entries, "servers/")
      .map((entry) => JSON.parse(entry.value) as KeptServer)
      .filter(({ owner }) => vouching.has(instanceOf(owner)))
      .map(({ server }) => server)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async leave(): Promise<void> {
    await this.#etcd.write([{ remove: this.#instanceKey(this.#me.id) }]);
  }

  async close(): Promise<void> {
    this.#etcd.close();
  }

  /** `judge` looks and decides; null: it has changed the ground itself, and wants to look again. */
  async #decide<T>(
    ground: readonly string[],
    judge: (
      entries: readonly Entry[],
      revision: number,
    ) => Promise<{ answer: T; changes?: Changes | undefined } | null>,
  ): Promise<T> {
    const keys = ground.map((key) => this.#key(key));
    for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
      const found = await this.#etcd.read(...keys);
      const judged = await judge(found.entries, found.revision);
      if (judged === null) continue;
      const { answer, changes } = judged;
      if (changes === undefined) return answer;
      const unchanged = keys.map((below) => ({ below, unchangedSince: found.revision }));
      const { succeeded } = await this.#etcd.write(this.#writes(changes), ...unchanged);
      if (succeeded) return answer;
    }
    throw new Unavailable("etcd: too many others write");
  }

  /** The state knows less than this auth wrote: somebody restored it. */
  async #replaced(): Promise<boolean> {
    return (await this.#sequence()).value < this.#audited;
  }

  async #sequence(): Promise<{ value: number; revision: number }> {
    const { entries, revision } = await this.#etcd.read(this.#key(SEQUENCE));
    return { value: Number(entries[0]?.value ?? 0), revision };
  }

  async #fill(revision: number): Promise<void> {
    const writes = firstResources(majorOf(this.#me.version)).map(({ name, spec, format }): Write => {
      const resource: Resource = { spec, format };
      return { put: this.#key(`resources/${name}`), value: JSON.stringify(resource) };
    });
    const unwritten = { below: this.#key("meta/"), unchangedSince: revision };
    for (let from = 0; from < writes.length; from += WRITES_AT_ONCE) {
      await this.#etcd.write(writes.slice(from, from + WRITES_AT_ONCE), unwritten);
    }
  }

  #writes({ meta, alive, dead }: Changes): Write[] {
    return [
      ...Object.entries(meta).map(([key, value]) => ({ put: this.#key(`meta/${key}`), value })),
      { put: this.#instanceKey(alive.id), value: JSON.stringify(alive) },
      ...dead.map((id) => ({ remove: this.#instanceKey(id) })),
    ];
  }

  #state(entries: readonly Entry[]): State {
    const meta = (key: string) => entries.find((entry) => entry.key === this.#key(`meta/${key}`))?.value ?? null;
    return {
      version: meta("version"),
      corrupted: meta("corrupted"),
      migrator: meta("migrator"),
      instances: this.#below(entries, "instances/").map((entry) => JSON.parse(entry.value) as Instance),
    };
  }

  #unmigrated(entries: readonly Entry[]): Entry[] {
    const format = majorOf(this.#me.version);
    return this.#below(entries, "resources/").filter(
      (entry) => (JSON.parse(entry.value) as Resource).format !== format,
    );
  }

  async #look(...below: string[]): Promise<readonly Entry[]> {
    return (await this.#etcd.read(...below.map((key) => this.#key(key)))).entries;
  }

  #below(entries: readonly Entry[], key: string): Entry[] {
    return entries.filter((entry) => entry.key.startsWith(this.#key(key)));
  }

  #instanceKey(id: string): string {
    return this.#key(`instances/${id}`);
  }

  #serverKey({ uuid }: Server): string {
    return this.#key(`servers/${uuid}`);
  }

  /** Always the same text for the same server and connection, so that a goodbye can be told apart. */
  #serverValue({ uuid, name, roles, version }: Server, owner: string): string {
    const kept: KeptServer = { server: { uuid, name, roles, version }, owner: ownerId(this.#me, owner) };
    return JSON.stringify(kept);
  }

  #key(path: string): string {
    return `${this.#prefix}${path}`;
  }
}
