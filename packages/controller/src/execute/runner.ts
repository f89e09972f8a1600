import { BelayError, errorInfo, failed, type Progress, type StepId } from "@belay/shared";
import type { Logger } from "pino";
import type { LoggedEvent, RunView } from "../api/contract.js";
import type { Plan } from "../plan/plan.js";
import { indexPlan } from "../plan/program.js";
import type { World } from "../run/decision.js";
import type { RunResult } from "../run/event.js";
import type { Flight, RunState } from "../run/state.js";
import { viewOf } from "../run/view.js";
import type { Wait } from "../run/wait.js";
import { Dispatch } from "./dispatch.js";
import { OnRecord } from "./on-record.js";
import type { HeldLease, Hosts, Report, RunLog, RunWatcher } from "./ports.js";
import { Proofs } from "./proofs.js";
import { brokenWait, storeWait } from "./setback.js";
import { type CommandBuilder, type Input, Turn, type TurnParts } from "./turn.js";

/** After the store refused a batch: how long until the run is read back and gone on with. */
const STORE_RETRY_MS = 2_000;
/** Setting a longer timer than this is no use: Node's overflow at 2^31, and a look now and then costs nothing. */
const MAX_SLEEP_MS = 60_000;

export interface RunnerParts {
  readonly run: string;
  readonly plan: Plan;
  readonly log: RunLog;
  readonly hosts: Hosts;
  readonly lease: HeldLease;
  readonly now: () => number;
  readonly logger: Logger;
  /** Called once, after the run's end is on disk. */
  readonly ended: (run: string, result: RunResult) => void;
}

/** A run as it is on record, for as long as `look` shows it: the state changes with the next event. */
export interface RunSight {
  readonly state: RunState;
  readonly world: World;
  /** The whole of it as people watch it. */
  view(): RunView;
}

/**
 * Carries one run out. The loop is: take what came in, fold it, ask `decide` what may happen next, put all of it on disk
 * in one write, and only then act: answer people, acknowledge outcomes, send steps (I7). What comes in meanwhile waits for
 * the next turn, so that the busier the fleet, the larger the batches.
 */
export class Runner {
  readonly run: string;
  readonly plan: Plan;
  readonly #parts: RunnerParts;
  readonly #dispatch: Dispatch;
  readonly #world: World;
  readonly #turnParts: TurnParts;
  readonly #watchers = new Set<RunWatcher>();
  readonly #notes = new Map<StepId, string>();
  readonly #record: OnRecord;
  #waits: readonly Wait[] = [];
  readonly #inbox: Input[] = [];
  /** What the turn at work took out of the inbox. */
  #working: readonly Input[] = [];
  #turning: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;
  #broken: string | null = null;

  private constructor(parts: RunnerParts, proofs: Proofs | null, record: OnRecord) {
    this.run = parts.run;
    this.plan = parts.plan;
    this.#parts = parts;
    this.#dispatch = new Dispatch(parts.run, indexPlan(parts.plan), parts.hosts, parts.now, proofs);
    this.#record = record;
    this.#world = {
      isPresent: (host) => parts.hosts.isPresent(host),
      absentSince: (host) => parts.hosts.absentSince(host),
      factsOf: (host) => parts.hosts.factsOf(host),
      get holdsLease() {
        return parts.lease.held;
      },
    };
    const { run, plan, hosts, now, logger } = parts;
    this.#turnParts = { run, plan, hosts, now, logger, dispatch: this.#dispatch, world: this.#world };
  }

  /** Reads a run back from its log. It does nothing before `begin`. */
  static async load(parts: RunnerParts): Promise<Runner> {
    const record = await OnRecord.load(parts);
    return new Runner(parts, await Proofs.make(parts.plan), record);
  }

  /** Goes on where the log ends, be it one event old or half done (I14). Settles when the run is under this lease. */
  async begin(owner: string): Promise<void> {
    const { lease } = this.#parts;
    // Whether steps in flight reached their hosts nobody knows: they go out again, and a host that has them says so.
    this.#inbox.push({ kind: "resend" });
    if (this.#state.fence !== lease.fence) {
      await this.command((_state, now) => [{ type: "lease-taken", at: now, owner, fence: lease.fence }]);
    }
    this.wake();
  }

  /**
   * Reads the run as it is on record. What is being written is waited for: nobody may be told what a crash could take back (I14).
   * `read` is called once, and must keep nothing of what it is shown. Throws `run-unreadable`, until the database works again.
   */
  look<T>(read: (sight: RunSight) => T): Promise<T> {
    return this.#record.look(() => read({ state: this.#state, world: this.#world, view: () => this.#view() }));
  }

  get #state(): RunState {
    return this.#record.state;
  }

  #view(): RunView {
    return viewOf(this.#state, this.#world, this.#parts.now(), {
      waits: this.#waits,
      lastSeq: this.#record.seq,
      noteOf: (step) => this.#notes.get(step) ?? null,
    });
  }

  /** Something outside changed (a host came or went): decide again. */
  wake(): void {
    if (this.#stopped || this.#turning !== null) return;
    this.#turning = this.#turn()
      .catch((error: unknown) => this.#giveUp(error))
      .finally(() => {
        this.#turning = null;
        if (this.#inbox.length > 0) this.wake();
      });
  }

  /** An agent's outcome. Acknowledged when it is on disk; a repeat is acknowledged and dropped. */
  report(report: Report): void {
    this.#inbox.push({ kind: "report", report });
    this.wake();
  }

  progress(message: Progress): void {
    if (!this.#state.inFlight.has(message.step)) return;
    const amount = message.total === undefined ? "" : ` ${message.done ?? 0}/${message.total}${message.unit ?? ""}`;
    this.#notes.set(message.step, `${message.note}${amount}`);
    this.#announce([]);
  }

  /** Settles when the command's events are on disk; rejects with the reason when it isn't legal now. */
  command(build: CommandBuilder): Promise<void> {
    if (this.#stopped) return Promise.reject(this.#whyStopped());
    return new Promise<void>((resolve, reject) => {
      this.#inbox.push({ kind: "command", build, resolve, reject });
      this.wake();
    });
  }

  /**
   * A host is (again) here. Its steps in flight go out once more; if its journal is a new one, they are lost to it, and
   * the promise settles when that is on disk: before, the loss must not be forgotten (I7).
   */
  connected(host: string, forgot: boolean): Promise<void> {
    if (this.#stopped) return this.#state.ended === null ? Promise.reject(this.#whyStopped()) : Promise.resolve();
    return new Promise<void>((resolve, reject) => {
      this.#inbox.push({ kind: "returned", host, forgot, resolve, reject });
      this.wake();
    });
  }

  watch(watcher: RunWatcher): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Leaves the run where it is, for the next controller to take up. Settles when nothing is being written. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#turning;
    this.#turnAway(this.#inbox.splice(0));
  }

  async #turn(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    // What arrives in the same tick joins this turn.
    await new Promise((resolve) => setImmediate(resolve));
    for (let more = true; more && !this.#stopped; ) {
      this.#working = this.#inbox.splice(0);
      more = await this.#advance(this.#working);
      this.#working = [];
    }
  }

  /** One turn of the loop. True: something happened, so look again. */
  async #advance(inputs: readonly Input[]): Promise<boolean> {
    const turn = new Turn(this.#state, this.#turnParts);
    for (const input of inputs) turn.absorb(input);
    const { waits, wakeAt } = turn.decide();
    const logged = turn.events.map((event, index) => ({ seq: this.#record.seq + 1 + index, event }));
    const recorded = logged.length > 0 ? this.#record.ahead() : () => {};
    if (logged.length > 0) {
      try {
        await this.#parts.log.append(this.run, this.#record.seq, turn.events, turn.backups);
      } catch (error) {
        await this.#recover(error, inputs, recorded);
        return true;
      }
    }
    this.#record.recorded(turn.state, logged.length);
    this.#waits = waits;
    recorded();
    for (const step of turn.ended) this.#forget(step);
    for (const accept of turn.accepted) accept();
    for (const report of turn.recorded) this.#parts.hosts.acknowledge(report.host, report.step);
    this.#resend(turn.resent);
    for (const step of turn.intended) this.#sendFirst(step);
    this.#announce(logged);
    const end = logged.at(-1)?.event;
    if (end?.type === "run-ended") {
      this.#stopped = true;
      this.#turnAway(this.#inbox.splice(0));
      this.#parts.ended(this.run, end.result);
      return false;
    }
    if (logged.length === 0) this.#sleepUntil(wakeAt);
    return logged.length > 0 || this.#inbox.length > 0;
  }

  #forget(step: StepId): void {
    this.#notes.delete(step);
    this.#dispatch.forget(step);
  }

  /** What its agent can't be told has certainly had no effect, so that is how the step ended. */
  #sendFirst(step: Flight): void {
    try {
      this.#dispatch.send(step, this.#state);
    } catch (error) {
      if (!isTooOld(error)) throw error;
      const outcome = failed(error.toJSON());
      this.#inbox.push({ kind: "report", report: { host: step.host, step: step.step, outcome } });
    }
  }

  /** Sends again what is still in flight. Called only when memory and disk say the same (I7). */
  #resend(steps: readonly Flight[]): void {
    if (!this.#parts.lease.held) return;
    for (const step of steps) {
      if (!this.#state.inFlight.has(step.step)) continue;
      try {
        this.#dispatch.send(step, this.#state);
      } catch (error) {
        if (!isTooOld(error)) throw error;
        // An older agent has taken the place of the one that may have begun it: its own word, or the deadline, decides (I7).
        this.#parts.logger.warn(
          { run: this.run, step: step.step, error: errorInfo(error) },
          "step can't be sent again",
        );
      }
    }
  }

  /** Nobody will look at these any more: outcomes of a run that is over are acknowledged, everybody else is told. */
  #turnAway(inputs: readonly Input[]): void {
    for (const input of inputs) {
      if (input.kind === "command") input.reject(this.#whyStopped());
      else if (input.kind === "returned" && this.#state.ended !== null) input.resolve();
      else if (input.kind === "returned") input.reject(this.#whyStopped());
      else if (input.kind === "report" && this.#state.ended !== null) {
        this.#parts.hosts.acknowledge(input.report.host, input.report.step);
      }
    }
  }

  #whyStopped(): BelayError {
    if (this.#state.ended !== null) return new BelayError("run-ended", `run ${this.run} has ended`);
    if (this.#broken !== null) return new BelayError("run-broken", `run ${this.run} stands still: ${this.#broken}`);
    return new BelayError("shutting-down", "belayd is stopping");
  }

  /**
   * A defect, by definition: what is legal is checked before it is done. This run stands still, with all it has recorded and
   * nothing of what the turn that failed had made of it, and the others go on.
   */
  async #giveUp(error: unknown): Promise<void> {
    const recorded = this.#record.ahead();
    this.#stopped = true;
    this.#broken = errorInfo(error).message;
    this.#waits = [brokenWait(error, this.#parts.now())];
    this.#parts.logger.fatal({ run: this.run, err: error }, "this run stands still because of a defect in belayd");
    this.#turnAway([...this.#working, ...this.#inbox.splice(0)]);
    await this.#record.reload();
    recorded();
  }

  #announce(events: readonly LoggedEvent[]): void {
    for (const watcher of this.#watchers) {
      try {
        if (events.length > 0) watcher.events(events);
        watcher.changed();
      } catch (error) {
        this.#parts.logger.error({ run: this.run, err: error }, "somebody who follows this run can't be told");
      }
    }
  }

  #sleepUntil(wakeAt: number | null): void {
    if (this.#stopped) return;
    const wait = wakeAt === null ? MAX_SLEEP_MS : Math.min(MAX_SLEEP_MS, Math.max(1, wakeAt - this.#parts.now()));
    this.#timer = setTimeout(() => this.wake(), wait);
  }

  /**
   * The store refused a turn's events (disk full, for instance). Nothing of that turn was acted on or remembered; whether
   * the disk has it after all, only reading back tells. Agents' outcomes are kept for the next try; people get the error.
   */
  async #recover(error: unknown, inputs: readonly Input[], recorded: () => void): Promise<void> {
    this.#parts.logger.error(
      { run: this.run, err: error },
      "cannot record events; nothing is dispatched until it works",
    );
    for (const input of inputs) if (input.kind === "command") input.reject(error);
    this.#inbox.unshift(...inputs.filter((input) => input.kind !== "command"), { kind: "resend" });
    this.#waits = [storeWait(error, this.#parts.now())];
    // At once, for those who look: a disk that takes nothing can mostly be read. And again after a while, because what a lost
    // connection left undecided may have been written meanwhile.
    await this.#record.reload();
    recorded();
    for (let read = false; !read && !this.#stopped; ) {
      await new Promise((resolve) => setTimeout(resolve, STORE_RETRY_MS));
      read = await this.#record.reload();
    }
  }
}

function isTooOld(error: unknown): error is BelayError {
  return error instanceof BelayError && error.code === "agent-too-old";
}
