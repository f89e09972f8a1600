import { readdirSync } from "node:fs";
import { join } from "node:path";
import { damageOf, type Release, releaseOf } from "./releases.js";

/** The version folders that a host's agent has said are there, and the one that came from no release. */
export class VersionsTruth {
  readonly dir: string;
  /** The folder inside each version's own that holds it. */
  readonly below: string;
  /** The version whose folder was made of what was installed before Belay came; null once it is gone. */
  byHand: string | null = null;
  /** All that it holds, where an adoption made it. */
  readonly #adopted: readonly string[] | null;
  readonly #fetched = new Set<string>();
  readonly #releases: readonly Release[];
  readonly #complain: (what: string) => void;

  constructor(
    at: { dir: string; below: string; adopted: readonly string[] | null },
    world: { releases: readonly Release[]; complain: (what: string) => void },
  ) {
    this.dir = at.dir;
    this.below = at.below;
    this.#adopted = at.adopted;
    this.#releases = world.releases;
    this.#complain = world.complain;
  }

  fetched(version: string): void {
    this.#fetched.add(version);
  }

  has(version: string): boolean {
    return this.#fetched.has(version) || this.byHand === version;
  }

  /** Whatever nothing leads to is gone. */
  pruned(needed: string | null): void {
    for (const version of this.#fetched) if (version !== needed) this.#fetched.delete(version);
    if (this.byHand !== needed) this.byHand = null;
  }

  /** An adoption of this version was undone: the folder that it made is gone, without a trace. */
  givenBack(version: string): void {
    this.byHand = null;
    const trace = readdirSync(this.dir).filter((name) => name === version || name.startsWith(`.belay-${version}.`));
    if (trace.length > 0) this.#complain(`${trace} stay of the adoption of ${version}`);
  }

  /** `needed`: what something leads to. */
  look(needed: string | null, open: { swap: boolean; prune: boolean }): void {
    const there = readdirSync(this.dir).filter((name) => !name.startsWith("."));
    for (const name of there) {
      const only = this.#adopted !== null && name === this.byHand ? { only: this.#adopted } : {};
      const release = releaseOf(this.#releases, name);
      const damage = damageOf(release, join(this.dir, name, this.below), { ...only, open: open.swap });
      if (damage !== null) this.#complain(damage);
    }
    for (const version of [...(needed === null ? [] : [needed]), ...(open.prune ? [] : this.#fetched)]) {
      if (!there.includes(version)) this.#complain(`version ${version} is gone`);
    }
  }
}
