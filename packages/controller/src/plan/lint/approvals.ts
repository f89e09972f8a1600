import { digestOfOp, generalOp, type Hash, type HostName, leafHash, MerkleTree } from "@belay/shared";
import type { Pieces } from "../pieces.js";
import type { Plan, Stage } from "../plan.js";
import { indexPlan, opsFor, type PlanIndex, stopOpsFor } from "../program.js";
import type { DeclaredFleet } from "./declared.js";
import type { Findings } from "./finding.js";

const SAMPLE_RUN = "run-0";
/** A few milliseconds' worth. */
const HOSTS_A_PIECE = 500;

/**
 * I6, where approvals are signed: everything stands behind a gate, and the root that approvers put their name to is that of
 * what hosts will really be sent. Ops are filled in as the runner does and made general as an agent does, for the first and
 * the last host of every kind, and for all of a kind whose two differ.
 */
export function* checkApprovals(plan: Plan, fleet: DeclaredFleet, findings: Findings): Pieces<void> {
  const { approvals } = plan;
  if (approvals === undefined) {
    if (fleet.approvals === "signed" && plan.hops.length > 0) {
      findings.add(
        "I6",
        "plan",
        "approvals",
        "the fleet's approvals are signed, and there is nothing in the plan to sign",
      );
    }
    return;
  }
  const [first] = plan.hops[0]?.stages ?? [];
  if (first === undefined || first.gate === null || first.gate.approvals < 1) {
    findings.add("I6", first?.id ?? "plan", "start", "approvals are signed, and the first stage stands behind no gate");
    return;
  }
  const tree = yield* MerkleTree.inPieces(yield* hashesOf(plan));
  if (tree.root.toString("hex") !== approvals.root || tree.size !== approvals.leaves) {
    findings.add("I6", "plan", approvals.root, "what approvers would sign is not what hosts will be asked for");
  }
}

/** All leaves, in the plan's order. */
function* hashesOf(plan: Plan): Pieces<Hash[]> {
  const programs = indexPlan(plan);
  const kinds = kindsOf(plan);
  const asked = new Map<HostName, number>();
  const leaves: Hash[] = [];
  let gate = "";
  for (const hop of plan.hops) {
    for (const stage of hop.stages) {
      if (stage.gate !== null) gate = stage.gate.id;
      const turns = [
        { hosts: stage.stop, mark: "stop-", fill: stopOpsFor },
        { hosts: stage.batches.flat(), mark: "", fill: opsFor },
      ];
      for (const { hosts, mark, fill } of turns) {
        const digests = digestsOf(hosts, kinds, (host) => filled(programs, stage, host, fill));
        for (const [at, host] of hosts.entries()) {
          if (at % HOSTS_A_PIECE === 0) yield;
          for (const [op, digest] of (digests.get(host) ?? []).entries()) {
            const seq = asked.get(host) ?? 0;
            asked.set(host, seq + 1);
            const index = `${mark}${op}`;
            const { id, stepTimeoutMs: timeoutMs } = stage;
            // Its members stand in the order of canonical JSON already, and nothing in them is written in two ways.
            const leaf = { format: 1, gate, hop: hop.id, host, index, op: digest, seq, stage: id, timeoutMs };
            leaves.push(leafHash(JSON.stringify(leaf)));
          }
        }
      }
    }
  }
  return leaves;
}

function filled(index: PlanIndex, stage: Stage, host: HostName, fill: typeof opsFor): string[] {
  const ops = fill(index, { run: SAMPLE_RUN, stage: stage.id, host });
  return ops.map((op) => digestOfOp(generalOp(op, { run: SAMPLE_RUN, host })));
}

function digestsOf(
  hosts: readonly HostName[],
  kinds: ReadonlyMap<HostName, string>,
  fill: (host: HostName) => string[],
): Map<HostName, string[]> {
  const groups = new Map<string, HostName[]>();
  for (const host of hosts) {
    const kind = kinds.get(host) ?? host;
    const group = groups.get(kind);
    if (group === undefined) groups.set(kind, [host]);
    else group.push(host);
  }
  const digests = new Map<HostName, string[]>();
  for (const group of groups.values()) {
    const [first, last] = [group[0], group.at(-1)].map((host) => (host === undefined ? [] : fill(host)));
    const isAlike = first?.join() === last?.join();
    for (const host of group) digests.set(host, isAlike && first !== undefined ? first : fill(host));
  }
  return digests;
}

/** What a host's ops can hang on besides its name: all that the plan says of it. */
function kindsOf({ hosts, hops }: Plan): Map<HostName, string> {
  const said = new Map(Object.entries(hosts).map(([name, host]) => [name, [JSON.stringify(host)]]));
  for (const { stages, targets } of hops) {
    for (const stage of stages) {
      for (const host of stage.batches.flat()) {
        const words = said.get(host);
        words?.push(stage.id);
        if (targets === undefined && stage.restores === undefined) continue;
        words?.push(JSON.stringify([targets?.[host], stage.restores?.[host], stage.copies?.[host]]));
      }
    }
  }
  return new Map([...said].map(([name, words]) => [name, words.join(" ")]));
}
