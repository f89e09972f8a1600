import { type Hash, leafHash, MerkleRoot, MerkleTree, type StepLeaf } from "@belay/shared";
import { atOnce, type Pieces } from "../pieces.js";
import type { Plan, SignedApprovals } from "../plan.js";
import { leafOf, leafTexts, type Share, sharesOf } from "./leaves.js";

/** What approvers of this plan put their name to, made from its content alone. Throws `program-invalid`. */
export function* findRoot(plan: Plan): Pieces<SignedApprovals> {
  const tree = new MerkleRoot();
  let shares = 0;
  for (const share of sharesOf(plan)) {
    for (const hash of hashesOf(share)) tree.add(hash);
    shares += 1;
    if (shares % SHARES_A_PIECE === 0) yield;
  }
  return { root: tree.root.toString("hex"), leaves: tree.size };
}

/** As `findRoot`, at once. */
export function rootOf(plan: Plan): SignedApprovals {
  return atOnce(findRoot(plan));
}

/** A leaf, and the way from it to the root. */
export interface LeafProof {
  readonly leaf: StepLeaf;
  readonly at: number;
  readonly path: string[];
}

/** The whole tree of a plan, to prove leaves of it. */
export class PlanTree {
  readonly #tree: MerkleTree;
  readonly #shares: ReadonlyMap<string, Share>;

  private constructor(tree: MerkleTree, shares: ReadonlyMap<string, Share>) {
    this.#tree = tree;
    this.#shares = shares;
  }

  static *of(plan: Plan): Pieces<PlanTree> {
    const leaves: Hash[] = [];
    const shares = new Map<string, Share>();
    for (const share of sharesOf(plan)) {
      leaves.push(...hashesOf(share));
      shares.set(keyOf(share.stage.id, share.list, share.host), share);
      if (shares.size % SHARES_A_PIECE === 0) yield;
    }
    return new PlanTree(yield* MerkleTree.inPieces(leaves), shares);
  }

  get root(): string {
    return this.#tree.root.toString("hex");
  }

  /** Null for what is not in the plan. */
  prove(stage: string, list: Share["list"], host: string, op: number): LeafProof | null {
    const share = this.#shares.get(keyOf(stage, list, host));
    if (share === undefined || op >= share.ops.length) return null;
    const at = share.at + op;
    return { leaf: leafOf(share, op), at, path: this.#tree.inclusionProof(at).map((hash) => hash.toString("hex")) };
  }
}

/** A few milliseconds' worth. */
const SHARES_A_PIECE = 1_000;

function hashesOf(share: Share): Hash[] {
  return leafTexts(share).map(leafHash);
}

function keyOf(stage: string, list: string, host: string): string {
  return `${stage} ${list} ${host}`;
}
