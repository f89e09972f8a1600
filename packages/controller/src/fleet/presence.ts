import type { HostFacts } from "@belay/shared";

export interface Sight {
  readonly host: string;
  present: boolean;
  lastSeenAt: number | null;
  facts: HostFacts | null;
  /** Host's clock minus ours when its last facts came, milliseconds; the travel time is in it. */
  clockOffsetMs: number | null;
  /** The protocol of its newest connection; null: none since this process started. */
  protocol: number | null;
  /** What its agent said on that connection. */
  agentVersion: string | null;
}

/**
 * Who is here, and what each host last said of itself. Kept in memory for the whole fleet; what changed since the last
 * call is handed out in one batch for saving, so that ten thousand hosts cost one write now and then.
 */
export class Presence {
  readonly #sights = new Map<string, Sight>();
  readonly #unsaved = new Set<string>();
  #present = 0;

  /** Fills in what was known before this process started. */
  remember(
    host: string,
    known: { lastSeenAt: number | null; facts: HostFacts | null; clockOffsetMs: number | null },
  ): void {
    this.#sights.set(host, { host, present: false, protocol: null, agentVersion: null, ...known });
  }

  arrived(host: string, now: number, agent: { protocol: number; version: string }): void {
    const sight = this.#sightOf(host);
    if (!sight.present) this.#present += 1;
    sight.present = true;
    sight.protocol = agent.protocol;
    sight.agentVersion = agent.version;
    this.#saw(sight, now);
  }

  left(host: string, now: number): void {
    const sight = this.#sightOf(host);
    if (sight.present) this.#present -= 1;
    sight.present = false;
    this.#saw(sight, now);
  }

  reported(host: string, facts: HostFacts, now: number): void {
    const sight = this.#sightOf(host);
    sight.facts = facts;
    sight.clockOffsetMs = facts.at - now;
    this.#saw(sight, now);
  }

  isPresent(host: string): boolean {
    return this.#sights.get(host)?.present ?? false;
  }

  /** When a host that isn't here was last heard of; null: never, or it is here. */
  absentSince(host: string): number | null {
    const sight = this.#sights.get(host);
    return sight === undefined || sight.present ? null : sight.lastSeenAt;
  }

  factsOf(host: string): HostFacts | null {
    return this.#sights.get(host)?.facts ?? null;
  }

  sightOf(host: string): Readonly<Sight> | null {
    return this.#sights.get(host) ?? null;
  }

  get presentCount(): number {
    return this.#present;
  }

  /** Every host ever seen. */
  hosts(): IterableIterator<string> {
    return this.#sights.keys();
  }

  /** What changed since the last call; put back with `keep` if saving failed. */
  takeUnsaved(): Sight[] {
    const changed = [...this.#unsaved].map((host) => this.#sightOf(host));
    this.#unsaved.clear();
    return changed;
  }

  keep(sights: readonly Sight[]): void {
    for (const sight of sights) this.#unsaved.add(sight.host);
  }

  #saw(sight: Sight, now: number): void {
    sight.lastSeenAt = now;
    this.#unsaved.add(sight.host);
  }

  #sightOf(host: string): Sight {
    const known = this.#sights.get(host);
    if (known !== undefined) return known;
    const sight: Sight = {
      host,
      present: false,
      lastSeenAt: null,
      facts: null,
      clockOffsetMs: null,
      protocol: null,
      agentVersion: null,
    };
    this.#sights.set(host, sight);
    return sight;
  }
}
