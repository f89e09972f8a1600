import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import { BelayError } from "@belay/shared";
import type { CopyRecords, CopyRow } from "../store/copies.js";
import { takeIn } from "./intake.js";
import type { CopyStore } from "./store.js";

export interface CopiesParts {
  readonly store: CopyStore;
  readonly records: CopyRecords;
  readonly maxBytes: number;
  readonly now: () => number;
}

/**
 * The copies of backups that left their hosts. A copy is on record only when its bytes are whole in the store, so what is
 * on record can be counted on, and what a crash left is overwritten by the next try (I14).
 */
export class Copies {
  readonly #parts: CopiesParts;
  /** Keys that are being written. */
  readonly #busy = new Set<string>();

  constructor(parts: CopiesParts) {
    this.#parts = parts;
  }

  /**
   * Takes a copy in. A backup that has one on record already keeps it: other bytes (encrypting the same archive twice gives
   * such) lie beside it under a name of their own, and the same bytes are not kept twice. Throws `copy-too-large`,
   * `copy-empty`, and as `CopyStore.put`.
   */
  async put(host: string, backup: string, source: Readable): Promise<{ sha256: string; bytes: number }> {
    const { store, records, maxBytes, now } = this.#parts;
    const intake = await takeIn(source, maxBytes);
    // One that is being written now may be on record only after it was asked for.
    const busy = [...this.#busy];
    const there = await records.of(host, backup);
    const key = this.#freeKey(`${host}/${backup}`, intake.encrypted, [...busy, ...there.map((copy) => copy.key)]);
    this.#busy.add(key);
    try {
      await store.put(key, intake.body);
      const measured = intake.measured();
      if (there.some(({ sha256 }) => sha256 === measured.sha256)) {
        await store.remove(key);
        return measured;
      }
      await records.add({ host, backup, ...measured, encrypted: intake.encrypted, key, at: now(), verifiedAt: null });
      return measured;
    } finally {
      this.#busy.delete(key);
    }
  }

  /** The newest copy of a backup, or the one with this digest. Throws `copy-unknown`, `copy-lost`. */
  async open(host: string, backup: string, sha256?: string): Promise<{ copy: CopyRow; body: Readable }> {
    const copy = await this.#find(host, backup, sha256);
    const body = await this.#parts.store.get(copy.key);
    if (body !== null) return { copy, body };
    throw new BelayError(
      "copy-lost",
      `the copy of ${backup} of ${host} is on record, but not in ${this.#parts.store.place}`,
      {
        hint: "Somebody removed it there. Make a new backup before you go on.",
        context: { key: copy.key },
      },
    );
  }

  /** Reads a copy back, every byte of it, and puts that on record. Throws as `open`, and `copy-damaged`. */
  async verify(host: string, backup: string): Promise<CopyRow> {
    const { records, now } = this.#parts;
    const { copy, body } = await this.open(host, backup);
    const hash = createHash("sha256");
    for await (const chunk of body) hash.update(chunk as Buffer);
    const found = hash.digest("hex");
    if (found !== copy.sha256) {
      throw new BelayError("copy-damaged", `the copy of ${backup} of ${host} is not what was stored`, {
        hint: "Make a new backup before you go on, and look after the storage.",
        context: { recorded: copy.sha256, found },
      });
    }
    const at = now();
    await records.verified(host, backup, copy.sha256, at);
    return { ...copy, verifiedAt: at };
  }

  /** First the bytes, then the record: what is on record is there. Idempotent. */
  async drop(copy: CopyRow): Promise<void> {
    await this.#parts.store.remove(copy.key);
    await this.#parts.records.remove(copy);
  }

  async #find(host: string, backup: string, sha256: string | undefined): Promise<CopyRow> {
    const there = await this.#parts.records.of(host, backup);
    const found = sha256 === undefined ? there[0] : there.find((copy) => copy.sha256 === sha256);
    if (found !== undefined) return found;
    throw new BelayError("copy-unknown", `there is no such copy of ${backup} of ${host}`, {
      hint: "`belay backup list` shows which backups have one.",
    });
  }

  #freeKey(name: string, encrypted: boolean, there: readonly string[]): string {
    const taken = new Set([...this.#busy, ...there]);
    const ending = encrypted ? ".tar.age" : ".tar";
    for (let number = 1; ; number += 1) {
      const key = `${name}${number === 1 ? "" : `.${number}`}${ending}`;
      if (!taken.has(key)) return key;
    }
  }
}
