import { statementOf, textOf } from "@belay/controller/cli/signing/statement";
import { sharesOf } from "@belay/controller/plan/approvals/leaves";
import { type LeafProof, PlanTree } from "@belay/controller/plan/approvals/tree";
import type { PlanInput } from "@belay/controller/plan/input";
import { findings } from "@belay/controller/plan/lint";
import type { Pieces } from "@belay/controller/plan/pieces";
import type { Plan } from "@belay/controller/plan/plan";
import { upgradePlan } from "@belay/controller/plan/planner";
import { BelayError, GATE_NAMESPACE, hashOfLeaf, isIncluded, signMessage, verifySignature } from "@belay/shared";
import { newApprover } from "../../test/support/approved.js";
import { catalogueOf, inputFor, syntheticFleet } from "../../test/support/fleets.js";
import { RELEASES, TO } from "./planner.js";
import { figure, table } from "./screen.js";
import { median } from "./statistics.js";

/** Medians, milliseconds. */
export interface Cost {
  readonly wallMs: number;
  /** All threads: garbage is collected on others. */
  readonly cpuMs: number;
  /** Of work that is done in pieces, the one that others wait for longest; null: it is not. */
  readonly longestPieceMs: number | null;
}

export interface SignResult {
  readonly hosts: number;
  readonly hops: number;
  readonly leaves: number;
  /** belayd's work, from the request to plan to what it has at hand when a run starts. */
  readonly plan: Cost;
  readonly lint: Cost;
  readonly tree: Cost;
  /** Every leaf's, one after the other: belayd makes each when its step goes out. */
  readonly proofs: Cost;
  /** What `belay` does before it signs: the plan's digest, its root and the linter once more. */
  readonly statement: Cost;
  readonly sign: Cost;
  readonly verify: Cost;
  /** A host's look at whether one step is in the tree that was signed. */
  readonly include: Cost;
}

const HOSTS = 10_000;
const CLUSTERS = 50;
const ROUNDS = 3;
/** What takes microseconds is done so often, to be seen by the clocks; the figure is of one. */
const OFTEN = 1_000;
const RUN = "run-1";
const LIFE_MS = 24 * 3_600_000;

interface Measured<T> {
  readonly value: T;
  readonly cost: Cost;
}

/** What signed approvals cost where the fleet is large: 10,000 hosts, three hops. */
export function benchSigning(): SignResult {
  const recorded = inputFor(syntheticFleet(HOSTS, CLUSTERS), TO, { catalogue: catalogueOf(RELEASES) });
  const input: PlanInput = { ...recorded, fleet: { ...recorded.fleet, approvals: "signed" } };
  const planned = medianOf(() => byPieces(upgradePlan(input)));
  if (!planned.value.ok) throw new BelayError("bench-unplanned", `no plan: ${planned.value.blocked[0]?.message}`);
  const { plan } = planned.value;
  const linted = medianOf(() => byPieces(findings(plan, input.fleet, input.facts)));
  if (linted.value.length > 0) {
    throw new BelayError("bench-unplanned", `${linted.value.length} findings in the plan`);
  }
  const tree = medianOf(() => byPieces(PlanTree.of(plan)));
  if (tree.value.root !== plan.approvals?.root) throw new BelayError("bench-unplanned", "the tree is not the plan's");
  const leaves = plan.approvals.leaves;
  const proofs = proveAll(plan, tree.value, leaves);
  return {
    hosts: HOSTS,
    hops: plan.hops.length,
    leaves,
    plan: planned.cost,
    lint: linted.cost,
    tree: tree.cost,
    proofs: proofs.cost,
    ...costsOfSigning(plan),
    include: costOfInclusion(proofs.value, leaves, tree.value.root),
  };
}

/** As the runner asks for them; gives the last one. */
function proveAll(plan: Plan, tree: PlanTree, leaves: number): Measured<LeafProof> {
  const shares = [...sharesOf(plan)];
  return medianOf(() =>
    measured(() => {
      let last: LeafProof | null = null;
      let made = 0;
      for (const { stage, list, host, ops } of shares) {
        for (let op = 0; op < ops.length; op += 1) {
          last = tree.prove(stage.id, list, host, op);
          if (last !== null) made += 1;
        }
      }
      if (last === null || made !== leaves) throw new BelayError("bench-unplanned", `${made} of ${leaves} proofs`);
      return last;
    }),
  );
}

function costsOfSigning(plan: Plan): Pick<SignResult, "statement" | "sign" | "verify"> {
  const { key } = newApprover("bench");
  const gate = plan.hops[0]?.stages[0]?.gate?.id ?? "";
  const now = Date.now();
  const stated = medianOf(() => measured(() => statementOf(plan, { run: RUN, gate }, now, now + LIFE_MS)));
  const text = textOf(stated.value);
  const signed = oftenOf(() => signMessage(text, key, GATE_NAMESPACE));
  const verified = oftenOf(() => verifySignature(text, signed.value, GATE_NAMESPACE));
  return { statement: stated.cost, sign: signed.cost, verify: verified.cost };
}

function costOfInclusion({ leaf, at, path }: LeafProof, leaves: number, root: string): Cost {
  const included = oftenOf(() => {
    const hashes = path.map((hash) => Buffer.from(hash, "hex"));
    return isIncluded(hashOfLeaf(leaf), at, leaves, hashes, Buffer.from(root, "hex"));
  });
  if (!included.value) throw new BelayError("bench-unplanned", "a proof does not lead to the root");
  return included.cost;
}

/** All of it, with a look at the clock between the pieces. */
function byPieces<T>(pieces: Pieces<T>): Measured<T> {
  let longestPieceMs = 0;
  const { value, cost } = measured(() => {
    for (;;) {
      const began = performance.now();
      const step = pieces.next();
      longestPieceMs = Math.max(longestPieceMs, performance.now() - began);
      if (step.done === true) return step.value;
    }
  });
  return { value, cost: { ...cost, longestPieceMs } };
}

function measured<T>(work: () => T): Measured<T> {
  const cpu = process.cpuUsage();
  const began = performance.now();
  const value = work();
  const wallMs = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  return { value, cost: { wallMs, cpuMs: (user + system) / 1_000, longestPieceMs: null } };
}

/** Several times the same; the value is the last one's. */
function medianOf<T>(round: () => Measured<T>): Measured<T> {
  const first = round();
  const rounds = [first, ...Array.from({ length: ROUNDS - 1 }, round)];
  const middle = (of: (cost: Cost) => number) => median(rounds.map(({ cost }) => of(cost)));
  return {
    value: (rounds.at(-1) ?? first).value,
    cost: {
      wallMs: middle(({ wallMs }) => wallMs),
      cpuMs: middle(({ cpuMs }) => cpuMs),
      longestPieceMs: first.cost.longestPieceMs === null ? null : middle(({ longestPieceMs }) => longestPieceMs ?? 0),
    },
  };
}

function oftenOf<T>(work: () => T): Measured<T> {
  const all = medianOf(() =>
    measured(() => {
      let value = work();
      for (let count = 1; count < OFTEN; count += 1) value = work();
      return value;
    }),
  );
  const { wallMs, cpuMs } = all.cost;
  return { value: all.value, cost: { wallMs: wallMs / OFTEN, cpuMs: cpuMs / OFTEN, longestPieceMs: null } };
}

export function showSigning(result: SignResult): string[] {
  const { hosts, hops, leaves } = result;
  const row = (what: string, { wallMs, cpuMs, longestPieceMs }: Cost) => [
    `  ${what}`,
    figure(wallMs, 1),
    figure(cpuMs, 1),
    longestPieceMs === null ? "-" : figure(longestPieceMs, 1),
  ];
  // Most of these take microseconds.
  const fineRow = (what: string, { wallMs, cpuMs }: Cost) => [`  ${what}`, figure(wallMs, 3), figure(cpuMs, 3)];
  return [
    `signed approvals: ${figure(hosts)} hosts, ${hops} hops, ${figure(leaves)} steps to approve; medians of ${ROUNDS}`,
    ...table([
      ["  belayd", "wall ms", "CPU ms", "longest piece ms"],
      row("plan", result.plan),
      row("lint", result.lint),
      row("the tree, at a run's start", result.tree),
      row("the proofs of all steps", result.proofs),
    ]),
    "",
    ...table([
      ["  one statement", "wall ms", "CPU ms"],
      fineRow("look at the plan before signing (belay)", result.statement),
      fineRow("sign (belay, Ed25519)", result.sign),
      fineRow("verify (belayd, and each host)", result.verify),
      fineRow("find one step in the tree (host)", result.include),
    ]),
  ];
}
