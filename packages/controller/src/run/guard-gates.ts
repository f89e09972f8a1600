import type { GateDecision } from "../api/contract.js";
import { ROOT } from "../people/caller.js";
import { leftBehind, neededBy } from "./order.js";
import { failureClosed, type Guard, gateClosed, type Refusal } from "./refusal.js";
import type { GateRecord, RunState } from "./state.js";
import * as unblock from "./unblock.js";
import { wayOutOf } from "./way-out.js";

/** What gates ask of the events that open, answer and close them (I6). */
export const gateGuards = {
  "gate-opened": (state, { gate }) => {
    if (state.check) return { code: "gate-in-check", message: "a check passes its gates over" };
    if (state.stages[state.current]?.stage.gate?.id !== gate) {
      return { code: "gate-out-of-order", message: `gate ${gate} does not stand before the next stage` };
    }
    return state.gates.has(gate) ? gateClosed(state, gate) : null;
  },

  "gate-decided": (state, { gate, decision, by, groups, reason, at, signed, tokenBy }) => {
    const record = state.openGate;
    if (record?.gate.id !== gate) return gateClosed(state, gate);
    if (isExpired(record, at)) {
      return {
        code: "gate-expired",
        message: `gate ${gate} expired at ${new Date(record.expiresAt).toISOString()}; its policy is ${record.gate.onTimeout}`,
      };
    }
    const isSigned = state.plan.approvals !== undefined;
    if (decision !== "reject" && isSigned && signed === undefined) return unsigned(state, gate, decision);
    if (decision === "break-glass") {
      return reason.trim() === ""
        ? { code: "reason-required", message: "glass is broken for a reason, which everybody will read" }
        : null;
    }
    const own = decision === "approve" ? ownRequest(state, record, by) : null;
    const hand = decision === "approve" && signed === undefined ? sameHand(state, record, { by, tokenBy }) : null;
    const stranger = own ?? wrongGroup(record, by, groups) ?? hand;
    if (stranger !== null) return stranger;
    if (record.decisions.some((earlier) => earlier.by === by && earlier.lapsedAt === undefined)) {
      return {
        code: "already-decided",
        message: `${by} has already answered gate ${gate}`,
        hint: `it asks for ${record.gate.approvals} different people`,
      };
    }
    if (signed !== undefined && isSignedBy(record, signed.key)) {
      return { code: "already-decided", message: `${signed.key} has already signed for gate ${gate}` };
    }
    if (decision === "reject" && reason.trim() === "") {
      return { code: "reason-required", message: "a rejection needs a reason, for those who come after" };
    }
    return null;
  },

  "approval-lapsed": (state, { gate, of }) => {
    const record = state.openGate;
    if (record?.gate.id !== gate) return gateClosed(state, gate);
    return record.decisions.some((decision) => decision.by === of && isApproval(decision))
      ? null
      : { code: "not-approved", message: `no approval of ${of} counts at gate ${gate}` };
  },

  "approval-renewed": (state, { gate, by, groups }) => {
    const record = state.gates.get(gate);
    if (record === undefined || record.passed === null || state.plan.approvals === undefined) {
      return { code: "nothing-to-renew", message: `gate ${gate} is not one that was passed by signatures` };
    }
    return ownRequest(state, record, by) ?? wrongGroup(record, by, groups);
  },

  "gate-passed": (state, { gate, how }) => {
    const record = state.openGate;
    if (record?.gate.id !== gate) return gateClosed(state, gate);
    if (how === "timeout") {
      return record.expired === "proceed"
        ? null
        : { code: "gate-not-expired", message: `gate ${gate} is not one that time opens` };
    }
    if (how === "break-glass") {
      return brokenGlassOf(record) === null
        ? { code: "glass-whole", message: `nobody broke the glass of gate ${gate}` }
        : null;
    }
    return hasApprovals(record)
      ? null
      : {
          code: "approvals-missing",
          message: `gate ${gate} has ${approvalsOf(record)} of ${record.gate.approvals} approvals`,
        };
  },

  "gate-expired": (state, { gate, action, at }) => {
    const record = state.openGate;
    if (record?.gate.id !== gate) return gateClosed(state, gate);
    if (record.expired !== null) return { code: "gate-expired", message: `gate ${gate} has expired already` };
    if (at < record.expiresAt) return { code: "gate-not-expired", message: `gate ${gate} has time left` };
    if (hasApprovals(record) || brokenGlassOf(record) !== null)
      return { code: "gate-approved", message: `gate ${gate} has all its approvals` };
    return action === record.gate.onTimeout
      ? null
      : { code: "action-mismatch", message: `the policy of gate ${gate} is ${record.gate.onTimeout}, not ${action}` };
  },

  "failure-opened": (state, { gate, stage }) => {
    const record = state.stages[state.current];
    if (record?.stage.id !== stage || gate !== nextFailureGate(record)) {
      return { code: "gate-out-of-order", message: `${gate} is not the next failure gate` };
    }
    if (record.status === "pending" && leftBehind(state).length === 0) {
      return { code: "nothing-failed", message: `stage ${stage} has not started and no host is left behind` };
    }
    // What is in flight may still fail: the gate must show all of it (I9).
    return state.inFlight.size === 0
      ? null
      : { code: "steps-in-flight", message: `${state.inFlight.size} steps are still in flight` };
  },

  "failure-decided": (state, { gate, decision, hosts }) => {
    const open = state.openFailure;
    if (open?.id !== gate) return failureClosed(state, gate);
    if (decision === "abort" || decision === "rollback") return null;
    const failed = failedHosts(state);
    const stranger = hosts.find((host) => !failed.includes(host));
    if (stranger !== undefined) {
      return {
        code: "host-not-failed",
        message: `${stranger} is not among the failed hosts of ${gate}`,
        hint: `those are ${failed.slice(0, 10).join(", ") || "none any more"}`,
      };
    }
    if (decision === "retry") {
      return open.leftBehind.length === 0
        ? null
        : {
            code: "nothing-to-retry",
            message: "the stages of these hosts are over, so nothing can be tried again in this run",
            hint: "skip leaves them behind in your name; or abort, and plan anew with these hosts in health",
          };
    }
    for (const host of hosts.length > 0 ? hosts : failed) {
      const refusal = refuseSettingAside(state, host);
      if (refusal !== null) return refusal;
    }
    return null;
  },
} satisfies { [T in GateEventType]?: Guard<T> };

type GateEventType =
  | "gate-opened"
  | "gate-decided"
  | "approval-lapsed"
  | "approval-renewed"
  | "gate-passed"
  | "gate-expired"
  | "failure-opened"
  | "failure-decided";

function ownRequest(state: RunState, { gate }: GateRecord, by: string): Refusal | null {
  if (by !== state.startedBy || gate.requesterMayApprove === true) return null;
  return {
    code: "own-request",
    message: `${by} started run ${state.run}, so somebody else approves gate ${gate.id}`,
    hint: "requesterMayApprove in the gates of fleet.yaml allows it, for plans made from then on",
  };
}

function wrongGroup({ gate }: GateRecord, by: string, groups: readonly string[]): Refusal | null {
  const { group, id } = gate;
  if (group === null || groups.includes(group)) return null;
  return { code: "wrong-group", message: `${by} is not in ${group}, whose word gate ${id} asks for` };
}

/** Hosts that ask for signatures would refuse everything behind a gate that was passed without. */
function unsigned(state: RunState, gate: string, decision: "approve" | "break-glass"): Refusal {
  const message = `what lies behind gate ${gate} goes to hosts that ask for signatures`;
  if (decision === "approve") {
    return { code: "signature-missing", message, hint: `belay gate approve ${state.run} ${gate} --sign` };
  }
  const hint = "docs/security.md says what the owner of a host can do when its approvers are out of reach";
  return { code: "signature-missing", message: `${message}: there is no glass to break here`, hint };
}

/**
 * Whoever made somebody's token has had it in hand: the two are one voice, and so are two whose tokens one person made. But for
 * root's, who makes the first ones and approves nothing. A signature says by itself whose it is.
 */
function sameHand({ startedBy }: RunState, { gate, decisions }: GateRecord, word: Word): Refusal | null {
  const { by, tokenBy } = word;
  const hint = "a token that root made would do, and so would a sign-in or a signature";
  if (tokenBy !== undefined && tokenBy === startedBy && gate.requesterMayApprove !== true) {
    return { code: "token-not-own", message: `${tokenBy}, who started this run, made the token of ${by}`, hint };
  }
  const hands = handsOf(word);
  for (const earlier of decisions) {
    const shared = handsOf(earlier).find((hand) => hands.includes(hand));
    // Somebody twice is refused elsewhere.
    if (!isApproval(earlier) || earlier.signed !== undefined || earlier.by === by || shared === undefined) continue;
    const made = shared === by ? `the token of ${earlier.by}` : shared === earlier.by ? `that of ${by}` : "both tokens";
    return { code: "token-not-own", message: `${shared} made ${made}: ${earlier.by} and ${by} count as one`, hint };
  }
  return null;
}

interface Word {
  readonly by: string;
  readonly tokenBy?: string | undefined;
}

function handsOf({ by, tokenBy }: Word): string[] {
  return tokenBy === undefined || tokenBy === ROOT ? [by] : [by, tokenBy];
}

/** One key is one person, whatever they call themselves. */
function isSignedBy({ decisions }: GateRecord, key: string): boolean {
  return decisions.some((decision) => isApproval(decision) && decision.signed?.key === key);
}

/** Distinct people whose approval counts: the fold takes one word of each. */
export function approvalsOf({ decisions }: GateRecord): number {
  return decisions.filter(isApproval).length;
}

export function isApproval({ decision, lapsedAt }: GateDecision): boolean {
  return decision === "approve" && lapsedAt === undefined;
}

/** Who let the gate pass alone, or null. */
export function brokenGlassOf({ decisions }: GateRecord): GateDecision | null {
  return decisions.find(({ decision }) => decision === "break-glass") ?? null;
}

export function hasApprovals(record: GateRecord): boolean {
  return approvalsOf(record) >= record.gate.approvals;
}

/** With `hold` a gate never expires: it stays open, flagged overdue. */
export function isExpired({ gate, expiresAt }: GateRecord, at: number): boolean {
  return gate.onTimeout !== "hold" && at >= expiresAt;
}

/** Failure gates of a stage are numbered from 1. */
export function nextFailureGate(record: { readonly stage: { readonly id: string }; readonly failureGates: number }) {
  return `${record.stage.id}.failure-${record.failureGates + 1}`;
}

/** Whom the open failure gate is about, as things stand now. */
export function failedHosts(state: RunState): string[] {
  if (state.openFailure === null) return [];
  if (state.openFailure.leftBehind.length > 0) return [...state.openFailure.leftBehind];
  return [...(state.batch?.failed.keys() ?? [])];
}

/**
 * A person may leave any host behind, in their own name, but no auth that others are about to rely on: two majors of
 * auth on one backend, or proxies ahead of their auth, are not a matter of judgement (I1, I5).
 */
export function refuseSettingAside(state: RunState, host: string): Refusal | null {
  if (!state.plan.hosts[host]?.roles.includes("auth")) return null;
  const needing = neededBy(state, host);
  if (needing === null) return null;
  const { run, plan } = state;
  // What goes back itself can't be rolled back.
  const goBack =
    plan.kind === "upgrade" ? `go back with belay run rollback ${run}` : `plan anew after ${unblock.abort(run)}`;
  return {
    code: "host-needed",
    message: `${host} is auth, and stage ${needing.stage.id} can't be right without it`,
    hint: `retry it, or ${wayOutOf(state, host) ?? goBack}`,
  };
}
