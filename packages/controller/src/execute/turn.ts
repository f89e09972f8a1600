import type { StepId } from "@belay/shared";
import type { Logger } from "pino";
import type { Plan } from "../plan/plan.js";
import { decide } from "../run/decide.js";
import type { World } from "../run/decision.js";
import type { RunEvent } from "../run/event.js";
import { fold, isNews } from "../run/fold.js";
import type { Flight, RunState } from "../run/state.js";
import type { Wait } from "../run/wait.js";
import type { BackupChange } from "../store/runs.js";
import type { Dispatch } from "./dispatch.js";
import { backupChange, believe } from "./kept.js";
import type { Hosts, Report } from "./ports.js";
import { lostWithJournal } from "./setback.js";

/** What people ask of a run, as events or as a BelayError that says why not. Pure; see run/commands.ts. */
export type CommandBuilder = (state: RunState, now: number, world: World) => readonly RunEvent[];

/** What comes in between two turns. */
export type Input =
  | { readonly kind: "report"; readonly report: Report }
  | {
      readonly kind: "returned";
      readonly host: string;
      readonly forgot: boolean;
      readonly resolve: () => void;
      readonly reject: (error: unknown) => void;
    }
  | { readonly kind: "resend" }
  | {
      readonly kind: "command";
      readonly build: CommandBuilder;
      readonly resolve: () => void;
      readonly reject: (error: unknown) => void;
    };

export interface TurnParts {
  readonly run: string;
  readonly plan: Plan;
  readonly hosts: Pick<Hosts, "clockOffsetOf">;
  readonly dispatch: Pick<Dispatch, "opOf" | "hopOf">;
  readonly world: World;
  readonly now: () => number;
  readonly logger: Logger;
}

/**
 * One turn of a run: folds what came in, asks what may happen next, and gathers what that means: events for one write, and
 * what is to be done when they are on disk (I7). It acts on nothing itself; a turn that can't be written is thrown away
 * and leaves no trace.
 */
export class Turn {
  /** In order, for one write. */
  readonly events: RunEvent[] = [];
  readonly backups: BackupChange[] = [];
  /** Steps to send for the first time. */
  readonly intended: Flight[] = [];
  /** Steps to send once more, if they are still in flight then. */
  readonly resent: Flight[] = [];
  readonly ended: StepId[] = [];
  /** Outcomes that agents may forget. */
  readonly recorded: Report[] = [];
  /** Whoever waits for this turn to be on record. */
  readonly accepted: (() => void)[] = [];
  readonly #parts: TurnParts;
  #state: RunState;

  constructor(state: RunState, parts: TurnParts) {
    this.#state = state;
    this.#parts = parts;
  }

  /** The run as it is when this turn is on record. */
  get state(): RunState {
    return this.#state;
  }

  absorb(input: Input): void {
    switch (input.kind) {
      case "report":
        this.#absorbReport(input.report);
        return;
      case "returned": {
        const flights = [...this.#state.inFlight.values()].filter(({ host }) => host === input.host);
        if (input.forgot) for (const step of flights) this.#apply(lostWithJournal(step, this.#parts.now()));
        else this.resent.push(...flights);
        this.accepted.push(input.resolve);
        return;
      }
      case "resend":
        this.resent.push(...this.#state.inFlight.values());
        return;
      case "command":
        try {
          for (const event of input.build(this.#state, this.#parts.now(), this.#parts.world)) this.#apply(event);
          this.accepted.push(input.resolve);
        } catch (error) {
          input.reject(error);
        }
        return;
    }
  }

  /** Asks until nothing more may happen now. Answers why it waits then, and when to ask again. */
  decide(): { readonly waits: readonly Wait[]; readonly wakeAt: number | null } {
    for (;;) {
      const { events, waits, wakeAt } = decide(this.#state, this.#parts.world, this.#parts.now());
      for (const event of events) this.#apply(event);
      if (events.length === 0 || this.#state.ended !== null) return { waits, wakeAt };
    }
  }

  #absorbReport(report: Report): void {
    const { run, hosts, dispatch, logger, now } = this.#parts;
    this.recorded.push(report);
    const step = this.#state.inFlight.get(report.step) ?? this.#state.unknown.get(report.step);
    if (step === undefined || step.host !== report.host) {
      logger.info({ run, host: report.host, step: report.step }, "outcome on record, or of no step");
      return;
    }
    const { check } = this.#state;
    const op = dispatch.opOf(step);
    const outcome = check ? report.outcome : believe(op, report.outcome, hosts.clockOffsetOf(step.host));
    // What is on record already is acknowledged and changes nothing (I7).
    if (!isNews(this.#state, report.step, outcome)) return;
    this.#apply({ type: "step-ended", at: now(), step: report.step, outcome });
    if (check) return;
    const change = backupChange({ run, hop: dispatch.hopOf(step.stage), host: step.host }, op, outcome);
    if (change !== null) this.backups.push(change);
  }

  #apply(event: RunEvent): void {
    this.#state = fold(this.#state, event, this.#parts.plan);
    this.events.push(event);
    if (event.type === "step-intended") {
      const step = this.#state.inFlight.get(event.step);
      if (step !== undefined) this.intended.push(step);
    }
    if (event.type === "step-ended") this.ended.push(event.step);
  }
}
