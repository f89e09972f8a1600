import { generateKeyPairSync, sign } from "node:crypto";
import {
  canonicalJson,
  digestOfOp,
  GATE_NAMESPACE,
  type GateStatement,
  generalOp,
  hashOfLeaf,
  MerkleTree,
  type Op,
  parsePublicKey,
  type SignedStatement,
  type SshPrivateKey,
  type Step,
  type StepLeaf,
  type StepProof,
  signMessage,
  sshString,
} from "@belay/shared";

/** Somebody whose word counts: an Ed25519 key in memory, and their line of allowed_signers. */
export interface Approver {
  readonly name: string;
  readonly key: SshPrivateKey;
  /** For an allowed_signers file. */
  readonly line: string;
}

export function newApprover(name: string): Approver {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const point = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
  const blob = Buffer.concat([sshString("ssh-ed25519"), sshString(point)]);
  const key: SshPrivateKey = {
    key: parsePublicKey(blob),
    sign: (data) => Buffer.concat([sshString("ssh-ed25519"), sshString(sign(null, data, privateKey))]),
  };
  return { name, key, line: `${name} ssh-ed25519 ${blob.toString("base64")}` };
}

/** One step of one host, as a test plans it. */
export interface PlannedStep {
  readonly host: string;
  readonly op: Op;
  readonly stage?: string;
  readonly gate?: string;
  readonly index?: string;
  readonly timeoutMs?: number;
}

const HOP = "hop-1";

/** A plan of nothing but its steps: the tree over them, what approvers sign of it, and the steps as belayd sends them. */
export class ApprovedPlan {
  readonly run: string;
  readonly steps: readonly PlannedStep[];
  readonly leaves: readonly StepLeaf[];
  readonly tree: MerkleTree;
  readonly fleet: string;
  readonly plan: string;

  constructor(run: string, steps: readonly PlannedStep[], { fleet = "acme", plan = "ab".repeat(32) } = {}) {
    this.run = run;
    this.fleet = fleet;
    this.plan = plan;
    this.steps = steps;
    const seqs = new Map<string, number>();
    this.leaves = steps.map(({ host, op, stage = "hop-1.main.node", gate = stage, index, timeoutMs = 60_000 }) => {
      const seq = seqs.get(host) ?? 0;
      seqs.set(host, seq + 1);
      const general = generalOp(op, { run, host });
      const place = { format: 1, host, hop: HOP, stage, gate, seq, index: index ?? `${seq}` } as const;
      return { ...place, op: digestOfOp(general), timeoutMs };
    });
    this.tree = new MerkleTree(this.leaves.map(hashOfLeaf));
  }

  statement(more: Partial<GateStatement> = {}): GateStatement {
    const at = more.at ?? Date.now();
    return {
      type: "belay-gate",
      format: 1,
      fleet: this.fleet,
      plan: this.plan,
      root: this.tree.root.toString("hex"),
      leaves: this.tree.size,
      run: this.run,
      gate: this.leaves[0]?.gate ?? "",
      decision: "approve",
      at,
      expires: at + 3_600_000,
      ...more,
    };
  }

  sign(approver: Approver, more: Partial<GateStatement> = {}, namespace: string = GATE_NAMESPACE): SignedStatement {
    const statement = canonicalJson(this.statement(more));
    return { statement, signature: signMessage(statement, approver.key, namespace) };
  }

  proof(at: number, approvals: readonly SignedStatement[]): StepProof {
    const leaf = this.leaves[at];
    if (leaf === undefined) throw new RangeError(`there is no step ${at}`);
    const path = this.tree.inclusionProof(at).map((hash) => hash.toString("hex"));
    return { leaf, at, path, approvals: [...approvals] };
  }

  /** A step as a belayd that has these approvals sends it. */
  step(
    at: number,
    approvals: readonly SignedStatement[],
    { attempt = 1, ...more }: Partial<Step> & { attempt?: number } = {},
  ): Step {
    const [leaf, planned] = [this.leaves[at], this.steps[at]];
    if (leaf === undefined || planned === undefined) throw new RangeError(`there is no step ${at}`);
    return {
      type: "step",
      step: `${this.run}/${leaf.stage}/${leaf.host}/${leaf.index}/${attempt}`,
      fence: 1,
      check: false,
      deadlineMs: 60_000,
      op: planned.op,
      proof: this.proof(at, approvals),
      ...more,
    };
  }
}
