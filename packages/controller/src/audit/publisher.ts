import {
  BelayError,
  readCheckpoint,
  type SignedCheckpoint,
  signCheckpoint,
  verifierOf,
  writeVerifier,
} from "@belay/shared";
import type { Edge } from "./edge.js";
import type { AuditFolder } from "./folder.js";
import type { AuditKeys } from "./key.js";
import { tilePath } from "./tiles.js";

/** The log as a checkpoint has it: the next one replaces it as a whole. `newest` null: there is no checkpoint yet. */
export interface Published {
  readonly edge: Edge;
  readonly newest: SignedCheckpoint | null;
}

/** A checkpoint that is on disk, and the paths of the tiles that were laid out for it. */
export interface Publication extends Published {
  readonly newest: SignedCheckpoint;
  readonly full: readonly string[];
  readonly partials: readonly string[];
}

/**
 * Puts entries under checkpoints: lays them out in tiles, signs what they come to, and clears away what that outdates. Tiles are
 * durable before the checkpoint that speaks of them.
 */
export class Publisher {
  readonly #folder: AuditFolder;
  readonly #origin: string;
  readonly #keys: AuditKeys;
  /** Unfinished tiles of the checkpoints before: they stay a while for whoever is copying. */
  #partials: readonly (readonly string[])[] = [];

  constructor(folder: AuditFolder, origin: string, keys: AuditKeys) {
    this.#folder = folder;
    this.#origin = origin;
    this.#keys = keys;
  }

  /** Settles when the next checkpoint, with these entries under it, is on disk. Null: there is nothing to say in one. */
  async publish({ edge: before, newest }: Published, fresh: readonly Buffer[]): Promise<Publication | null> {
    const handsOver = this.#keys.before !== null && newest !== null && newest.checkpoint.nextKey === null;
    if (fresh.length === 0 && !handsOver) return null;
    const edge = before.copy();
    const full = fresh.flatMap((entry) => edge.add(entry));
    const partials = edge.partials();
    for (const { tile, bytes } of [...full, ...partials]) await this.#folder.put(tilePath(tile), bytes);
    await this.#folder.sync();
    const signed = this.#sign(edge);
    await this.#folder.put("checkpoint", Buffer.from(signed.note));
    await this.#folder.sync();
    return {
      edge,
      newest: signed,
      full: full.map(({ tile }) => tilePath(tile)),
      partials: partials.map(({ tile }) => tilePath(tile)),
    };
  }

  /** The unfinished tiles of the checkpoint before stay: a copy that was begun a moment ago finds them. */
  async tidy({ full, partials }: Publication): Promise<void> {
    for (const path of full) await this.#folder.remove(`${path}.p`);
    const [newer = [], older = []] = this.#partials;
    const kept = new Set([...partials, ...newer]);
    for (const path of older) if (!kept.has(path)) await this.#folder.remove(path);
    this.#partials = [partials, newer];
  }

  #sign({ root, size }: Edge): SignedCheckpoint {
    const { key, before } = this.#keys;
    if (root === null) throw new BelayError("internal", "a checkpoint of an empty log");
    const nextKey = before === null ? null : writeVerifier(verifierOf(this.#origin, key));
    const keys = before === null ? [key] : [key, before];
    return readCheckpoint(signCheckpoint({ origin: this.#origin, size, root, nextKey }, keys));
  }
}
