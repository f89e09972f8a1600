import { compareVersions, isPrerelease, majorOf } from "@belay/shared";
import type { Catalogue, Release } from "./catalogue.js";

/** A word against a release that was put on record apart from releases.yaml. */
export interface AdvisoryNote {
  readonly version: string;
  readonly kind: "blocked" | "suspect";
  readonly reason: string;
}

/** The catalogue with what is on record against its releases. A release that it doesn't hold is added, with no artifact. */
export function withAdvisories(catalogue: Catalogue, notes: readonly AdvisoryNote[]): Catalogue {
  const releases = new Map<string, Release>(catalogue.releases.map((release) => [release.version, release]));
  for (const { version, kind, reason } of notes) {
    const release = releases.get(version) ?? { version, artifacts: [] };
    releases.set(version, { ...release, [kind]: reason });
  }
  return { releases: [...releases.values()] };
}

/** Newest release of a major that production may run: stable, and with no word against it (I11). */
export function newestGoodRelease(catalogue: Catalogue, major: number): Release | null {
  return catalogue.releases
    .filter((release) => majorOf(release.version) === major && isGood(release))
    .reduce<Release | null>(
      (best, release) => (best === null || compareVersions(release.version, best.version) > 0 ? release : best),
      null,
    );
}

function isGood(release: Release): boolean {
  return release.blocked === undefined && release.suspect === undefined && !isPrerelease(release.version);
}
