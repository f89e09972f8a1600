import { BelayError, type Step } from "@belay/shared";
import type { Clock } from "../clock.js";
import type { Journal, JournalEntry } from "../journal/journal.js";
import type { ApprovedStep } from "../journal/record.js";
import { type ApproveConfig, MAX_AGE_MS } from "./config-approve.js";
import { CLOCK_SKEW_MS, checkProof, type ProofRules, type Proven, refusal } from "./proof.js";
import { isReading } from "./reading.js";
import { readSigners } from "./signers.js";

/** Runs whose approvals may still count, and of which a host remembers how far it is. Nobody has that many. */
const MAX_RUNS = 4096;
/** For so long a run is remembered after its last step, whatever `maxAge` says at the time: it may be raised later. */
const REMEMBERED_MS = MAX_AGE_MS + CLOCK_SKEW_MS;
/** A clock that is further ahead of the last approved step than this is not believed where something is to be forgotten. */
const BELIEVED_MS = 24 * 3_600_000;
/** So often may a step that didn't hold be tried again before people must approve anew. */
const MAX_TRIES = 20;

/** What may become of a step. */
export type Verdict =
  /** It may be done, for as long as it says itself: nobody's approval is asked for. `leads`: whoever asks is believed to lead. */
  | { readonly kind: "free"; readonly leads: boolean }
  /** It is next, and may be done, for as long as was approved. */
  | { readonly kind: "due"; readonly approved: ApprovedStep; readonly deadlineMs: number }
  /** It has been done, as this earlier attempt. */
  | { readonly kind: "done"; readonly step: string };

type ApproversConfig = Extract<ApproveConfig, { by: "approvers" }>;
type Accepted = Pick<JournalEntry, "step" | "op" | "check" | "approved" | "proof">;

export interface ApprovalsOptions {
  readonly config: ApproveConfig;
  readonly host: string;
  readonly clock: Pick<Clock, "now">;
  readonly journal: Journal;
  readonly signers?: typeof readSigners;
}

/**
 * Whether people approved what is asked for, and whether it is its turn: each step of a host in its plan's order, each once, the
 * next only when the one before is done by this host's own journal (I6). Decides only; what it refuses has touched nothing.
 */
export class Approvals {
  readonly #options: ApprovalsOptions;

  constructor(options: ApprovalsOptions) {
    this.#options = options;
  }

  /** Throws the reason why not: `approval-...`, `proof-invalid`, `out-of-order`, `replayed`, `step-in-progress`, `signers-invalid`. */
  async judge(step: Step): Promise<Verdict> {
    const { config, clock } = this.#options;
    if (config.by === "controller") return { kind: "free", leads: true };
    if (step.proof === undefined || step.check) {
      if (isReading(step)) return { kind: "free", leads: false };
      throw refusal("approval-missing", `nobody's approval came with this ${step.op.kind}`);
    }
    const proven = checkProof(step, step.proof, await this.#rules(config));
    // All that could be signed by now has ended to count when this is over, so nothing of the run can come again.
    return this.#inTurn(proven, Math.round(clock.now() + REMEMBERED_MS));
  }

  /**
   * The same question once more when an accepted step's turn has come: it may have waited until its approval ended to count, an
   * approver's key was taken out of the list, or this host's owner believes belayd no more. Throws as `judge` does.
   */
  async judgeAgain({ step, op, check, approved, proof }: Accepted): Promise<void> {
    const { config } = this.#options;
    if (config.by === "controller") return;
    if (proof !== undefined && approved !== undefined) checkProof({ step, op }, proof, await this.#rules(config));
    else if (!isReading({ op, check }))
      throw refusal("approval-missing", `nobody's approval came with this ${op.kind}`);
  }

  /** Does somebody that this host believes stand behind an accepted step? */
  believes({ approved }: { approved?: ApprovedStep }): boolean {
    return this.#options.config.by === "controller" || approved !== undefined;
  }

  async #rules({ fleet, threshold, maxAgeMs, signers: file }: ApproversConfig): Promise<ProofRules> {
    const { host, clock, journal } = this.#options;
    const signers = await (this.#options.signers ?? readSigners)(file);
    return { host, fleet, signers, threshold, maxAgeMs, journalMadeAt: journal.madeAt, now: clock.now() };
  }

  #inTurn({ run, root, leaf }: Proven, until: number): Verdict {
    const { journal, clock } = this.#options;
    const { seq } = leaf;
    const due: Verdict = { kind: "due", approved: { run, root, seq, until }, deadlineMs: leaf.timeoutMs };
    const known = journal.approvedRun(run);
    if (known === undefined) {
      if (seq > 0) throw outOfOrder(run, seq, -1);
      journal.forgetRuns(Math.min(clock.now(), journal.newestUntil - REMEMBERED_MS + BELIEVED_MS));
      if (journal.approvedRuns >= MAX_RUNS) {
        throw new BelayError(
          "approval-record-full",
          `${MAX_RUNS} approved runs are remembered, and none may be forgotten`,
        );
      }
      return due;
    }
    if (known.root !== root) throw refusal("approval-wrong-plan", `run ${run} carries out another plan on this host`);
    if (journal.latestRun !== run) {
      throw refusal("approval-superseded", `another run has followed run ${run} on this host`);
    }
    if (seq < known.done) throw refusal("replayed", `step ${seq} of run ${run} was done before step ${known.done}`);
    if (seq === known.done) return { kind: "done", step: known.last };
    if (seq > known.done + 1) throw outOfOrder(run, seq, known.done);
    const open = journal.open().find(({ approved }) => approved?.run === run);
    if (open !== undefined) {
      throw new BelayError("step-in-progress", `${open.step} is still at work`, { context: { step: open.step } });
    }
    if (known.tries < MAX_TRIES) return due;
    throw new BelayError("approval-spent", `step ${seq} of run ${run} was tried ${known.tries} times on this host`, {
      hint: "find out why it does not hold, plan anew, and approve that",
    });
  }
}

function outOfOrder(run: string, seq: number, done: number): BelayError {
  const before = done < 0 ? "none of its steps is" : `step ${done} is the last that is`;
  return refusal("out-of-order", `step ${seq} of run ${run} is not next: ${before} done on this host`);
}
