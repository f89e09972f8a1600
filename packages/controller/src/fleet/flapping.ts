/** So many replacements within this time are no restart and no bad network: each side comes back because it was thrown out. */
const MANY = 5;
const WITHIN_MS = 5 * 60_000;

interface Replacements {
  readonly at: number[];
  readonly places: Set<string>;
}

/**
 * Notices that connections of one identity throw each other out, as those of a host and its copy do. A restarted agent
 * replaces a dead connection once; two live ones do so for as long as both run.
 */
export class Flapping {
  readonly #hosts = new Map<string, Replacements>();

  /** The addresses that were seen when it has happened too often, once for each time that this is so; else null. */
  replaced(host: string, places: readonly string[], now: number): string[] | null {
    this.#forget(now);
    const { at, places: seen } = this.#hosts.get(host) ?? { at: [], places: new Set<string>() };
    for (const place of places) seen.add(place);
    const recent = [...at.filter((time) => time > now - WITHIN_MS), now];
    this.#hosts.delete(host);
    if (recent.length >= MANY) return [...seen].sort();
    this.#hosts.set(host, { at: recent, places: seen });
    return null;
  }

  /** The longest quiet ones are the first in the map. */
  #forget(now: number): void {
    for (const [host, { at }] of this.#hosts) {
      if ((at.at(-1) ?? 0) > now - WITHIN_MS) return;
      this.#hosts.delete(host);
    }
  }
}
