import semver from "semver";

/** The canonical form of a version (`v6.2.31` becomes `6.2.31`), or null where it isn't one. */
export function parseVersion(text: string): string | null {
  return semver.valid(text.trim().replace(/^v/, ""));
}

/** The major of a valid version. Throws TypeError on anything else: parse at the border, not here. */
export function majorOf(version: string): number {
  return semver.major(version);
}

/** True for `-dev`, `-alpha.N`, `-beta.N`, `-rc.N` and every other pre-release. */
export function isPrerelease(version: string): boolean {
  return semver.prerelease(version) !== null;
}

/** Negative, zero or positive, by semver precedence. */
export function compareVersions(a: string, b: string): number {
  return semver.compare(a, b);
}

/** How many minor versions lie between two; Infinity between majors, where minors say nothing, and for what is no version. */
export function minorsApart(a: string, b: string): number {
  const [one, other] = [semver.parse(a), semver.parse(b)];
  if (one === null || other === null || one.major !== other.major) return Number.POSITIVE_INFINITY;
  return Math.abs(one.minor - other.minor);
}

export function isOlder(a: string, b: string): boolean {
  return semver.lt(a, b);
}
