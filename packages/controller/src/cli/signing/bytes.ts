import { runsOn } from "../../plan/artifacts.js";
import type { Plan } from "../../plan/plan.js";
import { isMoving, programFor, targetOf } from "../../plan/program.js";
import { table } from "../render/text.js";
import { hostsBy, type List } from "./hosts.js";

export function artifactLines({ releases }: Plan): string[] {
  const rows = Object.entries(releases).flatMap(([version, artifacts]) =>
    artifacts.map(({ file, sha256 }) => [version, sha256, file]),
  );
  return rows.length === 0 ? ["none: what is on the hosts already"] : table(rows);
}

/** Hosts that are to run what lies on them, of which this plan names no digest. */
export function undigestedLines(plan: Plan, list: List): string[] {
  return plan.hops.flatMap((hop) => {
    const moved = hop.stages.flatMap((stage) => {
      if (!isMoving(stage)) return [];
      return stage.batches.flat().filter((name) => swapsBlindly(plan, stage.program, name, targetOf(hop, name)));
    });
    const byVersion = hostsBy(moved, (name) => targetOf(hop, name));
    return [...byVersion].map(
      ([version, hosts]) => `${hop.id}: ${version} as it lies on the host, whatever its digest: ${list(hosts)}`,
    );
  });
}

function swapsBlindly({ hosts, programs, releases }: Plan, program: string, name: string, version: string): boolean {
  const host = hosts[name];
  if (host === undefined) return false;
  const swap = programFor(programs, program, host.role).find(({ kind }) => kind === "swap");
  if (swap === undefined) return false;
  return swap.sha256 === null || !(releases[version] ?? []).some((artifact) => runsOn(artifact, host.platform));
}
