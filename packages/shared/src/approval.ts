import { createHash } from "node:crypto";
import Type, { type Static } from "typebox";
import { canonicalJson } from "./canonical.js";
import { decoder } from "./decoder.js";
import { BelayError } from "./error.js";
import { HostName, MAX_STEP_MS, Sha256 } from "./ids.js";
import { type Hash, leafHash } from "./merkle.js";
import type { Op } from "./op.js";

const closed = { additionalProperties: false } as const;

/**
 * Approvals that travel. A plan whose approvals are signed carries the root of a Merkle tree: one leaf for each step that each
 * host will be asked for, in the plan's order. People sign a statement about that root, one run and one gate; a step goes out
 * with its leaf, the path to the root, and what was signed. So a host can hold what it is asked for against what people
 * approved, and belayd is believed in nothing.
 */

/** What these signatures are for: one made for anything else is worth nothing here. */
export const GATE_NAMESPACE = "belay-gate";

/** Stand for the run and the host where an op's own backups are named by them: the plan is older than its run. */
export const RUN_SLOT = "@run@";
export const HOST_SLOT = "@host@";

const StageName = Type.String({ pattern: "^[a-z0-9][a-z0-9._-]*$", maxLength: 200 });
/** An id of gates: that of the stage it stands before. */
const GateName = StageName;
/** `0`, `1` ... within its stage, or `stop-0` where the stage stops the host first: as in the step's id. */
const StepIndex = Type.String({ pattern: "^(?:stop-)?(?:0|[1-9][0-9]{0,3})$" });
const Count = Type.Integer({ minimum: 1, maximum: 100_000_000 });

/** One step of one host, as it is approved. Its attempt and the run are left open; a signed statement names the run. */
export const StepLeaf = Type.Object(
  {
    format: Type.Literal(1),
    host: HostName,
    hop: StageName,
    stage: StageName,
    /** The gate that lets it happen: the latest at or before its stage. */
    gate: GateName,
    /** Its place among all steps of this host in this plan, from 0. */
    seq: Type.Integer({ minimum: 0, maximum: 1_000_000 }),
    index: StepIndex,
    /** SHA-256 of the op's canonical JSON, all its arguments and digests in it, with the slots in place. */
    op: Sha256,
    /** How long it may take. */
    timeoutMs: Type.Integer({ minimum: 1, maximum: MAX_STEP_MS }),
  },
  closed,
);
export type StepLeaf = Static<typeof StepLeaf>;

export function hashOfLeaf(leaf: StepLeaf): Hash {
  return leafHash(canonicalJson(leaf));
}

export function digestOfOp(general: Op): string {
  return createHash("sha256").update(canonicalJson(general)).digest("hex");
}

/** The name of a host's own backup in a run's hop; a snapshot has `.cold` behind it. */
export function ownBackup({ run, hop, host }: { run: string; hop: string; host: string }): string {
  return `${run}.${hop}.${host}`;
}

/** An op with the backups that it makes, reads back or leaves alone named otherwise. One that is put back is older than the run. */
export function renameBackups(op: Op, rename: (id: string) => string): Op {
  if (op.kind === "backup") return { ...op, spec: { ...op.spec, id: rename(op.spec.id) } };
  if (op.kind === "verify-backup") return { ...op, id: rename(op.id) };
  if (op.kind === "swap" && op.snapshot !== null) {
    return { ...op, snapshot: { ...op.snapshot, id: rename(op.snapshot.id) } };
  }
  if (op.kind === "prune" && op.neededBackups !== undefined) {
    return { ...op, neededBackups: op.neededBackups.map((id) => rename(id)) };
  }
  return op;
}

/**
 * A backup's name with the slots in it, if it is named after this run and this host; any other name as it is. Two names never
 * come out the same, unless one of them has a slot already.
 */
export function inSlots(id: string, { run, host }: { run: string; host: string }): string {
  for (const snapshot of [".cold", ""]) {
    const end = `.${host}${snapshot}`;
    const hop = id.slice(run.length, -end.length);
    if (hop !== "" && id.startsWith(`${run}.`) && id.endsWith(end)) return `${RUN_SLOT}${hop}.${HOST_SLOT}${snapshot}`;
  }
  return id;
}

/**
 * An op of one run on one host, with the slots where its own backups are named after both. Two ops never come out the same:
 * throws `proof-invalid` for one that has a slot already.
 */
export function generalOp(op: Op, names: { run: string; host: string }): Op {
  return renameBackups(op, (id) => {
    if (id.includes(RUN_SLOT) || id.includes(HOST_SLOT)) {
      throw new BelayError("proof-invalid", `a ${op.kind} step names the backup "${id}", which is nobody's`);
    }
    return inSlots(id, names);
  });
}

/** What an approver signs, as canonical JSON to the byte. */
export const GateStatement = Type.Object(
  {
    type: Type.Literal("belay-gate"),
    format: Type.Literal(1),
    fleet: Type.String({ minLength: 1, maxLength: 256 }),
    plan: Sha256,
    root: Sha256,
    /** How many leaves the tree has. */
    leaves: Count,
    /** The one run that this is for: a plan approved once is not approved for ever. */
    run: Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9_:-]*$", maxLength: 128 }),
    gate: GateName,
    decision: Type.Literal("approve"),
    /** When it was signed and when it ends to count, milliseconds since the epoch. */
    at: Type.Integer({ minimum: 0 }),
    expires: Type.Integer({ minimum: 0 }),
  },
  closed,
);
export type GateStatement = Static<typeof GateStatement>;

/** A statement as it was signed, and the signature as `ssh-keygen -Y sign` armors it. */
export const SignedStatement = Type.Object(
  { statement: Type.String({ maxLength: 2048 }), signature: Type.String({ maxLength: 8192 }) },
  closed,
);
export type SignedStatement = Static<typeof SignedStatement>;

/**
 * Why a host may believe a step. A leaf is about 300 bytes, a path 64 for each doubling of the fleet (1.2 KB for 200,000
 * steps), a statement with its signature 0.7 KB by an Ed25519 key and 1.5 KB by RSA: about 3 KB with two approvers.
 */
export const StepProof = Type.Object(
  {
    leaf: StepLeaf,
    /** The leaf's index in the tree. */
    at: Type.Integer({ minimum: 0, maximum: 100_000_000 }),
    /** Hashes from the leaf to the root, nearest first. */
    path: Type.Array(Sha256, { maxItems: 32 }),
    approvals: Type.Array(SignedStatement, { maxItems: 16 }),
  },
  closed,
);
export type StepProof = Static<typeof StepProof>;

const decodeStatement = decoder(GateStatement, "gate statement", "statement-malformed");

/**
 * Reads a signed text. Throws `statement-malformed` for anything that is not the canonical form of a statement: what two
 * readers could read differently is nobody's approval.
 */
export function parseStatement(text: string): GateStatement {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new BelayError("statement-malformed", "a gate statement that is not JSON", { cause });
  }
  const statement = decodeStatement(parsed);
  if (canonicalJson(statement) === text) return statement;
  throw new BelayError("statement-malformed", "a gate statement that is not in its canonical form");
}
