import { compareVersions, isPrerelease, majorOf, parseVersion } from "@belay/shared";
import { newestGoodRelease } from "../releases/advisory.js";
import type { Release } from "../releases/catalogue.js";
import type { PlanInput } from "./input.js";
import type { Reasons } from "./reasons.js";

/**
 * The release that is asked for, or null when it can't be named. What speaks against it is reported: pre-releases in
 * production and releases with a word against them need a person's acceptance by name (I11).
 */
export function chooseTarget(input: PlanInput, reasons: Reasons): Release | null {
  return findRelease(input, input.to, reasons);
}

/**
 * The releases to stop at, one for each major after `lowest` and before the target's: what people chose with --via, else
 * the newest good release of that major. Majors without one are reported and left out.
 */
export function chooseStops(input: PlanInput, lowest: number, target: Release, reasons: Reasons): Release[] {
  const chosen = chosenStops(input, lowest, target, reasons);
  const stops: Release[] = [];
  for (let major = lowest + 1; major < majorOf(target.version); major++) {
    const release = chosen.get(major) ?? newestGoodRelease(input.catalogue, major);
    if (release === null) {
      reasons.block({
        code: "no-intermediate-release",
        subject: `${major}`,
        message: `majors are taken one at a time, and the catalogue has no good release of major ${major} to stop at`,
        hint: `Add one with \`belay release add\`, or name one with --via ${major}.x.y.`,
      });
    } else stops.push(release);
  }
  return stops;
}

function chosenStops(input: PlanInput, lowest: number, target: Release, reasons: Reasons): Map<number, Release> {
  const chosen = new Map<number, Release>();
  for (const via of input.via) {
    const release = findRelease(input, via, reasons);
    if (release === null) continue;
    const major = majorOf(release.version);
    if (major <= lowest || major >= majorOf(target.version) || chosen.has(major)) {
      reasons.block({
        code: "no-intermediate-release",
        subject: release.version,
        message: chosen.has(major)
          ? `--via names two releases of major ${major}`
          : `${release.version} is no stop between major ${lowest} and ${target.version}`,
        hint: "Name at most one release of each major in between.",
      });
    } else chosen.set(major, release);
  }
  return chosen;
}

function findRelease({ catalogue, fleet }: PlanInput, text: string, reasons: Reasons): Release | null {
  const version = parseVersion(text);
  if (version === null) {
    reasons.block({
      code: "version-invalid",
      subject: text,
      message: `"${text}" is not a version`,
      hint: "Write it in full, such as 7.1.0.",
    });
    return null;
  }
  const release = catalogue.releases.find((one) => compareVersions(one.version, version) === 0);
  if (release === undefined) {
    reasons.block({
      code: "release-unknown",
      subject: version,
      message: `the catalogue has no release ${version}`,
      hint: "Add it with `belay release add FILE`, or list it in releases.yaml.",
    });
    return null;
  }
  speakAgainst(release, fleet.environment, reasons);
  return release;
}

function speakAgainst({ version, blocked, suspect }: Release, environment: string, reasons: Reasons): void {
  if (environment === "production" && isPrerelease(version)) {
    reasons.ask({
      code: "prerelease-refused",
      subject: version,
      message: `${version} is a pre-release, and this fleet is in production`,
      hint: "Choose a stable release.",
    });
  }
  if (blocked !== undefined) {
    reasons.ask({ code: "release-blocked", subject: version, message: `${version} is blocked: ${blocked}` });
  }
  if (suspect !== undefined) {
    reasons.ask({
      code: "release-suspect",
      subject: version,
      message: `${version} is suspect since a fleet was rolled back from it: ${suspect}`,
      hint: "When the cause is mended: `belay release clear`.",
    });
  }
}
