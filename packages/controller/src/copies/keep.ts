/** What deciding over a copy needs to know of it. */
export interface Keepable {
  readonly host: string;
  readonly backup: string;
  /** When the backup was taken. */
  readonly takenAt: number;
  readonly at: number;
  readonly verifiedAt: number | null;
}

export interface KeepPolicy {
  readonly keep: number;
  readonly maxAgeMs: number | null;
}

/**
 * Which copies need no longer be kept: beyond the newest `keep` backups of their host, older than `maxAgeMs`, or stood in
 * for by a later copy of the same backup. Never the newest of a host that was read back whole, whatever its age, and never
 * one that `isNeeded`. Pure.
 */
export function copiesToDrop<T extends Keepable>(
  copies: readonly T[],
  { keep, maxAgeMs }: KeepPolicy,
  isNeeded: (copy: T) => boolean,
  now: number,
): T[] {
  const byHost = new Map<string, T[]>();
  for (const copy of copies) byHost.set(copy.host, [...(byHost.get(copy.host) ?? []), copy]);
  return [...byHost.values()].flatMap((own) => {
    const newestFirst = own.toSorted((a, b) => b.takenAt - a.takenAt || b.at - a.at);
    const lastGood = newestFirst.find(({ verifiedAt }) => verifiedAt !== null);
    const kept = new Set([...new Set(newestFirst.map(({ backup }) => backup))].slice(0, keep));
    const stoodIn = new Set<string>();
    return newestFirst.filter((copy) => {
      const isSecond = stoodIn.has(copy.backup);
      if (copy.verifiedAt !== null) stoodIn.add(copy.backup);
      if (copy === lastGood || isNeeded(copy)) return false;
      return isSecond || !kept.has(copy.backup) || (maxAgeMs !== null && now - copy.takenAt > maxAgeMs);
    });
  });
}
