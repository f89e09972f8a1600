import {
  type AllowedSigner,
  BelayError,
  digestOfOp,
  errorInfo,
  GATE_NAMESPACE,
  type GateStatement,
  generalOp,
  type Hash,
  hashOfLeaf,
  isIncluded,
  parseStatement,
  type SignedStatement,
  type Step,
  type StepLeaf,
  type StepProof,
  signerOf,
  verifySignature,
} from "@belay/shared";

/** What a host holds a proof against. */
export interface ProofRules {
  readonly host: string;
  readonly fleet: string;
  readonly signers: readonly AllowedSigner[];
  readonly threshold: number;
  readonly maxAgeMs: number;
  /** What was signed before this host's journal began counts no more: nobody here knows whether it was done. */
  readonly journalMadeAt: number;
  /** Milliseconds since the epoch, this host's clock. */
  readonly now: number;
}

/** A step that enough people approved. Whether it is its turn is another question. */
export interface Proven {
  readonly run: string;
  readonly root: string;
  readonly leaf: StepLeaf;
  readonly signers: readonly string[];
}

const HINT = "`approve` in this host's agent.yaml says whose word counts here";

/** An approver's clock may be ahead of this host's by so much. */
export const CLOCK_SKEW_MS = 5 * 60_000;

/**
 * Holds a step against what people signed: its op is its leaf's to the byte, the leaf is this host's and in the tree, and enough
 * different approvers signed that tree's root, for this very run and for the leaf's gate, not too long ago. Throws, naming
 * what doesn't hold: `approval-...`, `proof-invalid`.
 */
export function checkProof(step: Pick<Step, "step" | "op">, proof: StepProof, rules: ProofRules): Proven {
  const { leaf } = proof;
  if (leaf.host !== rules.host) throw refusal("approval-wrong-host", `it was approved for ${leaf.host}`);
  const { run } = mustNameLeaf(step, leaf);
  if (digestOfOp(generalOp(step.op, { run, host: leaf.host })) !== leaf.op) {
    throw refusal("proof-invalid", `the ${step.op.kind} that is asked for is not the one of its leaf`);
  }
  const leafHash = hashOfLeaf(leaf);
  const signers = new Set<string>();
  const refused: BelayError[] = [];
  let agreed: GateStatement | null = null;
  for (const approval of proof.approvals) {
    try {
      const { statement, signer } = checkApproval(approval, { run, proof, leafHash, agreed }, rules);
      agreed = statement;
      signers.add(signer);
    } catch (error) {
      refused.push(BelayError.from(errorInfo(error)));
    }
  }
  if (agreed !== null && signers.size >= rules.threshold)
    return { run, root: agreed.root, leaf, signers: [...signers] };
  const [first] = refused;
  const short = `gate ${leaf.gate} has ${signers.size} of ${rules.threshold} approvals that count here`;
  if (first === undefined) throw refusal("approval-missing", short);
  throw new BelayError(first.code, `${short}: ${first.message}`, {
    hint: first.hint ?? HINT,
    context: { gate: leaf.gate, refused: refused.map(({ code }) => code) },
  });
}

/** The step's id says which run, stage, host and op it is: those must be the leaf's. */
function mustNameLeaf({ step }: Pick<Step, "step">, { stage, host, index }: StepLeaf): { run: string } {
  const parts = step.split("/");
  const [run = "", ...rest] = parts;
  const names =
    rest.slice(0, -1).join("/") === `${stage}/${host}/${index}` && /^[1-9][0-9]{0,8}$/.test(rest.at(-1) ?? "");
  if (parts.length === 5 && names) return { run };
  throw refusal("proof-invalid", `the step's id is not that of op ${index} of ${host} in ${stage}`);
}

function checkApproval(
  { statement: text, signature }: SignedStatement,
  expected: { run: string; proof: StepProof; leafHash: Hash; agreed: GateStatement | null },
  { fleet, signers, maxAgeMs, journalMadeAt, now }: ProofRules,
): { statement: GateStatement; signer: string } {
  const statement = parseStatement(text);
  const { proof, agreed } = expected;
  if (statement.fleet !== fleet) throw refusal("approval-wrong-fleet", `it is for the fleet ${statement.fleet}`);
  if (statement.run !== expected.run) throw refusal("approval-wrong-run", `it is for run ${statement.run}`);
  if (statement.gate !== proof.leaf.gate) throw refusal("approval-wrong-gate", `it is for gate ${statement.gate}`);
  if (statement.at > now + CLOCK_SKEW_MS) {
    throw refusal("approval-not-yet-valid", `it was signed at ${time(statement.at)}; here it is ${time(now)}`);
  }
  if (statement.at < journalMadeAt) {
    throw new BelayError(
      "approval-before-journal",
      `it was signed at ${time(statement.at)}; this host's journal begins at ${time(journalMadeAt)}`,
      { hint: "this host can't know what was done before: see what it runs, plan anew, and approve that" },
    );
  }
  const ends = Math.min(statement.expires, statement.at + maxAgeMs);
  if (now >= ends) throw refusal("approval-expired", `it ended to count at ${time(ends)}; here it is ${time(now)}`);
  if (agreed !== null && (statement.root !== agreed.root || statement.plan !== agreed.plan)) {
    throw refusal("approval-wrong-plan", `it is for another plan than the others: ${statement.plan}`);
  }
  const path = proof.path.map((hex) => Buffer.from(hex, "hex"));
  const root = Buffer.from(statement.root, "hex");
  if (!isIncluded(expected.leafHash, proof.at, statement.leaves, path, root)) {
    throw refusal("approval-wrong-plan", `the step is not in the plan that was approved, ${statement.plan}`);
  }
  const key = verifySignature(text, signature, GATE_NAMESPACE);
  const found = signerOf(signers, key, GATE_NAMESPACE, now);
  if ("signer" in found) return { statement, signer: found.signer };
  const why = {
    unknown: "is none of this host's approvers",
    namespace: `may not sign for ${GATE_NAMESPACE}`,
    time: "may not sign at this time",
  };
  throw refusal("approval-unknown-signer", `${key.fingerprint} ${why[found.refused]}`);
}

export function refusal(code: string, message: string): BelayError {
  return new BelayError(code, message, { hint: HINT });
}

function time(at: number): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? `${at}` : date.toISOString();
}
