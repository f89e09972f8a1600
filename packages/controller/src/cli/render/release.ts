import type { ReleaseView } from "../../api/contract.js";
import { labelled } from "./label.js";
import { bytes } from "./measure.js";
import type { Style } from "./style.js";
import { listing, table } from "./text.js";

export function releaseListing(releases: readonly ReleaseView[], style: Style): string[] {
  return listing(
    ["RELEASE", "ARTIFACTS", "STORED", "REMARKS"],
    releases.map((release) => [
      release.version,
      String(release.artifacts.length),
      String(release.artifacts.filter(({ stored }) => stored).length),
      remarksOf(release, style).join("; "),
    ]),
    "no release yet: belay release add FILE",
  );
}

export function releaseLines(release: ReleaseView, style: Style): string[] {
  return [
    style.strong(`release ${release.version}`),
    ...labelled("remarks", remarksOf(release, style)),
    ...labelled(
      "artifacts",
      table(
        release.artifacts.map((artifact) => [
          artifact.file,
          bytes(artifact.size),
          `sha256 ${artifact.sha256.slice(0, 12)}`,
          artifact.stored ? style.good("stored") : style.warn("not stored: belay release add"),
        ]),
      ),
    ),
  ];
}

function remarksOf({ blocked, suspect }: ReleaseView, style: Style): string[] {
  return [
    ...(blocked === null ? [] : [style.bad(`blocked: ${blocked}`)]),
    ...(suspect === null ? [] : [style.warn(`suspect: ${suspect}`)]),
  ];
}
