import { type AgentMessage, BelayError, type Outcome, type Step, type StepOutcome } from "@belay/shared";
import type { Host } from "../host.js";
import { perform } from "../ops/registry.js";

/** At once; nobody who may ask for them needs more, and each reads this host's disks. */
export const MAX_LOOKS = 16;
const MAX_MS = 10 * 60_000;
/** Outcomes that are kept for who didn't hear them. */
const MAX_KEPT = 64;

/**
 * Steps that only look, asked for by nobody whom this host believes. They wait for no approved step and hold none up, and
 * leave nothing on the disk, so that nobody can fill it: what is lost with this process is simply asked for again.
 */
export class Looks {
  readonly #host: Host;
  readonly #send: (message: AgentMessage) => void;
  readonly #halting = new AbortController();
  readonly #running = new Map<string, Promise<void>>();
  readonly #kept = new Map<string, StepOutcome>();

  constructor(host: Host, send: (message: AgentMessage) => void) {
    this.#host = host;
    this.#send = send;
  }

  /** One that is under way, or was done, is answered. False: too many are under way. */
  begin(step: Step): boolean {
    const kept = this.#kept.get(step.step);
    if (kept !== undefined) {
      this.#send(kept);
      return true;
    }
    if (!this.#running.has(step.step)) {
      if (this.#running.size >= MAX_LOOKS) return false;
      this.#running.set(step.step, this.#look(step));
    }
    this.#send({ type: "accepted", step: step.step });
    return true;
  }

  /** Somebody has it. Unknown: ignored. */
  ack(step: string): void {
    this.#kept.delete(step);
  }

  redeliver(): void {
    for (const outcome of this.#kept.values()) this.#send(outcome);
  }

  async halt(): Promise<void> {
    this.#halting.abort(new BelayError("agent-halted", "the agent stops"));
    await Promise.all(this.#running.values());
  }

  async #look(step: Step): Promise<void> {
    const { clock } = this.#host;
    const startedAt = Math.round(clock.now());
    const deadline = new AbortController();
    const deadlineMs = Math.min(step.deadlineMs, MAX_MS);
    const disarm = clock.timer(deadlineMs, () => deadline.abort(late(deadlineMs)));
    try {
      const outcome = await this.#perform(step, deadline.signal);
      const endedAt = Math.round(clock.now());
      this.#keep({ type: "outcome", step: step.step, outcome, startedAt, endedAt });
    } catch (error) {
      if (!this.#halting.signal.aborted) throw error;
    } finally {
      disarm();
      this.#running.delete(step.step);
    }
  }

  #perform({ step, op, check }: Step, deadline: AbortSignal): Promise<Outcome> {
    const halt = this.#halting.signal;
    return perform(op, this.#host, {
      step,
      check,
      vouched: false,
      halt,
      signal: AbortSignal.any([deadline, halt]),
      passed: () => undefined,
      pass: async () => {},
      progress: (note, amount) => this.#send({ type: "progress", step, note, ...amount }),
    });
  }

  #keep(outcome: StepOutcome): void {
    this.#kept.set(outcome.step, outcome);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    this.#send(outcome);
  }
}

/** How a step ends that takes longer than it may. */
export function late(deadlineMs: number): BelayError {
  return new BelayError("deadline-exceeded", `the op took longer than ${deadlineMs} ms`, {
    hint: "see what it waited for; the plan's policy sets the time",
    context: { deadlineMs },
  });
}
