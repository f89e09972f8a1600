import type { HostName, StepLeaf } from "@belay/shared";
import type { Hop, Plan, Stage } from "../plan.js";
import { indexPlan } from "../program.js";
import { type List, Shapes } from "./shapes.js";

/** All that one host is asked for in one list of a stage, and where its leaves lie. */
export interface Share {
  readonly hop: Hop;
  readonly stage: Stage;
  readonly list: List;
  readonly host: HostName;
  /** The gate that lets it happen. */
  readonly gate: string;
  /** Digests of the ops, in order. */
  readonly ops: readonly string[];
  /** Index of the first one's leaf in the tree, and its place among all steps of the host. */
  readonly at: number;
  readonly seq: number;
}

/**
 * Every step of a plan in its order: hops, stages, in each first those that are stopped, then batch after batch, for each host
 * its ops. Steps before the first gate have none, and no leaves: such a plan is not one whose approvals are signed. Throws
 * `program-invalid`.
 */
export function* sharesOf(plan: Plan): Generator<Share> {
  const shapes = new Shapes(indexPlan(plan));
  const seqs = new Map<HostName, number>();
  let at = 0;
  let gate: string | null = null;
  for (const hop of plan.hops) {
    for (const stage of hop.stages) {
      gate = stage.gate?.id ?? gate;
      if (gate === null) continue;
      for (const [list, hosts] of [["stop", [stage.stop]] as const, ["batches", stage.batches] as const]) {
        for (const host of hosts.flat()) {
          const ops = shapes.digestsOf(stage, list, host);
          const seq = seqs.get(host) ?? 0;
          yield { hop, stage, list, host, gate, ops, at, seq };
          seqs.set(host, seq + ops.length);
          at += ops.length;
        }
      }
    }
  }
}

/** The leaf of one of a share's ops. */
export function leafOf(share: Share, op: number): StepLeaf {
  const { hop, stage, host, gate, ops, seq } = share;
  const digest = ops[op];
  if (digest === undefined) throw new RangeError(`${host} has no op ${op} in ${stage.id}`);
  return {
    format: 1,
    host,
    hop: hop.id,
    stage: stage.id,
    gate,
    seq: seq + op,
    index: indexOf(share, op),
    op: digest,
    timeoutMs: stage.stepTimeoutMs,
  };
}

/**
 * The canonical JSON of the leaves of a share, to the letter what `canonicalJson` makes of `leafOf`: there are hundreds of
 * thousands of them in a large plan, and their members need no sorting. All but the numbers are names with nothing to escape.
 */
export function leafTexts(share: Share): string[] {
  const { hop, stage, host, gate, ops, seq } = share;
  const begin = `{"format":1,"gate":"${gate}","hop":"${hop.id}","host":"${host}","index":"`;
  const end = `,"stage":"${stage.id}","timeoutMs":${stage.stepTimeoutMs}}`;
  return ops.map((digest, op) => `${begin}${indexOf(share, op)}","op":"${digest}","seq":${seq + op}${end}`);
}

function indexOf({ list }: Share, op: number): string {
  return list === "stop" ? `stop-${op}` : `${op}`;
}
