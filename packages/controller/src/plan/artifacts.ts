import type { Artifact, Catalogue } from "../releases/catalogue.js";
import type { Plan, PlanArtifact, Platform } from "./plan.js";
import { listNames, type Reasons } from "./reasons.js";

/** Who needs which version: a leg, or anything like it. */
interface Wanted {
  readonly to: string;
  readonly moves: readonly {
    readonly mover: { readonly name: string; readonly seen: { readonly platform: Platform } };
  }[];
}

/** The artifacts that the hosts of these legs will fetch, by version. A platform with none is reported. */
export function chooseArtifacts(legs: readonly Wanted[], catalogue: Catalogue, reasons: Reasons): Plan["releases"] {
  const chosen: Record<string, readonly PlanArtifact[]> = {};
  for (const leg of legs) {
    const wanted = new Map<string, { platform: Platform; hosts: string[] }>();
    for (const { mover } of leg.moves) {
      const key = platformName(mover.seen.platform);
      const entry = wanted.get(key) ?? { platform: mover.seen.platform, hosts: [] };
      entry.hosts.push(mover.name);
      wanted.set(key, entry);
    }
    const release = catalogue.releases.find(({ version }) => version === leg.to);
    chosen[leg.to] = [...wanted].sort(byKey).flatMap(([name, { platform, hosts }]) => {
      const artifact = release?.artifacts.find((one) => runsOn(one, platform));
      if (artifact !== undefined)
        return [{ ...platform, size: artifact.size, sha256: artifact.sha256, file: artifact.file }];
      reasons.block({
        code: "artifact-missing",
        subject: `${leg.to} ${name}`,
        message: `release ${leg.to} has no artifact for ${name}, which ${listNames(hosts)} need`,
        hint: "Add it with `belay release add FILE`, or choose another release with --to or --via.",
      });
      return [];
    });
  }
  return chosen;
}

/** Does an artifact run on a platform? Architecture, edition and FIPS must all be the host's own. */
export function runsOn(artifact: Artifact | PlanArtifact, platform: Platform): boolean {
  return (
    artifact.os === platform.os &&
    artifact.arch === platform.arch &&
    artifact.edition === platform.edition &&
    artifact.fips === platform.fips
  );
}

export function platformName({ os, arch, edition, fips }: Platform): string {
  return `${os}-${arch}-${edition}${fips ? "-fips" : ""}`;
}

function byKey([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
